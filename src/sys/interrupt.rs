//! Interrupting what threads of another process sleep in, one by one.
//!
//! A tracer can stop a single thread, which a signal cannot: SIGSTOP stops the whole process, and
//! every reader that is interrupted takes what it finds. The order is that of ptrace(2): seize (it
//! goes on), interrupt, wait for the stop, detach. A tracer is a thread, and what it traces is let go
//! when it ends; so it is a thread of its own, and nothing stays stopped whatever happens.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long to wait for all to stop; one that waits for a disk may not, for a while.
const LONGEST: Duration = Duration::from_millis(50);
/// How often to look.
const LOOK: Duration = Duration::from_micros(100);

/// Interrupts these threads and lets them go on. System calls are begun again, except that a read
/// which has some bytes returns with them. Says how many were interrupted; a thread that has ended,
/// or is traced already, is not. Waits until it is done, for 50 ms at most.
///
/// # Errors
/// `EPERM` for every thread: the caller may not trace the process, as for
/// [`pidfd_getfd`](super::pidfd::pidfd_getfd). Those of starting a thread.
pub fn interrupt_threads(threads: &[i32]) -> io::Result<usize> {
    let threads = threads.to_vec();
    let tracer = thread::Builder::new()
        .name("interrupt".into())
        .spawn(move || trace(&threads))?;
    tracer
        .join()
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

fn trace(threads: &[i32]) -> io::Result<usize> {
    let deadline = Instant::now() + LONGEST;
    let mut interrupted = 0;
    let mut refused = None;
    for thread in threads {
        let thread = Pid::from_raw(*thread);
        match ptrace::seize(thread, ptrace::Options::empty())
            .and_then(|()| ptrace::interrupt(thread))
        {
            Ok(()) => interrupted += usize::from(let_go(thread, deadline)),
            Err(nix::Error::ESRCH) => {}
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if interrupted == 0 => Err(error.into()),
        _ => Ok(interrupted),
    }
}

/// Waits until the thread has stopped, and lets it go on.
fn let_go(thread: Pid, deadline: Instant) -> bool {
    let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
    while Instant::now() < deadline {
        match waitpid(thread, Some(flags)) {
            Ok(WaitStatus::StillAlive) => thread::sleep(LOOK),
            // A signal that came first must not be lost.
            Ok(WaitStatus::Stopped(_, signal)) => return ptrace::detach(thread, signal).is_ok(),
            Ok(WaitStatus::PtraceEvent(..)) => return ptrace::detach(thread, None).is_ok(),
            Ok(_) | Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::{procfs, tcp};
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < deadline, "no {what}");
            thread::yield_now();
        }
    }

    #[test]
    fn a_read_that_has_its_bytes_returns_with_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        tcp::freeze(&socket).unwrap();
        client.write_all(b"hello").unwrap();
        wait_for("bytes", || tcp::account(&socket).unwrap().unread == 5);
        // dd reads once, into a large buffer, and says how much it got by ending.
        let input = Stdio::from(std::os::fd::OwnedFd::from(socket.try_clone().unwrap()));
        let reader = Command::new("dd")
            .args(["bs=64k", "count=1"])
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut reader) = reader else {
            return eprintln!("skipped: a_read_that_has_its_bytes_returns_with_them needs dd");
        };
        let pid = i32::try_from(reader.id()).unwrap();
        wait_for("swallowed bytes", || {
            tcp::account(&socket).unwrap().unread == 0
        });
        wait_for("sleeping reader", || !procfs::readers(pid).is_empty());
        assert_eq!(reader.try_wait().unwrap(), None);
        assert_eq!(procfs::readers(pid), [(pid, 0)]);
        match interrupt_threads(&[pid]) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                reader.kill().unwrap();
                eprintln!("skipped: a_read_that_has_its_bytes_returns_with_them needs ptrace");
            }
            result => assert_eq!(result.unwrap(), 1),
        }
        wait_for("end of the reader", || reader.try_wait().unwrap().is_some());
    }

    #[test]
    fn a_thread_that_does_not_exist_is_no_error() {
        assert_eq!(interrupt_threads(&[i32::MAX]).unwrap(), 0);
    }
}

//! Interrupting what threads of another process sleep in, one by one.
//!
//! A tracer can stop a single thread, which a signal cannot: SIGSTOP stops the whole process, and
//! every reader that is interrupted takes what it finds. The order is that of ptrace(2): seize (it
//! goes on), interrupt, wait for the stop, detach. A tracer is a thread, and what it traces is let go
//! when it ends; so it is a thread of its own, and nothing stays stopped whatever happens.
//!
//! A thread that is stopped has left its system call and begins it again when it is let go; but a
//! signal that ends its process comes first. So what is killed while it is stopped reads nothing more.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long to wait for all to stop; one that waits for a disk may not, for a while.
const STOP_TIMEOUT: Duration = Duration::from_millis(300);
/// How often to look.
const POLL_INTERVAL: Duration = Duration::from_micros(100);

/// Interrupts these threads and lets them go on. System calls are begun again, except that a read
/// which has some bytes returns with them. Says how many were interrupted; a thread that has ended,
/// or is traced already, is not. Waits until it is done, for 300 ms at most.
///
/// # Errors
/// As for [`stop_threads`].
pub fn interrupt_threads(threads: &[i32]) -> io::Result<usize> {
    Ok(stop_threads(threads)?.count)
}

/// Threads that stand still until this is dropped.
#[derive(Debug)]
pub struct StoppedThreads {
    count: usize,
    release: Option<SyncSender<()>>,
    tracer: Option<JoinHandle<()>>,
}

/// Stops these threads as [`interrupt_threads`] does, and keeps them.
///
/// # Errors
/// `EPERM` for every thread: the caller may not trace the process, as for
/// [`pidfd_getfd`](super::pidfd::pidfd_getfd). Those of starting a thread.
pub fn stop_threads(threads: &[i32]) -> io::Result<StoppedThreads> {
    let threads = threads.to_vec();
    let (report, reported) = sync_channel(1);
    let (release, released) = sync_channel(1);
    let tracer = thread::Builder::new()
        .name("interrupt".into())
        .spawn(move || trace(&threads, &report, &released))?;
    let count = reported
        .recv()
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
    Ok(StoppedThreads {
        count,
        release: Some(release),
        tracer: Some(tracer),
    })
}

impl Drop for StoppedThreads {
    fn drop(&mut self) {
        drop(self.release.take());
        if let Some(tracer) = self.tracer.take() {
            // If it panicked, its end has let all go.
            let _ = tracer.join();
        }
    }
}

fn trace(threads: &[i32], report: &SyncSender<io::Result<usize>>, released: &Receiver<()>) {
    let result = stop(threads);
    let stopped = match result {
        Ok(stopped) => stopped,
        Err(error) => return drop(report.send(Err(error))),
    };
    let _ = report.send(Ok(stopped.len()));
    // It ends when the other side is dropped.
    let _ = released.recv();
    for (thread, signal) in stopped {
        // One that has died meanwhile needs nothing.
        let _ = ptrace::detach(thread, signal);
    }
}

/// Stops what can be stopped; with the signals that came first, which must not be lost.
fn stop(threads: &[i32]) -> io::Result<BTreeMap<Pid, Option<Signal>>> {
    let deadline = Instant::now() + STOP_TIMEOUT;
    let (mut seized, mut refused) = (Vec::new(), None);
    for thread in threads {
        let thread = Pid::from_raw(*thread);
        match ptrace::seize(thread, ptrace::Options::empty())
            .and_then(|()| ptrace::interrupt(thread))
        {
            Ok(()) => seized.push(thread),
            Err(nix::Error::ESRCH) => {}
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if seized.is_empty() => Err(error.into()),
        _ => {
            let wait = |thread| Some((thread, wait_for_stop(thread, deadline)?));
            Ok(seized.into_iter().filter_map(wait).collect())
        }
    }
}

/// None: it has ended, or does not stop in time.
fn wait_for_stop(thread: Pid, deadline: Instant) -> Option<Option<Signal>> {
    let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
    while Instant::now() < deadline {
        match waitpid(thread, Some(flags)) {
            Ok(WaitStatus::StillAlive) => thread::sleep(POLL_INTERVAL),
            Ok(WaitStatus::Stopped(_, signal)) => return Some(Some(signal)),
            Ok(WaitStatus::PtraceEvent(..)) => return Some(None),
            Ok(_) | Err(_) => return None,
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::{procfs, tcp};
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + TIMEOUT;
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
        wait_for("bytes", || tcp::counters(&socket).unwrap().unread == 5);
        // dd reads once, into a large buffer, and says how much it got by ending.
        let input = Stdio::from(std::os::fd::OwnedFd::from(socket.try_clone().unwrap()));
        // It has the socket twice.
        let reader = Command::new("sh")
            .args(["-c", "exec dd bs=64k count=1 3<&0"])
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut reader) = reader else {
            return eprintln!("skipped: a_read_that_has_its_bytes_returns_with_them needs dd");
        };
        let pid = i32::try_from(reader.id()).unwrap();
        wait_for("read bytes", || tcp::counters(&socket).unwrap().unread == 0);
        wait_for("sleeping reader", || !procfs::readers(pid).is_empty());
        assert_eq!(reader.try_wait().unwrap(), None);
        let inode = crate::sys::listener::inode(&socket).unwrap();
        assert_eq!(procfs::readers(pid), [(inode, pid)].into());
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
    fn what_is_killed_while_it_is_stopped_reads_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        let input = Stdio::from(std::os::fd::OwnedFd::from(socket.try_clone().unwrap()));
        let reader = Command::new("dd")
            .args(["bs=64k", "count=1"])
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut reader) = reader else {
            return eprintln!("skipped: what_is_killed_while_it_is_stopped_reads_nothing needs dd");
        };
        let pid = i32::try_from(reader.id()).unwrap();
        wait_for("reader", || !procfs::readers(pid).is_empty());
        let stopped = match stop_threads(&[pid]) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                reader.kill().unwrap();
                return eprintln!(
                    "skipped: what_is_killed_while_it_is_stopped_reads_nothing needs ptrace"
                );
            }
            stopped => stopped.unwrap(),
        };
        client.write_all(b"hello").unwrap();
        wait_for("bytes", || tcp::counters(&socket).unwrap().unread == 5);
        nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        drop(stopped);
        reader.wait().unwrap();
        assert_eq!(tcp::counters(&socket).unwrap().unread, 5);
    }

    #[test]
    fn a_thread_that_does_not_exist_is_no_error() {
        assert_eq!(interrupt_threads(&[i32::MAX]).unwrap(), 0);
    }
}

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
use std::ptr;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// How long to wait for all to stop; one that waits for a disk may not, for a while.
const STOP_TIMEOUT: Duration = Duration::from_millis(300);
/// How often to look whether a thread has stopped. A ptrace stop can only be waited for by waitpid(2), which
/// has no time-out: blocked in it, the tracer would hold those that it stopped for as long as one waits for a
/// disk. (A pidfd tells an exit, not a stop; SIGCHLD goes to the whole process, whose main loop takes it.)
const LOOK_INTERVAL: Duration = Duration::from_micros(100);

/// Threads of another process that are being stopped, and then stand still until this is dropped. System
/// calls are begun again then, except that a read which has some bytes returns with them.
#[derive(Debug)]
pub struct StoppedThreads {
    reported: Receiver<io::Result<usize>>,
    /// The tracer lets all go when this is dropped.
    _release: SyncSender<()>,
}

impl StoppedThreads {
    /// Begins to stop these threads; a thread that has ended, or is traced already, is not stopped. `wake`
    /// is called when [`Self::poll`] has an answer, after 300 ms at most.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn begin(threads: Vec<i32>, wake: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (report, reported) = sync_channel(1);
        let (release, released) = sync_channel(1);
        thread::Builder::new()
            .name("interrupt".into())
            .spawn(move || trace(&threads, &report, wake, &released))?;
        Ok(Self {
            reported,
            _release: release,
        })
    }

    /// How many threads stand still; none while that is not known. Answers once.
    ///
    /// # Errors
    /// `EPERM` for every thread: the caller may not trace the process, as for
    /// [`pidfd_getfd`](super::pidfd::pidfd_getfd).
    pub fn poll(&mut self) -> Option<io::Result<usize>> {
        match self.reported.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            // The tracer panicked: its end has let all go.
            Err(TryRecvError::Disconnected) => Some(Err(io::ErrorKind::Other.into())),
        }
    }
}

/// The signal that a thread was about to get when it stopped, which must not be lost; 0: none. A number, for
/// it may be a real-time signal.
#[derive(Clone, Copy, Debug)]
struct StopSignal(i32);

fn trace(
    threads: &[i32],
    report: &SyncSender<io::Result<usize>>,
    wake: impl FnOnce(),
    released: &Receiver<()>,
) {
    let (answer, stopped) = match stop(threads) {
        Ok(stopped) => (Ok(stopped.len()), stopped),
        Err(error) => (Err(error), BTreeMap::new()),
    };
    // Nobody may want to know any more.
    let _ = report.send(answer);
    wake();
    // It ends when the other side is dropped.
    let _ = released.recv();
    for (thread, signal) in stopped {
        detach(thread, signal);
    }
}

/// Stops what can be stopped; with the signals that came first, which must not be lost.
fn stop(threads: &[i32]) -> io::Result<BTreeMap<Pid, StopSignal>> {
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

/// None: it has ended, or does not stop in time. A process that has ended is not reaped: that is for whoever
/// waits for it as its parent.
fn wait_for_stop(thread: Pid, deadline: Instant) -> Option<StopSignal> {
    while Instant::now() < deadline {
        match stop_of(thread) {
            Ok(Some(signal)) => return Some(signal),
            Ok(None) => thread::sleep(LOOK_INTERVAL),
            Err(_) => return None,
        }
    }
    None
}

/// The stop of a thread that we trace; none as long as it runs.
fn stop_of(thread: Pid) -> io::Result<Option<StopSignal>> {
    let flags = libc::WSTOPPED | libc::WNOHANG | libc::__WALL;
    // SAFETY: a siginfo_t is plain data, for which all zeroes is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let id = thread.as_raw().unsigned_abs();
    // SAFETY: the kernel fills in the one structure that it is given.
    Errno::result(unsafe { libc::waitid(libc::P_PID, id, &raw mut info, flags) })?;
    // SAFETY: waitid fills these in for a child; they stay zero when there is none.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok((pid != 0).then_some(match status >> 8 {
        // A signal that was about to be delivered.
        0 => StopSignal(status),
        _ => StopSignal(0),
    }))
}

/// Lets a thread go on, with the signal that came before it stopped. One that has died needs nothing.
fn detach(thread: Pid, signal: StopSignal) {
    // SAFETY: this request takes no address: the fourth argument is a number.
    let _ = unsafe {
        libc::ptrace(
            libc::PTRACE_DETACH,
            thread.as_raw(),
            ptr::null_mut::<libc::c_void>(),
            ptr::without_provenance_mut::<libc::c_void>(signal.0.unsigned_abs() as usize),
        )
    };
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::{procfs, tcp};
    use nix::sys::signal::Signal;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};

    const TIMEOUT: Duration = Duration::from_secs(20);

    /// Stops threads and waits until they stand still.
    fn stopped(threads: &[i32]) -> (StoppedThreads, io::Result<usize>) {
        let (wake, woken) = sync_channel(1);
        let wake = move || wake.send(()).unwrap();
        let mut stopped = StoppedThreads::begin(threads.to_vec(), wake).unwrap();
        woken.recv_timeout(TIMEOUT).unwrap();
        let answer = stopped.poll().unwrap();
        assert!(stopped.poll().is_none_or(|again| again.is_err()));
        (stopped, answer)
    }

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
        wait_for("swallowed bytes", || {
            tcp::counters(&socket).unwrap().unread == 0
        });
        wait_for("sleeping reader", || !procfs::readers(pid).is_empty());
        assert_eq!(reader.try_wait().unwrap(), None);
        let inode = crate::sys::listener::inode(&socket).unwrap();
        assert_eq!(procfs::readers(pid), [(inode, pid)].into());
        match stopped(&[pid]).1 {
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
        let stopped = match stopped(&[pid]) {
            (_, Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                reader.kill().unwrap();
                return eprintln!(
                    "skipped: what_is_killed_while_it_is_stopped_reads_nothing needs ptrace"
                );
            }
            (stopped, count) => {
                assert_eq!(count.unwrap(), 1);
                stopped
            }
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
        assert_eq!(stopped(&[i32::MAX]).1.unwrap(), 0);
    }
}

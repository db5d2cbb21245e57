//! Interrupting what threads of another process sleep in, one by one.
//!
//! A tracer can stop a single thread, which a signal cannot: SIGSTOP stops the whole process, and
//! every reader that is interrupted reads what it finds. The order is that of ptrace(2): seize (the
//! thread goes on), interrupt, wait for the stop, detach. A tracer is a thread, and what it traces is
//! let go when the tracer ends; so the tracer is a thread of its own, and nothing stays stopped
//! whatever happens.
//!
//! A thread that is stopped has left its system call and begins the call again when it is let go; but
//! a signal that ends its process comes first. So what is killed while it is stopped reads nothing
//! more.
//!
//! ```text
//!  caller           begin ──► goes on ────────────────► poll: how many ───► drop
//!                     │                      ▲ notify                        │
//!  tracer             └─► seize, interrupt, wait ─► keeps them stopped ──────┴─► detach, end
//! ```

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
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
/// which has some bytes returns with them. Returns how many were interrupted; a thread that has ended,
/// or is traced already, is not. Waits until it is done, for 300 ms at most.
///
/// # Errors
/// As for [`stop_threads`].
pub fn interrupt_threads(threads: &[i32]) -> io::Result<usize> {
    let mut stopper = ThreadStopper::begin(threads, || {})?;
    stopper.wait()
}

/// Stops these threads as [`interrupt_threads`] does, and keeps them stopped.
///
/// # Errors
/// As for [`ThreadStopper::begin`] and [`ThreadStopper::poll`].
pub fn stop_threads(threads: &[i32]) -> io::Result<ThreadStopper> {
    let mut stopper = ThreadStopper::begin(threads, || {})?;
    stopper.wait()?;
    Ok(stopper)
}

/// Threads that are being stopped, and then stand still until this is dropped.
///
/// Dropping it does not wait for threads that do not stop: the tracer gives up, which lets all go.
#[derive(Debug)]
pub struct ThreadStopper {
    result: Option<Receiver<io::Result<usize>>>,
    /// The tracer lets all go when this is dropped.
    hold: Option<SyncSender<()>>,
    tracer: Option<JoinHandle<()>>,
}

impl ThreadStopper {
    /// Begins to stop these threads, without waiting for it. Calls `notify` on another thread, once,
    /// when [`Self::poll`] has the result, which takes 300 ms at most.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn begin(threads: &[i32], notify: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let threads = threads.to_vec();
        let (report, result) = sync_channel(1);
        let (hold, release) = sync_channel(1);
        let trace = move || trace(&threads, &report, &Release(release), notify);
        let tracer = thread::Builder::new()
            .name("interrupt".into())
            .spawn(trace)?;
        Ok(Self {
            result: Some(result),
            hold: Some(hold),
            tracer: Some(tracer),
        })
    }

    /// How many threads stand still, as soon as that is known, and once. A thread that has ended, is
    /// traced already or does not stop in time is none of them.
    ///
    /// # Errors
    /// `EPERM` for every thread: the caller may not trace the process, as for
    /// [`pidfd_getfd`](super::pidfd::pidfd_getfd).
    pub fn poll(&mut self) -> Option<io::Result<usize>> {
        match self.result.as_ref()?.try_recv() {
            Err(TryRecvError::Empty) => None,
            Ok(result) => {
                self.result = None;
                Some(result)
            }
            Err(TryRecvError::Disconnected) => {
                self.result = None;
                Some(Err(tracer_lost()))
            }
        }
    }

    fn wait(&mut self) -> io::Result<usize> {
        let result = self.result.take().and_then(|result| result.recv().ok());
        result.unwrap_or_else(|| Err(tracer_lost()))
    }
}

fn tracer_lost() -> io::Error {
    io::Error::other("the tracer ended without a word")
}

impl Drop for ThreadStopper {
    fn drop(&mut self) {
        drop(self.hold.take());
        if let Some(tracer) = self.tracer.take() {
            // If the tracer panicked, its end has let all go.
            let _ = tracer.join();
        }
    }
}

/// Whether the tracer is to let go.
struct Release(Receiver<()>);

impl Release {
    fn has_come(&self) -> bool {
        self.0.try_recv() == Err(TryRecvError::Disconnected)
    }

    fn wait(&self) {
        // It ends when the other side is dropped.
        let _ = self.0.recv();
    }
}

fn trace(
    threads: &[i32],
    report: &SyncSender<io::Result<usize>>,
    release: &Release,
    notify: impl FnOnce(),
) {
    let (result, stopped) = match stop(threads, release) {
        Ok(stopped) => (Ok(stopped.len()), stopped),
        Err(error) => (Err(error), BTreeMap::new()),
    };
    // If nobody receives it, nobody waits any more.
    let _ = report.send(result);
    notify();
    release.wait();
    for (thread, signal) in stopped {
        // One that has died meanwhile needs nothing.
        let _ = ptrace::detach(thread, signal);
    }
}

/// Stops what can be stopped; with the signals that came first, which must not be lost.
fn stop(threads: &[i32], release: &Release) -> io::Result<BTreeMap<Pid, Option<Signal>>> {
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
            let wait = |thread| Some((thread, wait_for_stop(thread, deadline, release)?));
            Ok(seized.into_iter().filter_map(wait).collect())
        }
    }
}

/// None: the thread has ended, does not stop in time, or is not to be waited for any more.
fn wait_for_stop(thread: Pid, deadline: Instant, release: &Release) -> Option<Option<Signal>> {
    let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
    while Instant::now() < deadline && !release.has_come() {
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
    use std::process::{Child, Command, Stdio};

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

    /// A process that sleeps; none, with a word, where it cannot be had or not be traced.
    fn sleeper(test: &str) -> Option<Child> {
        let mut sleeper = Command::new("sleep").arg("60").spawn().ok()?;
        let pid = i32::try_from(sleeper.id()).unwrap();
        match interrupt_threads(&[pid]) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                sleeper.kill().unwrap();
                sleeper.wait().unwrap();
                eprintln!("skipped: {test} needs ptrace");
                None
            }
            result => {
                assert_eq!(result.unwrap(), 1);
                Some(sleeper)
            }
        }
    }

    fn is_traced(pid: i32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(')').next().unwrap().trim().starts_with('t')
    }

    #[test]
    fn the_caller_goes_on_while_threads_are_stopped_and_is_notified() {
        let test = "the_caller_goes_on_while_threads_are_stopped_and_is_notified";
        let Some(mut sleeper) = sleeper(test) else {
            return;
        };
        let pid = i32::try_from(sleeper.id()).unwrap();
        let (notify, notified) = sync_channel(1);
        let notify = move || notify.send(()).unwrap();
        let mut stopper = ThreadStopper::begin(&[pid], notify).unwrap();
        notified.recv_timeout(TIMEOUT).unwrap();
        assert_eq!(stopper.poll().unwrap().unwrap(), 1);
        assert!(stopper.poll().is_none(), "the result is given once");
        assert!(is_traced(pid));
        drop(stopper);
        wait_for("sleeper that goes on", || !is_traced(pid));
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }

    #[test]
    fn what_is_dropped_at_once_lets_go_at_once() {
        let Some(mut sleeper) = sleeper("what_is_dropped_at_once_lets_go_at_once") else {
            return;
        };
        let pid = i32::try_from(sleeper.id()).unwrap();
        for _ in 0..20 {
            drop(ThreadStopper::begin(&[pid], || {}).unwrap());
            wait_for("sleeper that goes on", || !is_traced(pid));
        }
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }

    #[test]
    fn a_thread_that_does_not_stop_is_not_waited_for_after_the_release() {
        let test = "a_thread_that_does_not_stop_is_not_waited_for_after_the_release";
        let Some(mut sleeper) = sleeper(test) else {
            return;
        };
        let pid = Pid::from_raw(i32::try_from(sleeper.id()).unwrap());
        // It is seized and not interrupted, so it goes on.
        ptrace::seize(pid, ptrace::Options::empty()).unwrap();
        let (hold, release) = sync_channel(1);
        let releaser = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            drop(hold);
        });
        let deadline = Instant::now() + TIMEOUT;
        assert_eq!(wait_for_stop(pid, deadline, &Release(release)), None);
        assert!(Instant::now() < deadline);
        releaser.join().unwrap();
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }

    #[test]
    fn a_thread_that_does_not_exist_is_no_error() {
        assert_eq!(interrupt_threads(&[i32::MAX]).unwrap(), 0);
    }
}

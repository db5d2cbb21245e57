//! A worker that a trial kills.
//!
//! What a worker has accepted is lost with it, and nothing else may be. How many connections that
//! are is the kernel's business (a worker that was not scheduled for some milliseconds accepts
//! everything at once), so the trial looks: it stops the worker, counts, and then kills it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reuseport_run::sys::diag;
use reuseport_run::wire::diag::{States, TcpState};

/// How long a process may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How often the threads' states are read.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// A worker that can accept nothing more.
pub struct Victim(Pid);

impl Victim {
    /// Stops every thread of the process.
    pub fn stop(pid: i32) -> io::Result<Self> {
        let victim = Self(Pid::from_raw(pid));
        kill(victim.0, Signal::SIGSTOP)?;
        let end = Instant::now() + STOP_TIMEOUT;
        while !victim.has_stopped()? {
            if Instant::now() > end {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(victim)
    }

    fn has_stopped(&self) -> io::Result<bool> {
        for thread in fs::read_dir(format!("/proc/{}/task", self.0))? {
            let status = fs::read_to_string(thread?.path().join("status"))?;
            // A zombie runs no more, and stops no more.
            let is_still = status.contains("\nState:\tT") || status.contains("\nState:\tZ");
            if !is_still {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many connections of a port it has accepted and not closed.
    pub fn accepted(&self, port: u16) -> io::Result<u64> {
        let open =
            diag::connections(port, States::of(TcpState::ESTABLISHED)).map_err(io::Error::other)?;
        let open: BTreeSet<u64> = open.iter().map(|socket| socket.inode).collect();
        let mut accepted = 0;
        for descriptor in fs::read_dir(format!("/proc/{}/fd", self.0))? {
            let Ok(target) = fs::read_link(descriptor?.path()) else {
                continue;
            };
            let inode = target.to_str().and_then(|target| {
                let number = target.strip_prefix("socket:[")?.strip_suffix(']')?;
                number.parse().ok()
            });
            accepted += u64::from(inode.is_some_and(|inode| open.contains(&inode)));
        }
        Ok(accepted)
    }

    pub fn kill(self) -> io::Result<()> {
        Ok(kill(self.0, Signal::SIGKILL)?)
    }
}

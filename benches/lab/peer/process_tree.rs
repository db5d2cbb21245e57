//! What a subject has started: its processes, which of them are workers, and their end.
//!
//! Hazard: a subject that is left behind takes CPU from the next one, and its port may be asked by
//! the next one's clients. So a process tree ends all its processes when it is dropped, whatever became of
//! the measurement (see [`super::termination`]).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::process::{Census, pid_of};
use super::roles::{ByRole, Roles};
use super::supervisor_cost::Memory;
use super::{Place, poll, termination};

/// How long processes have to end when a measurement is over and they are told to.
const FAREWELL: Duration = Duration::from_secs(5);

/// The processes of one subject.
#[derive(Debug)]
pub struct ProcessTree {
    roots: Vec<Child>,
    log: PathBuf,
    roles: Roles,
}

impl ProcessTree {
    /// Nobody yet; what they say goes to a file in the subject's folder.
    pub fn new(place: &Place) -> Self {
        Self {
            roots: Vec::new(),
            log: place.file("log"),
            roles: Roles::default(),
        }
    }

    /// Of one process.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn of(place: &Place, command: &mut Command) -> io::Result<Self> {
        Self::new(place).and(command)
    }

    /// With one process more.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn and(mut self, command: &mut Command) -> io::Result<Self> {
        self.spawn(command)?;
        Ok(self)
    }

    /// Where what its processes do is not told by their family alone.
    #[must_use]
    pub fn with(mut self, roles: Roles) -> Self {
        self.roles = roles;
        self
    }

    /// Starts one process, in a group of its own.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&mut self, command: &mut Command) -> io::Result<()> {
        let child = command
            .stdin(Stdio::null())
            .stdout(self.open_log()?)
            .stderr(self.open_log()?)
            // ^C is for us: we end them, in order.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                io::Error::other(format!("cannot start {:?}: {error}", command.get_program()))
            })?;
        self.roots.push(child);
        Ok(())
    }

    /// The same, and makes it the first: the supervisor, for whom signals are.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn_first(&mut self, command: &mut Command) -> io::Result<()> {
        self.spawn(command)?;
        self.roots.rotate_right(1);
        Ok(())
    }

    fn open_log(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(&self.log)
    }

    /// The first process that was started: the supervisor.
    ///
    /// # Errors
    /// If none was.
    pub fn root(&self) -> io::Result<Pid> {
        let nobody = || io::Error::other("nothing was started");
        self.roots.first().map(pid_of).ok_or_else(nobody)
    }

    /// All processes that were started, without their descendants.
    pub fn roots(&self) -> Vec<Pid> {
        self.roots.iter().map(pid_of).collect()
    }

    /// Sends a signal to the first process.
    ///
    /// # Errors
    /// If it is gone.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(self.root()?, signal)?)
    }

    /// Everybody who is there now.
    pub fn by_role(&self) -> ByRole {
        self.by_role_in(&Census::take())
    }

    fn by_role_in(&self, census: &Census) -> ByRole {
        self.roles.of(&self.roots(), census)
    }

    /// Whoever serves now.
    pub fn workers(&self) -> Vec<Pid> {
        self.by_role().workers
    }

    /// Memory of all, in bytes; what they share counts once.
    pub fn memory(&self) -> u64 {
        let all = self.by_role().all;
        all.into_iter()
            .map(|pid| Memory::of(pid).proportional)
            .sum()
    }

    /// Waits until `workers` processes serve at the place.
    ///
    /// # Errors
    /// If the first process ends, or it takes too long; with the last of what it said.
    pub fn wait_until_it_serves(&mut self, place: &Place, patience: Duration) -> io::Result<()> {
        let workers = place.worker_count();
        let serves = poll::until(patience, || {
            if self.workers().len() >= workers && answers(place) {
                return Ok(Some(()));
            }
            let root = self.roots.first_mut();
            match root.and_then(|root| root.try_wait().ok().flatten()) {
                Some(status) => Err(self.complaint(&format!("it ended at once, with {status}"))),
                None => Ok(None),
            }
        });
        serves?.ok_or_else(|| self.complaint(&format!("it did not serve within {patience:?}")))
    }

    fn complaint(&self, what: &str) -> io::Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.split_at(lines.len().saturating_sub(3)).1;
        io::Error::other(format!("{what}; it said: {}", last.join(" / ")))
    }

    /// Waits until none of `old` is left and `workers` others serve; returns how long it took.
    /// Whoever else is there is shown to `watch` at every look.
    ///
    /// # Errors
    /// If it takes longer than `patience`.
    pub fn wait_until_replaced(
        &self,
        old: &[Pid],
        workers: usize,
        patience: Duration,
        mut watch: impl FnMut(&[Pid]),
    ) -> io::Result<Duration> {
        let begin = Instant::now();
        let took = poll::until(patience, || {
            let census = Census::take();
            let now = self.by_role_in(&census);
            watch(&now.supervisors);
            let fresh = now.workers.iter().filter(|pid| !old.contains(pid));
            let is_done = fresh.count() >= workers && !old.iter().any(|pid| census.has(*pid));
            Ok(is_done.then(|| begin.elapsed()))
        });
        let slow = || format!("its workers were not replaced within {patience:?}");
        took?.ok_or_else(|| self.complaint(&slow()))
    }

    /// Ends some of the processes that were started, and forgets them.
    pub fn dismiss(&mut self, pids: &[Pid]) {
        let (mut leaving, staying) = self
            .roots
            .drain(..)
            .partition(|child| pids.contains(&pid_of(child)));
        self.roots = staying;
        termination::end(&mut leaving, FAREWELL);
    }

    /// Ends it all; how long it took until nobody was left.
    ///
    /// # Errors
    /// If it took longer than `patience`; all are gone nevertheless.
    pub fn stop(mut self, patience: Duration) -> io::Result<Duration> {
        let took = termination::end(&mut std::mem::take(&mut self.roots), patience);
        took.ok_or_else(|| self.complaint(&format!("it did not stop within {patience:?}")))
    }
}

impl Drop for ProcessTree {
    fn drop(&mut self) {
        termination::end(&mut self.roots, FAREWELL);
    }
}

fn answers(place: &Place) -> bool {
    TcpStream::connect_timeout(&place.address, Duration::from_millis(200)).is_ok()
}

//! What a subject has started: its processes, which of them are workers, and their end.
//!
//! Hazard: a subject that is left behind takes CPU from the next one, and its port may be asked by
//! the next one's clients. So a herd ends all its processes when it is dropped, whatever became of
//! the measurement: politely first, because supervisors must end their workers, and then by killing
//! the process groups and whoever was seen to descend from them.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::Place;
use super::process::{Census, command_line};

/// How often what cannot be waited for is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// How long processes have to end when they are told to.
const FAREWELL: Duration = Duration::from_secs(5);

/// The processes of one subject.
#[derive(Debug)]
pub struct Herd {
    roots: Vec<Child>,
    log: PathBuf,
    /// Which of the processes without children serve, by their command lines.
    is_worker: fn(&str) -> bool,
}

impl Herd {
    /// Nobody yet; what they say goes to a file in the subject's folder.
    pub fn new(place: &Place) -> Self {
        Self {
            roots: Vec::new(),
            log: place.file("log"),
            is_worker: |_| true,
        }
    }

    /// Where other processes without children than workers must be told apart.
    #[must_use]
    pub fn with_workers(mut self, is_worker: fn(&str) -> bool) -> Self {
        self.is_worker = is_worker;
        self
    }

    /// Starts one process, in a group of its own.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&mut self, command: &mut Command) -> io::Result<Pid> {
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
        let pid = pid_of(&child);
        self.roots.push(child);
        Ok(pid)
    }

    /// The same, and makes it the first: the supervisor, for whom signals are.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn_first(&mut self, command: &mut Command) -> io::Result<Pid> {
        let pid = self.spawn(command)?;
        self.roots.rotate_right(1);
        Ok(pid)
    }

    fn open_log(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(&self.log)
    }

    /// The first process that was started: the supervisor.
    pub fn root(&self) -> Option<Pid> {
        self.roots.first().map(pid_of)
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
        let gone = || io::Error::other("nothing was started");
        Ok(kill(self.root().ok_or_else(gone)?, signal)?)
    }

    /// Whoever serves now: the processes without children.
    pub fn workers(&self) -> Vec<Pid> {
        let census = Census::take();
        let mut workers = Vec::new();
        for root in self.roots() {
            let descendants = census.descendants(root);
            let all = std::iter::once(root).chain(descendants);
            let counted = all.filter(|pid| census.has(*pid) && !is_helper(*pid));
            let leaves = counted.filter(|pid| census.descendants(*pid).into_iter().all(is_helper));
            workers.extend(leaves.filter(|pid| (self.is_worker)(&command_line(*pid))));
        }
        workers
    }

    /// Waits until `workers` processes serve at `address`.
    ///
    /// # Errors
    /// If the first process ends, or it takes too long; with the last of what it said.
    pub fn wait_until_it_serves(&mut self, place: &Place, patience: Duration) -> io::Result<()> {
        let workers = usize::try_from(place.workers).unwrap_or(usize::MAX);
        let until = Instant::now() + patience;
        loop {
            if self.workers().len() >= workers && answers(place) {
                return Ok(());
            }
            if let Some(status) = self
                .roots
                .first_mut()
                .and_then(|root| root.try_wait().ok().flatten())
            {
                return Err(self.complaint(&format!("it ended at once, with {status}")));
            }
            if Instant::now() > until {
                return Err(self.complaint(&format!("it did not serve within {patience:?}")));
            }
            thread::sleep(LOOK);
        }
    }

    fn complaint(&self, what: &str) -> io::Error {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(3).collect();
        let lines: Vec<&str> = lines.into_iter().rev().collect();
        io::Error::other(format!("{what}; it said: {}", lines.join(" / ")))
    }

    /// Waits until none of `old` is left and `workers` others serve; returns how long it took.
    ///
    /// # Errors
    /// If it takes longer than `patience`.
    pub fn wait_until_replaced(
        &self,
        old: &[Pid],
        workers: usize,
        patience: Duration,
    ) -> io::Result<Duration> {
        let begin = Instant::now();
        while begin.elapsed() < patience {
            let now = self.workers();
            let census = Census::take();
            let fresh = now.iter().filter(|pid| !old.contains(pid)).count();
            if fresh >= workers && old.iter().all(|pid| !census.has(*pid)) {
                return Ok(begin.elapsed());
            }
            thread::sleep(LOOK);
        }
        Err(self.complaint(&format!(
            "its workers were not replaced within {patience:?}"
        )))
    }

    /// Ends some of the processes that were started, and forgets them.
    pub fn dismiss(&mut self, pids: &[Pid]) {
        let (mut leaving, staying) = self
            .roots
            .drain(..)
            .partition(|child| pids.contains(&pid_of(child)));
        self.roots = staying;
        end(&mut leaving);
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        end(&mut self.roots);
    }
}

fn end(roots: &mut [Child]) {
    let pids: Vec<Pid> = roots.iter().map(pid_of).collect();
    let census = Census::take();
    let family: Vec<Pid> = pids
        .iter()
        .flat_map(|pid| census.descendants(*pid))
        .collect();
    for pid in &pids {
        let _ = kill(*pid, Signal::SIGTERM);
    }
    let until = Instant::now() + FAREWELL;
    while Instant::now() < until
        && roots
            .iter_mut()
            .any(|root| matches!(root.try_wait(), Ok(None)))
    {
        thread::sleep(LOOK);
    }
    for pid in &pids {
        let _ = killpg(*pid, Signal::SIGKILL);
    }
    for root in roots {
        let _ = root.wait();
    }
    let left = Census::take();
    for pid in family.into_iter().filter(|pid| left.has(*pid)) {
        let _ = kill(pid, Signal::SIGKILL);
    }
}

/// A process that helps and serves nobody: Python's watcher over shared resources, and our rescuers.
fn is_helper(pid: Pid) -> bool {
    let line = command_line(pid);
    let program = line.split(' ').next().unwrap_or_default();
    let name = Path::new(program).file_name().unwrap_or_default();
    line.contains("resource_tracker") || name == "reuseport-run"
}

fn answers(place: &Place) -> bool {
    TcpStream::connect_timeout(&place.address, Duration::from_millis(200)).is_ok()
}

/// A pid is positive and below 2^22 (proc(5), pid_max).
fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

//! The workers' processes: which pid is which worker, and what we hold for each.

pub(crate) mod environment;
pub(crate) mod exiting;
pub(crate) mod notify;
pub(crate) mod probe;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use mio::{Interest, Token};

use crate::config::Config;
use crate::fleet::{Endpoint, Generation, ListenerSetId, Slot, WorkerId};
use crate::launcher::{self, Intercept, LaunchSpec};
use crate::supervisor::listeners::intercept::state::Desk;
use crate::supervisor::output::{Output, Stream, pipe};
use crate::supervisor::sources::{Source, Sources};
use crate::supervisor::workers::environment::Seat;
use crate::sys::{channel, process};

/// One worker's process.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: i32,
    pub(crate) slot: Slot,
    pub(crate) generation: Generation,
    /// What its launcher said of why there is no worker.
    pub(crate) failure: Option<String>,
    /// Its process has gone, and so have those of its group.
    pub(crate) has_ended: bool,
    pub(crate) launcher: Option<(UnixStream, Token)>,
    /// Its calls of bind and listen, and where they are dealt with.
    pub(crate) calls: Option<(OwnedFd, Token)>,
    pub(crate) desk: Desk,
}

#[derive(Debug, Default)]
pub(crate) struct Children {
    children: BTreeMap<WorkerId, Child>,
    by_pid: BTreeMap<i32, WorkerId>,
}

/// What all workers are started from.
#[derive(Debug)]
pub(crate) struct Nursery {
    pub(crate) supervisor: i32,
    /// The soft limit on open files that we were given.
    pub(crate) file_limit: u64,
    /// Whether sockets of other processes can be fetched; else `IPV6_V6ONLY` must be trapped.
    pub(crate) can_fetch: bool,
}

/// A worker that is to be started.
#[derive(Debug)]
pub(crate) struct Birth<'a> {
    pub(crate) worker: WorkerId,
    pub(crate) slot: Slot,
    pub(crate) generation: Generation,
    pub(crate) workers: u32,
    /// Listeners that are passed as descriptors.
    pub(crate) passed: Vec<(Endpoint, i32)>,
    /// Whose listeners are put in place when it binds.
    pub(crate) queue: ListenerSetId,
    pub(crate) notify: &'a Path,
}

impl Children {
    pub(crate) fn get(&self, worker: WorkerId) -> Option<&Child> {
        self.children.get(&worker)
    }

    pub(crate) fn get_mut(&mut self, worker: WorkerId) -> Option<&mut Child> {
        self.children.get_mut(&worker)
    }

    pub(crate) fn by_pid(&self, pid: i32) -> Option<WorkerId> {
        self.by_pid.get(&pid).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Child)> {
        self.children.iter().map(|(worker, child)| (*worker, child))
    }

    pub(crate) fn insert(&mut self, worker: WorkerId, child: Child) {
        self.by_pid.insert(child.pid, worker);
        self.children.insert(worker, child);
    }

    /// Forgets a process that has ended, and stops waiting for what it had.
    pub(crate) fn remove(&mut self, sources: &mut Sources, worker: WorkerId) -> Option<Child> {
        let mut child = self.children.remove(&worker)?;
        self.by_pid.remove(&child.pid);
        child.close_launcher(sources);
        child.close_calls(sources);
        Some(child)
    }
}

impl Child {
    pub(crate) fn close_launcher(&mut self, sources: &mut Sources) {
        if let Some((stream, token)) = self.launcher.take() {
            sources.remove(&stream, token);
        }
    }

    pub(crate) fn close_calls(&mut self, sources: &mut Sources) {
        if let Some((calls, token)) = self.calls.take() {
            sources.remove(&calls, token);
        }
    }
}

impl Nursery {
    /// Starts a worker's launcher.
    pub(crate) fn start(
        &self,
        config: &Config,
        sources: &mut Sources,
        output: &mut Output,
        birth: Birth<'_>,
    ) -> io::Result<Child> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let passed: Vec<i32> = birth.passed.iter().map(|(_, number)| *number).collect();
        if !passed.is_empty() {
            channel::send(&ours.as_raw_fd(), &[0], &passed)?;
        }
        let errors = output.open(sources, &birth, Stream::Errors, config.log_prefix)?;
        let written = if config.log_prefix || config.log_file.is_some() {
            Some(output.open(sources, &birth, Stream::Output, config.log_prefix)?)
        } else {
            None
        };
        let pid = process::spawn(process::Spawn {
            name: launcher::NAME,
            arguments: self.arguments(config, &birth),
            environment: birth
                .seat(&birth.endpoints())
                .environment(std::env::vars_os()),
            input: theirs.into(),
            output: written,
            errors: Some(errors),
        })?;
        let token = sources.add(&ours, Source::Launcher(birth.worker), Interest::READABLE)?;
        Ok(Child {
            pid,
            slot: birth.slot,
            generation: birth.generation,
            failure: None,
            has_ended: false,
            launcher: Some((ours, token)),
            calls: None,
            desk: Desk::new(pid, birth.queue),
        })
    }

    fn arguments(&self, config: &Config, birth: &Birth<'_>) -> Vec<std::ffi::OsString> {
        let v6_only = !self.can_fetch;
        let intercept = if config.listen.is_empty() {
            Intercept::Needed { v6_only }
        } else {
            Intercept::Wanted { v6_only }
        };
        let plan = LaunchSpec {
            supervisor: self.supervisor,
            stop_signal: config.stop_signal,
            file_limit: self.file_limit,
            listeners: birth.passed.len(),
            intercept,
        };
        // A plan is made of numbers and names, which JSON never refuses.
        let mut arguments = vec![serde_json::to_string(&plan).unwrap_or_default().into()];
        arguments.push(config.chdir.clone().unwrap_or_default().into());
        arguments.extend(birth.seat(&birth.endpoints()).arguments(&config.command));
        arguments
    }
}

impl Birth<'_> {
    fn endpoints(&self) -> Vec<Endpoint> {
        self.passed.iter().map(|(endpoint, _)| *endpoint).collect()
    }

    fn seat<'a>(&'a self, passed: &'a [Endpoint]) -> Seat<'a> {
        Seat {
            slot: self.slot,
            generation: self.generation,
            workers: self.workers,
            passed,
            notify: self.notify,
        }
    }
}

impl Output {
    /// A worker's end of a stream that we read.
    fn open(
        &mut self,
        sources: &mut Sources,
        birth: &Birth<'_>,
        stream: Stream,
        prefixed: bool,
    ) -> io::Result<OwnedFd> {
        let (ours, theirs) = pipe()?;
        let prefix =
            prefixed.then(|| format!("[{}.{}] ", birth.generation, birth.slot).into_bytes());
        self.add(sources, ours, birth.worker, stream, prefix)?;
        Ok(theirs)
    }
}

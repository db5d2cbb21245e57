//! Processes that have left their worker: daemons, and others in sessions of their own.
//!
//! When its parent ends such a process becomes our child, for we are the reaper of orphans. Whose it was is told by its
//! environment, where it has not written over that, or by a listener of the worker that it has.

use std::collections::BTreeSet;

use super::Workers;
use crate::fleet::WorkerId;
use crate::sys::{process, procfs};

/// A process that has left its worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stray {
    pub(crate) pid: i32,
    /// Its command's name.
    pub(crate) name: String,
    /// Whether it, or one of its descendants, has a listener of the worker.
    pub(crate) has_listener: bool,
}

impl Workers {
    /// The processes that have left this worker. `others`: children of ours that are no worker's; `listeners`: the inodes
    /// of those that the worker had.
    pub(crate) fn strays(
        &self,
        worker: WorkerId,
        others: &BTreeSet<i32>,
        listeners: &BTreeSet<u64>,
    ) -> Vec<Stray> {
        let is_stray = |pid: &i32| {
            let group = procfs::process_group(*pid);
            let of_worker = group.is_some_and(|group| self.by_pid.contains_key(&group));
            !of_worker && !others.contains(pid) && !procfs::has_ended(*pid)
        };
        let orphans = procfs::children(self.spawner.supervisor).into_iter();
        let strays = orphans.filter(is_stray).map(|pid| Stray {
            pid,
            name: procfs::command_name(pid),
            has_listener: procfs::tree_sockets(pid)
                .keys()
                .any(|inode| listeners.contains(inode)),
        });
        strays
            .filter(|stray| stray.has_listener || self.has_environment_of(stray.pid, worker))
            .collect()
    }

    /// A worker has put itself into the background.
    pub(crate) fn has_daemonised(&mut self, worker: WorkerId) {
        let process = self.processes.get(&worker);
        self.daemonising = process.map(|process| process.facts.generation);
    }

    /// Whether another worker of its generation has put itself into the background.
    pub(crate) fn daemonises(&self, worker: WorkerId) -> bool {
        let process = self.processes.get(&worker);
        process.is_some_and(|process| Some(process.facts.generation) == self.daemonising)
    }

    fn has_environment_of(&self, pid: i32, worker: WorkerId) -> bool {
        let Some(process) = self.processes.get(&worker) else {
            return false;
        };
        let facts = &process.facts;
        let wanted = [
            format!("REUSEPORT_WORKER={}", facts.slot),
            format!("REUSEPORT_GENERATION={}", facts.generation),
        ];
        let environment = procfs::environment(pid);
        let has = |line: &String| {
            let mut lines = environment.split(|byte| *byte == 0);
            lines.any(|found| found == line.as_bytes())
        };
        wanted.iter().all(has)
    }
}

/// Kills a process that has left its worker, with its group and all its descendants.
pub(crate) fn end(stray: &Stray) {
    for pid in procfs::descendants(stray.pid) {
        let killed = match procfs::process_group(pid) == Some(pid) {
            true => process::kill_group(pid),
            false => process::signal(pid, libc::SIGKILL),
        };
        if let Err(error) = killed {
            log::warn!("cannot kill process {pid}, which a worker has left behind: {error}");
        }
    }
}

//! What a worker leaves behind whose first process has ended: children that still answer, daemons, and others in sessions
//! of their own.

use std::collections::BTreeSet;
use std::time::Instant;

use log::{error, info, warn};

use super::Supervisor;
use super::retirement::measure;
use super::workers::End;
use super::workers::strays::{self, Stray};
use crate::config::KillMode;
use crate::fleet::{Exit, WorkerId};
use crate::sys::procfs;

/// How many of a generation are looked at for a port that one has for itself: a look goes through all descriptors of all
/// processes of a worker.
const MAX_SIBLINGS: usize = 64;

impl Supervisor {
    /// Kills what is left of workers that have ended as they were told, where no process has a connection of a client any
    /// more: nothing else is worth to be waited for.
    pub(super) fn look_at_finishing(&mut self) {
        let finishing = self.workers.finishing(Instant::now());
        if finishing.is_empty() {
            return;
        }
        let open = measure::established(&self.listeners);
        for worker in finishing {
            let tree = self.workers.tree(worker);
            let nobody_answers = !tree.iter().any(|pid| answers(*pid, &open));
            if nobody_answers && let Err(error) = self.workers.kill(worker) {
                let worker = self.workers.describe(worker);
                error!("{worker}: cannot kill what is left of its process group: {error}");
            }
        }
    }

    /// How a worker ended, and what becomes of what it leaves behind.
    ///
    /// One that ends by itself with code 0 and leaves a process that has its listener, or that wanted to bind one and
    /// could not any more, has put itself into the background: no such process is left. Nor is one of the others of
    /// its generation, which will have done the same.
    pub(super) fn exit_of(&mut self, worker: WorkerId, end: &End) -> Option<Exit> {
        let had = self.intercepts.listeners_of(worker);
        let had: BTreeSet<u64> = had.filter_map(|id| self.listeners.inode(id)).collect();
        let (exit, was_told) = self.workers.end(worker, end)?;
        if !was_told {
            self.look_for_port_answer(worker);
            self.look_for_unheard_sibling(worker);
        }
        let rescuers = self.retirements.rescuer_pids().collect();
        let strays = self.workers.strays(worker, &rescuers, &had);
        let is_daemon = |stray: &Stray| stray.has_listener || had.is_empty();
        let others_serve = !end.left.sockets.is_disjoint(&had);
        let others_would = had.is_empty() && end.left.others > 0;
        let is_left = strays.iter().any(is_daemon) || others_serve || others_would;
        if exit == Exit::Code(0) && is_left && (!was_told || self.workers.daemonises(worker)) {
            strays.iter().for_each(strays::end);
            self.workers.has_daemonised(worker);
            return Some(Exit::Daemonised);
        }
        for stray in &strays {
            self.has_left(worker, stray);
        }
        Some(exit)
    }

    /// Whether a worker that gives up, or is late, may have found that its port is taken. One that listens has not.
    pub(super) fn look_for_port_answer(&mut self, worker: WorkerId) {
        if self.intercepts.listeners_of(worker).next().is_none() {
            let is_ours = |end| self.probes.made(end) || self.checks.made(end);
            self.workers
                .look_for_port_answer(worker, &self.listeners, is_ours);
        }
    }

    /// Whether a worker that gives up may have found that another of its generation has its port, of which we have not
    /// heard: by io_uring, say. It is looked now, because the others are told to stop when the change has failed.
    fn look_for_unheard_sibling(&mut self, worker: WorkerId) {
        if self.intercepts.listeners_of(worker).next().is_some() {
            return;
        }
        let listens_unheard = |sibling| {
            let address = measure::unheard_listener(&self.workers, &self.listeners, sibling)?;
            Some((sibling, address))
        };
        let siblings: Vec<WorkerId> = self.workers.siblings(worker).take(MAX_SIBLINGS).collect();
        let found = siblings.into_iter().find_map(listens_unheard);
        if let Some((sibling, address)) = found {
            self.workers.has_unheard_sibling(worker, sibling, address);
        }
    }

    /// A process goes on in a session of its own.
    fn has_left(&self, worker: WorkerId, stray: &Stray) {
        let (pid, command) = (stray.pid, &stray.name);
        let config = self.workers.config(worker).unwrap_or(&self.config);
        let kill_mode = config.kill_mode;
        let worker = self.workers.describe(worker);
        match kill_mode {
            KillMode::Group => warn!(
                "{worker}: process {pid} ({command}), which has left its group, goes on; --kill-mode tree ends such"
            ),
            KillMode::Tree => {
                info!("{worker}: killing process {pid} ({command}), which has left its group");
                strays::end(stray);
            }
        }
    }
}

/// Whether a process has a connection of a client, or may have.
fn answers(pid: i32, open: &BTreeSet<u64>) -> bool {
    match procfs::socket_inodes(pid) {
        Ok(sockets) => sockets.iter().any(|inode| open.contains(inode)),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound && !procfs::has_ended(pid),
    }
}

//! The end of processes: reaping, and when a worker has really gone.
//!
//! ```text
//!   its process ends ─► its group is killed ─► it is reaped ─► its group is empty ─► it has gone
//! ```
//!
//! A killed process is not gone yet: what a worker forked may hold its listeners for some
//! milliseconds more. A listener that we close meanwhile leaves its group when they please, and the
//! kernel then moves another to its index under a program that expects nothing of the kind. So a
//! worker has gone only with the last of its group. All of them become our children as their
//! parents die, and each tells its end by SIGCHLD.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::fleet::WorkerId;
use crate::sys::process::{self, Ended};

/// How long to wait for the rest of a group. One that is in the middle of a long system call, or
/// whose parent lives outside of the group and does not reap it, must not hold up everything.
const GROUP_EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Workers whose process has ended, while others of their groups are still ending.
#[derive(Debug, Default)]
pub(super) struct ExitingGroups(Vec<ExitingGroup>);

#[derive(Clone, Copy, Debug)]
struct ExitingGroup {
    worker: WorkerId,
    group: i32,
    ended: Ended,
    until: Instant,
}

impl ExitingGroups {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|exiting| exiting.until).min()
    }

    /// Reaps every child that has ended.
    ///
    /// A worker's process group is killed before its leader is reaped: as long as it is a zombie,
    /// its pid cannot be given to anybody else. And as long as the group has a member, neither can.
    pub(super) fn reap(&mut self, workers: &BTreeMap<i32, WorkerId>) {
        loop {
            let (pid, ended) = match process::next_ended() {
                Ok(None) => return,
                Err(error) => return log::error!("cannot wait for children: {error}"),
                Ok(Some(found)) => found,
            };
            let worker = workers.get(&pid).copied();
            if worker.is_some()
                && let Err(error) = process::kill_group(pid)
            {
                log::warn!("cannot kill what is left of process group {pid}: {error}");
            }
            if let Err(error) = process::reap(pid) {
                return log::error!("cannot reap process {pid}: {error}");
            }
            self.0.extend(worker.map(|worker| ExitingGroup {
                worker,
                group: pid,
                ended,
                until: Instant::now() + GROUP_EXIT_TIMEOUT,
            }));
        }
    }

    /// The workers that have gone with all of their group, and how each ended.
    pub(super) fn report(&mut self) -> Vec<(WorkerId, Ended)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        let has_gone = |exiting: &mut ExitingGroup| {
            exiting.until <= now || process::is_group_empty(exiting.group)
        };
        let gone = self.0.extract_if(.., has_gone);
        gone.map(|exiting| (exiting.worker, exiting.ended))
            .collect()
    }
}

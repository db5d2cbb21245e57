//! The end of processes: reaping, and when a worker has really gone.
//!
//! ```text
//!   its process ends ─► its group is killed ─► it is reaped ─► its group is empty ─► it has gone
//! ```
//!
//! A killed process is not gone yet: what a worker forked may hold its listeners for some
//! milliseconds more. A listener that we close meanwhile leaves its group when they please, and the
//! kernel then moves another into its place under a program that expects nothing of the kind. So a
//! worker has gone only with the last of its group. All of them become our children as their
//! parents die, and each tells its end by SIGCHLD.

use std::time::{Duration, Instant};

use crate::fleet::WorkerId;
use crate::supervisor::Supervisor;
use crate::sys::process::{self, Ended};

/// How long to wait for the rest of a group. One that is in the middle of a long system call, or
/// whose parent lives outside of the group and does not reap it, must not hold up everything.
const PATIENCE: Duration = Duration::from_secs(1);

/// Workers whose process has ended, while others of their groups are still ending.
#[derive(Debug, Default)]
pub(crate) struct Grave(Vec<Remains>);

#[derive(Clone, Copy, Debug)]
struct Remains {
    worker: WorkerId,
    group: i32,
    ended: Ended,
    until: Instant,
}

impl Grave {
    /// When [`Supervisor::bury`] is due at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|remains| remains.until).min()
    }
}

impl Supervisor {
    /// Reaps every child that has ended, ours and orphans that became ours.
    ///
    /// A worker's process group is killed before its leader is reaped: as long as it is a zombie,
    /// its pid cannot be given to anybody else. And as long as the group has a member, neither can.
    pub(crate) fn reap(&mut self) {
        loop {
            match process::next_ended() {
                Ok(None) => return self.bury(),
                Err(error) => return log::error!("cannot wait for children: {error}"),
                Ok(Some((pid, ended))) => {
                    let worker = self.children.by_pid(pid);
                    if worker.is_some()
                        && let Err(error) = process::kill_group(pid)
                    {
                        log::warn!("cannot kill what is left of process group {pid}: {error}");
                    }
                    if let Err(error) = process::reap(pid) {
                        return log::error!("cannot reap process {pid}: {error}");
                    }
                    self.grave.0.extend(worker.map(|worker| Remains {
                        worker,
                        group: pid,
                        ended,
                        until: Instant::now() + PATIENCE,
                    }));
                }
            }
        }
    }

    /// Tells of the workers that have gone with all of their group.
    pub(crate) fn bury(&mut self) {
        let now = Instant::now();
        let has_gone =
            |remains: &mut Remains| remains.until <= now || process::is_group_empty(remains.group);
        let gone: Vec<Remains> = self.grave.0.extract_if(.., has_gone).collect();
        for remains in gone {
            self.worker_ended(remains.worker, remains.ended);
        }
    }
}

//! The end of processes: reaping, and when a worker has really gone.
//!
//! ```text
//!   its process ends ─► its group is killed ─────────────► it is reaped ─► its group is empty ─► it has gone
//!                  └──► it was told to stop, and children still answer: killed when none does, or it takes too long
//! ```
//!
//! A worker is the tree of its processes. One that forks for each connection may end as soon as it is told, while its
//! children answer: they have the time that the worker has.
//!
//! A killed process is not gone yet: what a worker forked may hold its listeners for some
//! milliseconds more. A listener that we close meanwhile leaves its group when they please, and the
//! kernel then moves another to its index under a program that expects nothing of the kind. So a
//! worker has gone only with the last of its group. All of them become our children as their
//! parents die, and each tells its end by SIGCHLD.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Life, WorkerProcess};
use crate::fleet::WorkerId;
use crate::sys::process::{self, Ended};
use crate::sys::procfs;

/// How long to wait for the rest of a group that was killed. One that is in the middle of a long system call, or
/// whose parent lives outside of the group and does not reap it, must not hold up everything.
const GROUP_EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// How often to look whether children of a worker that has ended still answer: a child that another process reaps tells
/// us nothing of its end.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Workers whose process has ended, while others of their groups are still ending.
#[derive(Debug, Default)]
pub(super) struct ExitingGroups(Vec<ExitingGroup>);

#[derive(Clone, Debug)]
struct ExitingGroup {
    worker: WorkerId,
    group: i32,
    end: End,
    stage: Stage,
}

/// How a worker's first process ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) ended: Ended,
    /// What others of its group had at that moment, where it had ended by itself with code 0.
    pub(crate) left: Left,
}

/// What the others of a group had when its leader ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Left {
    /// How many there were.
    pub(crate) others: usize,
    /// The inodes of their sockets.
    pub(crate) sockets: BTreeSet<u64>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// That those answer who still do.
    Finishing { next_look: Instant },
    /// That those end who were killed; not for longer than until then.
    Killed { until: Instant },
}

impl Stage {
    fn killed() -> Self {
        Self::Killed {
            until: Instant::now() + GROUP_EXIT_TIMEOUT,
        }
    }

    fn deadline(self) -> Instant {
        match self {
            Self::Finishing { next_look } => next_look,
            Self::Killed { until } => until,
        }
    }
}

impl ExitingGroups {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|exiting| exiting.stage.deadline()).min()
    }

    /// Reaps every child that has ended.
    ///
    /// A worker's process group is killed before its leader is reaped: as long as it is a zombie,
    /// its pid cannot be given to anybody else. And as long as the group has a member, neither can.
    pub(super) fn reap(
        &mut self,
        by_pid: &BTreeMap<i32, WorkerId>,
        processes: &BTreeMap<WorkerId, WorkerProcess>,
    ) {
        loop {
            let (pid, ended) = match process::next_ended() {
                Ok(None) => return,
                Err(error) => return log::error!("cannot wait for children: {error}"),
                Ok(Some(found)) => found,
            };
            let worker = by_pid.get(&pid).copied();
            let process = worker.and_then(|worker| processes.get(&worker));
            let exiting = worker.zip(process).map(|(worker, process)| ExitingGroup {
                worker,
                group: pid,
                end: End {
                    ended,
                    left: left(pid, ended, process.facts.life),
                },
                stage: stage(pid, process.facts.life),
            });
            if let Err(error) = process::reap(pid) {
                return log::error!("cannot reap process {pid}: {error}");
            }
            self.0.extend(exiting);
        }
    }

    /// The workers that have gone with all of their group, and how each ended.
    pub(super) fn report(&mut self) -> Vec<(WorkerId, End)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        let has_gone = |exiting: &mut ExitingGroup| {
            let is_over = matches!(exiting.stage, Stage::Killed { until } if until <= now);
            is_over || process::is_group_empty(exiting.group)
        };
        let gone = self.0.extract_if(.., has_gone);
        gone.map(|exiting| (exiting.worker, exiting.end)).collect()
    }

    /// The workers of which it is to be seen now whether children still answer.
    pub(super) fn due(&mut self, now: Instant) -> Vec<WorkerId> {
        let mut due = Vec::new();
        for exiting in &mut self.0 {
            if let Stage::Finishing { next_look } = &mut exiting.stage
                && *next_look <= now
            {
                *next_look = now + LOOK_INTERVAL;
                due.push(exiting.worker);
            }
        }
        due
    }

    /// A worker's group was killed.
    pub(super) fn killed(&mut self, worker: WorkerId) {
        for exiting in self.0.iter_mut().filter(|it| it.worker == worker) {
            if let Stage::Finishing { .. } = exiting.stage {
                exiting.stage = Stage::killed();
            }
        }
    }
}

/// What becomes of the rest of a worker's group: it is killed, unless the worker was told to stop.
fn stage(group: i32, life: Life) -> Stage {
    match life {
        Life::Told => Stage::Finishing {
            next_look: Instant::now(),
        },
        Life::Running | Life::Killed | Life::Ended => {
            if let Err(error) = process::kill_group(group) {
                log::warn!("cannot kill what is left of process group {group}: {error}");
            }
            Stage::killed()
        }
    }
}

/// What the others of a group have whose leader has ended by itself: before they are killed.
fn left(group: i32, ended: Ended, life: Life) -> Left {
    if ended != Ended::Code(0) || life != Life::Running {
        return Left::default();
    }
    let others = procfs::members_of_group(group).into_iter();
    let others = others.filter(|pid| *pid != group && !procfs::has_ended(*pid));
    let sockets = others.map(|pid| procfs::socket_inodes(pid).unwrap_or_default());
    let mut left = Left::default();
    for sockets in sockets {
        left.others += 1;
        left.sockets.extend(sockets);
    }
    left
}

//! One retiring worker and the connections that it still has.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::fate::Parting;
use super::quiet::Watch;
use crate::sys::procfs;
use crate::wire::rescue::{Descriptor, Tally};

/// The first and the longest pause between two interruptions of a worker.
const FIRST_PAUSE: Duration = Duration::from_millis(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A connection that the worker may still have.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) socket: OwnedFd,
    pub(super) at: Descriptor,
    pub(super) watch: Watch,
    pub(super) is_frozen: bool,
    /// What the worker had written when it was told to stop.
    pub(super) written: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Worker {
    /// Its first process; none of a worker of which only the queue is known.
    pub(super) pid: Option<i32>,
    /// All processes of its that were ever seen.
    processes: BTreeSet<i32>,
    pub(super) kept: BTreeMap<u64, Kept>,
    /// Its connections that are ours now, and listeners that are accepted from.
    pub(super) orphans: usize,
    /// Whether the supervisor has sent all that there are.
    pub(super) is_complete: bool,
    pub(super) is_quiet: bool,
    pub(super) told: Option<Instant>,
    pub(super) is_gone: bool,
    /// When it may be interrupted again, and how long to wait after that.
    next_kick: Option<Instant>,
    pause: Duration,
    pub(super) tally: Tally,
}

impl Worker {
    pub(super) fn new() -> Self {
        Self {
            pid: None,
            processes: BTreeSet::new(),
            kept: BTreeMap::new(),
            orphans: 0,
            is_complete: false,
            is_quiet: false,
            told: None,
            is_gone: false,
            next_kick: None,
            pause: FIRST_PAUSE,
            tally: Tally::default(),
        }
    }

    /// Whether nothing of it is left.
    pub(super) fn is_done(&self) -> bool {
        self.is_gone && self.kept.is_empty() && self.orphans == 0
    }

    pub(super) fn give_up(&mut self, reason: &str) {
        self.tally.given_up += 1;
        *self.tally.reasons.entry(reason.to_owned()).or_default() += 1;
    }

    /// What it had been through when it let go of a connection.
    pub(super) fn parting(&self, kept: &Kept) -> Parting {
        if self.told.is_some() || self.is_gone {
            let written = kept.written.unwrap_or(kept.watch.last().written);
            Parting::Stopping { written }
        } else {
            Parting::OwnWish
        }
    }

    pub(super) fn tell(&mut self, now: Instant) {
        self.told.get_or_insert(now);
        for kept in self.kept.values_mut() {
            // From the last look, which was before: what was written since may be the last answer.
            kept.written.get_or_insert(kept.watch.last().written);
        }
    }

    pub(super) fn include(&mut self, pid: i32) {
        self.processes.insert(pid);
    }

    /// Where each of its sockets is, over all its processes, in a full look.
    pub(super) fn sockets(&mut self) -> BTreeMap<u64, Descriptor> {
        if let Some(pid) = self.pid.filter(|_| !self.is_gone) {
            self.processes.extend(procfs::descendants(pid));
            self.processes.extend(procfs::members_of_group(pid));
        }
        let mut found = BTreeMap::new();
        for pid in &self.processes {
            for (number, inode) in procfs::socket_descriptors(*pid).unwrap_or_default() {
                found.insert(
                    inode,
                    Descriptor {
                        pid: *pid,
                        number,
                        inode,
                    },
                );
            }
        }
        found
    }

    /// Whether a thread sleeps in a read of one of these connections. To find out is not for
    /// nothing, so it is tried again only after a pause that grows.
    pub(super) fn is_stuck(&mut self, now: Instant, suspects: &[Descriptor]) -> bool {
        if suspects.is_empty() || self.next_kick.is_some_and(|at| now < at) {
            return false;
        }
        self.next_kick = Some(now + self.pause);
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        let processes: BTreeSet<i32> = suspects.iter().map(|at| at.pid).collect();
        processes.into_iter().any(|pid| {
            let read = procfs::descriptors_being_read(pid);
            suspects
                .iter()
                .any(|at| at.pid == pid && read.contains(&at.number))
        })
    }

    /// Something new may be stuck: it need not wait.
    pub(super) fn forget_pause(&mut self) {
        self.next_kick = None;
        self.pause = FIRST_PAUSE;
    }
}

//! Workers that are to be recycled, in the order in which that was asked for.

use core::time::Duration;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::slots::delay;
use super::vocabulary::{RecycleReason, Time, WorkerId};

/// Workers that wait to be recycled, and how many were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recyclings {
    waiting: VecDeque<Recycling>,
    tally: RecyclingTally,
}

/// A worker that is to be recycled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recycling {
    pub(super) worker: WorkerId,
    pub(super) why: RecycleReason,
    /// How often it was tried in vain.
    pub(super) failures: u32,
    /// Not before.
    at: Time,
}

/// What `status` tells of recyclings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecyclingTally {
    /// How many workers were recycled.
    pub done: u64,
    /// How often that failed, and the worker served on.
    pub failed: u64,
    /// The last that was begun: which worker, and why.
    pub last: Option<(WorkerId, RecycleReason)>,
}

impl Recyclings {
    /// A worker is to be recycled.
    pub(super) fn ask(&mut self, now: Time, worker: WorkerId, why: RecycleReason) {
        self.waiting.push_back(Recycling {
            worker,
            why,
            failures: 0,
            at: now,
        });
    }

    /// Why a worker is to be recycled, if it is.
    pub(super) fn why(&self, worker: WorkerId) -> Option<RecycleReason> {
        let mut all = self.waiting.iter();
        all.find(|it| it.worker == worker).map(|it| it.why)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets those whose workers need not be recycled any more.
    pub(super) fn retain(&mut self, is_needed: impl Fn(WorkerId) -> bool) {
        self.waiting.retain(|it| is_needed(it.worker));
    }

    /// A worker need not be recycled any more for this reason. One that has begun goes on.
    pub(super) fn cancel(&mut self, worker: WorkerId, why: RecycleReason) {
        self.waiting
            .retain(|it| it.worker != worker || it.why != why);
    }

    /// The first whose time has come.
    pub(super) fn take_due(&mut self, now: Time) -> Option<Recycling> {
        let due = self.waiting.iter().position(|it| it.at <= now)?;
        self.waiting.remove(due)
    }

    /// When the next may begin.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.waiting.iter().map(|it| it.at).min()
    }

    /// One begins.
    pub(super) fn began(&mut self, recycling: &Recycling) {
        self.tally.last = Some((recycling.worker, recycling.why));
    }

    /// Another worker serves in its place.
    pub(super) fn done(&mut self) {
        self.tally.done += 1;
    }

    /// That was taken back.
    pub(super) fn undone(&mut self) {
        self.tally.done -= 1;
    }

    /// One has failed, and is tried again after a while, at its place in the order: how long that is.
    pub(super) fn failed(&mut self, now: Time, recycling: Recycling) -> (Recycling, Duration) {
        self.tally.failed += 1;
        let failures = recycling.failures.saturating_add(1);
        // As after a second crash: at once has just failed.
        let pause = delay(failures.saturating_add(1) as usize);
        let again = Recycling {
            failures,
            at: now.plus(pause),
            ..recycling
        };
        self.waiting.push_front(again);
        (again, pause)
    }

    /// One has failed, and is not needed any more.
    pub(super) fn given_up(&mut self) {
        self.tally.failed += 1;
    }

    pub(super) fn tally(&self) -> RecyclingTally {
        self.tally
    }
}

//! What became of a request, and why. Part of the [vocabulary](super::vocabulary).

use core::time::Duration;

use super::check_failure::CheckFailure;
use super::vocabulary::{ChangeKind, Endpoint, Exit, Generation, Milestone, Slot, WorkerId};

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeResult {
    /// It is done.
    Done {
        /// What it was.
        kind: ChangeKind,
        /// The generation that serves.
        generation: Generation,
        /// How many workers there are to be.
        wanted: u32,
        /// How many of them serve now.
        serving: u32,
    },
    /// It failed; everything is as it was, or will be.
    Failed {
        /// What it was.
        kind: ChangeKind,
        /// Why.
        failure: Failure,
        /// How many workers it had replaced, that are replaced again as they were before ([`ChangeKind::Rollback`]).
        undone: usize,
    },
    /// The new workers of a reload stay: the rest follows, or those of before do not stand by any more.
    Promoted {
        /// The generation that serves.
        generation: Generation,
    },
    /// The trial of the new workers goes on until something else is asked for.
    Paused {
        /// Their generation.
        generation: Generation,
    },
    /// It was not begun.
    Denied(Denial),
    /// The supervisor has stopped.
    Stopped,
}

/// Why a change failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A worker exited before it was ready.
    Exited {
        /// The worker.
        worker: WorkerId,
        /// Its slot.
        slot: Slot,
        /// How.
        exit: Exit,
    },
    /// A new worker ended after it had taken over; the old ones had not been told to stop, and serve again.
    Died {
        /// The worker.
        worker: WorkerId,
        /// Its slot.
        slot: Slot,
        /// How it ended.
        exit: Exit,
    },
    /// A new worker that had to prove itself became unhealthy; the old ones serve, or do again.
    Unhealthy {
        /// The worker.
        worker: WorkerId,
        /// Its slot.
        slot: Slot,
        /// Its last check.
        failure: CheckFailure,
    },
    /// No new worker serves, and the old ones have been told to stop.
    NobodyServes,
    /// A worker was not ready in time.
    NotReady {
        /// The worker.
        worker: WorkerId,
        /// Its slot.
        slot: Slot,
        /// The endpoints that it should listen on and does not.
        missing: Vec<Endpoint>,
        /// The endpoints that it listened on, and does not any more.
        closed: Vec<Endpoint>,
        /// The endpoints that it listens on.
        listening: Vec<Endpoint>,
        /// The time that it had.
        after: Duration,
    },
    /// A worker had too much memory as soon as it was ready (`--max-rss`).
    TooLarge {
        /// The worker.
        worker: WorkerId,
        /// Its slot.
        slot: Slot,
        /// How much, in bytes.
        rss: u64,
        /// How much it may.
        limit: u64,
    },
    /// It was taken back, as asked; what served before serves again.
    RolledBack,
    /// What was to be started makes no sense: a sentence.
    Unusable(String),
    /// What was to be started could not be read in time.
    NotRead {
        /// The time that it had.
        after: Duration,
    },
    /// The supervisor was told to stop meanwhile.
    Stopped,
}

impl Failure {
    pub(super) fn died(worker: WorkerId, slot: Slot, exit: Exit) -> Self {
        Self::Died { worker, slot, exit }
    }
}

/// Why a request was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Another change is under way.
    Busy {
        /// What it is.
        kind: ChangeKind,
        /// How far it has come.
        milestone: Milestone,
    },
    /// No workers stand by that could be let go.
    NothingToPromote,
    /// No workers are on trial.
    NothingToPause,
    /// New connections cannot be shared out: nothing is steered.
    NotSteered,
    /// Nothing has served before what serves now.
    NothingToRollBack,
    /// The supervisor is stopping.
    Stopping,
    /// There is no such worker, or it is not one that can be replaced.
    NoSuchWorker(WorkerId),
    /// None of so few workers serves: those that do would be retired.
    NobodyLeft {
        /// How many were asked for.
        count: u32,
    },
    /// So many workers would have to start together (they share a queue, or are tried), and the bounds are closer than
    /// that.
    NoRoom {
        /// How many.
        together: usize,
    },
    /// That many workers cannot be.
    BadCount {
        /// What was asked for.
        asked: i64,
        /// The most there can be.
        most: u32,
    },
}

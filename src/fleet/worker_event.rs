//! What happens to one worker that belongs into the log. Part of the [vocabulary](super::vocabulary).

use core::time::Duration;

use super::check_failure::CheckFailure;
use super::vocabulary::{Endpoint, Exit, RecycleReason, Slot, WorkerId};

/// Something about one worker that belongs into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerEvent {
    /// It is ready and waits for its siblings.
    Ready {
        /// The worker.
        worker: WorkerId,
    },
    /// It takes over, and does not listen where the worker before it did. That is not owed: it was opened when that
    /// worker was ready already, or other addresses are accepted.
    ListensOnLess {
        /// The worker.
        worker: WorkerId,
        /// Where.
        endpoints: Vec<Endpoint>,
    },
    /// It was ready, and has let go of listeners since: it is not ready any more.
    Unready {
        /// The worker.
        worker: WorkerId,
        /// Where they listened.
        endpoints: Vec<Endpoint>,
    },
    /// It gets new connections.
    Serving {
        /// The worker.
        worker: WorkerId,
        /// Where.
        endpoints: Vec<Endpoint>,
    },
    /// None of its processes has this listener any more.
    LetGo {
        /// The worker.
        worker: WorkerId,
        /// Where the listener listened.
        endpoint: Endpoint,
    },
    /// Its health has changed, or what follows from it.
    Health {
        /// The worker.
        worker: WorkerId,
        /// What is new.
        news: HealthNews,
    },
    /// It died while it served.
    Crashed {
        /// The worker.
        worker: WorkerId,
        /// Its slot.
        slot: Slot,
        /// How it ended.
        exit: Exit,
        /// When its replacement starts.
        restart_in: Duration,
    },
    /// It died too often; its slot is given up.
    GivenUp {
        /// The worker.
        worker: WorkerId,
        /// Its slot.
        slot: Slot,
        /// How it ended.
        exit: Exit,
        /// How often it died within the restart window.
        crashes: usize,
    },
    /// A replacement was not ready in time and is killed.
    StartTimedOut {
        /// The worker.
        worker: WorkerId,
    },
    /// Its listeners still had connections when the settle time-out passed.
    SettleTimedOut {
        /// The worker.
        worker: WorkerId,
        /// How many.
        pending: u64,
    },
    /// It still had connections when the quiet time-out passed; it is told to stop all the same.
    QuietTimedOut {
        /// The worker.
        worker: WorkerId,
    },
    /// Its rescuer had not made it ready for the stop signal in time; it is told to stop all the same.
    StopNotPrepared {
        /// The worker.
        worker: WorkerId,
    },
    /// It had not exited when the drain time-out passed, and is killed.
    DrainTimedOut {
        /// The worker.
        worker: WorkerId,
    },
    /// It is replaced when its turn has come.
    ToBeRecycled {
        /// The worker.
        worker: WorkerId,
        /// Why.
        why: RecycleReason,
    },
    /// Its replacement has failed, or there is no room for one; it serves on.
    RecyclingFailed {
        /// The worker.
        worker: WorkerId,
        /// Why it was to be recycled.
        why: RecycleReason,
        /// How often that has failed.
        failures: u32,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// A worker that was leaving has ended.
    Gone {
        /// The worker.
        worker: WorkerId,
        /// How it ended.
        exit: Exit,
        /// Whether the stop signal came first.
        ending: Ending,
    },
}

/// What is new of a worker's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthNews {
    /// It has failed enough checks in a row: the last one so.
    Unhealthy(CheckFailure),
    /// It gets no new connections while others can have them: it is unhealthy.
    TurnedAwayFrom,
    /// It was the last one that was not unhealthy: all serve on as if nothing were the matter.
    LastUnhealthy,
    /// It was unhealthy, and has passed a check: it gets new connections again.
    Recovered,
}

/// Whether a worker that was leaving ended before or after its stop signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The worker was told to stop, or killed, and ended.
    AfterStop,
    /// The worker ended by itself, before it was told to stop.
    BeforeStop,
}

impl WorkerEvent {
    /// The worker that the event is about.
    pub fn worker(&self) -> WorkerId {
        match self {
            Self::Ready { worker }
            | Self::ListensOnLess { worker, .. }
            | Self::Unready { worker, .. }
            | Self::Serving { worker, .. }
            | Self::LetGo { worker, .. }
            | Self::Health { worker, .. }
            | Self::Crashed { worker, .. }
            | Self::GivenUp { worker, .. }
            | Self::StartTimedOut { worker }
            | Self::SettleTimedOut { worker, .. }
            | Self::QuietTimedOut { worker }
            | Self::StopNotPrepared { worker }
            | Self::DrainTimedOut { worker }
            | Self::ToBeRecycled { worker, .. }
            | Self::RecyclingFailed { worker, .. }
            | Self::Gone { worker, .. } => *worker,
        }
    }
}

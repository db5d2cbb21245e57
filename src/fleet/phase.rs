//! Where a worker is in its life.
//!
//! ```text
//!  Starting ─► Ready ─► Serving ─► Settling ─► Quiescing ─► PreparingStop ─► Draining ─► Killed ─► (gone)
//!     │                  ▲  │  ▲       ▲ │           │└── no rescuer ──────────► ▲          ▲
//!     │                  │  ▼  │       │ │           │                           │          │
//!     │          StandingBy ───┼───────┘ │           │                           │          │
//!     │                        └─────────┴───────────┘ the flip is taken back    │          │
//!     ├──────────────────────────────── told to stop early ─────────────────────┘          │
//!     └──────────────────────────────── not ready in time ─────────────────────────────────┘
//! ```
//! A worker may end in any phase; what that means is for [`rules::exit`](super::rules) to say.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::vocabulary::{Milestone, Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Its process runs; it is not ready.
    Starting { deadline: Time, next_probe: Time },
    /// It waits for the others of its batch.
    Ready,
    /// It gets new connections.
    Serving,
    /// Others serve in its place, and have to prove themselves first: it gets no new connections, and accepts what its
    /// listeners have.
    StandingBy,
    /// It gets no new connections; its listeners finish the handshakes that they have.
    Settling {
        since: Time,
        fence: Fence,
        next_look: Time,
        pending: u64,
    },
    /// Its listeners have settled; its connections come to an end.
    Quiescing {
        since: Time,
        settled: Settled,
        by: QuiescedBy,
    },
    /// Its rescuer gets it ready for the stop signal.
    PreparingStop {
        reason: StopReason,
        settled: Settled,
        deadline: Time,
    },
    /// It was told to stop. `signal`: when a message has told it, and the stop signal comes then.
    Draining {
        reason: StopReason,
        signal: Option<Time>,
        deadline: Time,
    },
    /// It was killed; nothing is left but to hear that it is gone.
    Killed { reason: StopReason },
}

/// Why a worker was told to stop, or killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StopReason {
    /// Others serve in its place.
    Retired,
    /// The change that started it has failed.
    RolledBack,
    /// It replaced a crashed worker, and was not ready in time: another must take its place.
    StartTimedOut,
    /// Everything ends.
    Shutdown,
}

/// Whether a SYN may still be under way to a listener that was steered away from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fence {
    /// The kernel was asked.
    Asked,
    /// The kernel did not say; by then, none.
    Until(Time),
    /// None.
    Passed,
}

/// How a worker's listeners came to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Settled {
    /// Nothing waits in them.
    Empty,
    /// The settle time-out passed while something waited: nobody counts on this worker any more.
    TimedOut,
}

/// What tells that a worker's connections have come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum QuiescedBy {
    /// Looks at them: none is left.
    Looks { next_look: Time },
    /// The rescuer that has adopted them: none has a request in flight. Or the time, by then.
    Rescuer { until: Time },
}

impl Phase {
    /// Whether a worker accepts from its listeners, or will: one that was told to stop does not, and one
    /// that did not in its time is not counted on.
    pub(super) fn empties_listeners(self) -> bool {
        match self {
            Self::Starting { .. }
            | Self::Ready
            | Self::Serving
            | Self::StandingBy
            | Self::Settling { .. }
            | Self::Quiescing {
                settled: Settled::Empty,
                ..
            }
            | Self::PreparingStop {
                settled: Settled::Empty,
                ..
            }
            | Self::Killed {
                reason: StopReason::StartTimedOut,
            } => true,
            Self::Quiescing {
                settled: Settled::TimedOut,
                ..
            }
            | Self::PreparingStop {
                settled: Settled::TimedOut,
                ..
            }
            | Self::Draining { .. }
            | Self::Killed { .. } => false,
        }
    }

    /// When something is due; none while nothing is timed. `is_probed`: only a probe can tell whether the
    /// worker is ready.
    pub(super) fn deadline(self, is_probed: bool) -> Option<Time> {
        let at = match self {
            Self::Starting {
                deadline,
                next_probe,
            } if is_probed => next_probe.min(deadline),
            Self::Starting { deadline, .. } => deadline,
            Self::Settling {
                fence, next_look, ..
            } => match fence {
                Fence::Asked => return None,
                Fence::Until(until) => until,
                Fence::Passed => next_look,
            },
            Self::Quiescing { by, .. } => match by {
                QuiescedBy::Looks { next_look } => next_look,
                QuiescedBy::Rescuer { until } => until,
            },
            Self::PreparingStop { deadline, .. } => deadline,
            Self::Draining {
                signal, deadline, ..
            } => signal.map_or(deadline, |at| at.min(deadline)),
            Self::Ready | Self::Serving | Self::StandingBy | Self::Killed { .. } => return None,
        };
        Some(at).filter(|at| *at != Time::NEVER)
    }

    /// Where it is on the way out; none while it is not.
    pub(super) fn milestone(self) -> Option<Milestone> {
        match self {
            Self::Starting { .. } | Self::Ready | Self::Serving | Self::StandingBy => None,
            Self::Settling { .. } => Some(Milestone::Settling),
            Self::Quiescing { .. } | Self::PreparingStop { .. } => Some(Milestone::Quiescing),
            Self::Draining { .. } | Self::Killed { .. } => Some(Milestone::Draining),
        }
    }

    /// The phase's name in `status`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Starting { .. }
            | Self::Killed {
                reason: StopReason::StartTimedOut,
            } => "starting",
            Self::Ready => "ready",
            Self::Serving => "serving",
            Self::StandingBy => "standing-by",
            Self::Settling { .. } => "settling",
            Self::Quiescing { .. } | Self::PreparingStop { .. } => "quiescing",
            Self::Draining { .. } | Self::Killed { .. } => "draining",
        }
    }
}

/// How long to wait before looking again at what has taken `so_far`: often at first, when most
/// things happen, and never so rarely that an operator would notice.
pub(super) fn interval(so_far: Duration) -> Duration {
    (so_far / 4).clamp(Duration::from_millis(1), Duration::from_millis(50))
}

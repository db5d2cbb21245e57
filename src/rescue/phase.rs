//! How far a worker's retirement is.
//!
//! | phase | `AllSent` | nothing is in flight | `PrepareStop` | `WorkerExited` |
//! | --- | --- | --- | --- | --- |
//! | `Handover` | `AwaitingIdle` | - | `Stopping` | `Exited` |
//! | `AwaitingIdle` | - | `Idle`, once it is reported | `Stopping` | `Exited` |
//! | `Idle` | `AwaitingIdle` | - | `Stopping` | `Exited` |
//! | `Stopping` | - | - | - | `Exited` |
//! | `Exited` | - | - | - | - |
//!
//! `PrepareStop` may come in any phase: the supervisor does not wait for ever. The supervisor may
//! prepare a stop several times, and the first time counts, because what the worker does with its
//! connections from then on may be its way to stop.

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The supervisor is sending the worker's connections.
    Handover,
    /// The supervisor waits for the report that the worker is idle.
    AwaitingIdle {
        /// Since when nothing is in flight.
        idle_since: Option<Instant>,
    },
    /// The worker was reported to be idle.
    Idle,
    /// The worker gets its stop signal.
    Stopping { since: Instant },
    Exited {
        /// When the supervisor prepared to stop the worker; none: the worker has died by itself.
        stopping_since: Option<Instant>,
    },
}

impl Phase {
    pub(super) fn all_sent(&mut self) {
        match self {
            Self::Handover | Self::Idle => *self = Self::AwaitingIdle { idle_since: None },
            Self::AwaitingIdle { .. } | Self::Stopping { .. } | Self::Exited { .. } => {}
        }
    }

    pub(super) fn idle_reported(&mut self) {
        match self {
            Self::AwaitingIdle { .. } => *self = Self::Idle,
            Self::Handover | Self::Idle | Self::Stopping { .. } | Self::Exited { .. } => {}
        }
    }

    pub(super) fn prepare_stop(&mut self, now: Instant) {
        match self {
            Self::Handover | Self::AwaitingIdle { .. } | Self::Idle => {
                *self = Self::Stopping { since: now }
            }
            Self::Stopping { .. } | Self::Exited { .. } => {}
        }
    }

    pub(super) fn exited(&mut self) {
        *self = Self::Exited {
            stopping_since: self.stopping_since(),
        };
    }

    /// When the supervisor first prepared to stop the worker.
    pub(super) fn stopping_since(&self) -> Option<Instant> {
        match *self {
            Self::Handover | Self::AwaitingIdle { .. } | Self::Idle => None,
            Self::Stopping { since } => Some(since),
            Self::Exited { stopping_since } => stopping_since,
        }
    }

    pub(super) fn is_awaiting_idle(&self) -> bool {
        matches!(self, Self::AwaitingIdle { .. })
    }

    pub(super) fn is_exited(&self) -> bool {
        matches!(self, Self::Exited { .. })
    }

    /// Notes whether anything is in flight; for how long nothing has been, if that is awaited.
    pub(super) fn note_idle(&mut self, now: Instant, is_idle: bool) -> Option<Duration> {
        let Self::AwaitingIdle { idle_since } = self else {
            return None;
        };
        if !is_idle {
            *idle_since = None;
            return None;
        }
        let since = *idle_since.get_or_insert(now);
        Some(now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idleness_counts_while_it_is_awaited_and_begins_anew_after_each_request() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut phase = Phase::Handover;
        assert_eq!(phase.note_idle(start, true), None);
        phase.all_sent();
        assert_eq!(phase.note_idle(start, true), Some(Duration::ZERO));
        assert_eq!(phase.note_idle(after(5), true), Some(after(5) - start));
        assert_eq!(phase.note_idle(after(6), false), None);
        assert_eq!(phase.note_idle(after(7), true), Some(Duration::ZERO));
        phase.idle_reported();
        assert_eq!(phase.note_idle(after(9), true), None);
        phase.all_sent();
        assert_eq!(phase.note_idle(after(9), true), Some(Duration::ZERO));
    }

    #[test]
    fn the_first_preparation_counts_and_is_remembered_after_the_exit() {
        let start = Instant::now();
        let mut phase = Phase::Idle;
        phase.prepare_stop(start);
        phase.prepare_stop(start + Duration::from_secs(1));
        phase.exited();
        phase.all_sent();
        phase.prepare_stop(start + Duration::from_secs(2));
        assert_eq!(phase.stopping_since(), Some(start));
        assert!(phase.is_exited());
        let mut died = Phase::Handover;
        died.exited();
        assert_eq!(died.stopping_since(), None);
    }
}

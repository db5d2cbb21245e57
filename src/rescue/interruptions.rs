//! When the blocked readers of a worker are looked for and interrupted.
//!
//! Looking for them costs a walk through the threads of the worker, and an interruption costs the
//! worker a moment: so a pause follows each look, and grows while looks are of no use.
//!
//! | state | a look finds no thread | a look finds threads | the supervisor has interrupted them |
//! | --- | --- | --- | --- |
//! | `Ready` | `Paused` | `Requested` | `Paused` |
//! | `Paused` | `Paused` | `Requested` | `Paused` |
//! | `Requested` | `Requested` | `Requested` | `Paused` |

use std::time::{Duration, Instant};

/// The shortest and the longest pause between two looks.
const MIN_INTERRUPT_INTERVAL: Duration = Duration::from_millis(15);
const MAX_INTERRUPT_INTERVAL: Duration = Duration::from_secs(1);
/// How long the supervisor may take to interrupt.
const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Interruptions {
    state: State,
    interval: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    Paused {
        until: Instant,
    },
    /// The supervisor was asked to interrupt. Until it has, nobody knows what the readers do next.
    Requested {
        retry_at: Instant,
    },
}

impl Interruptions {
    pub(super) fn new() -> Self {
        Self {
            state: State::Ready,
            interval: MIN_INTERRUPT_INTERVAL,
        }
    }

    /// Whether it is time to look for blocked readers.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        match self.state {
            State::Ready => true,
            State::Paused { until: at } | State::Requested { retry_at: at } => now >= at,
        }
    }

    /// A look begins, at a worker of which the busiest connection was idle for so long.
    pub(super) fn begin(&mut self, now: Instant, idle_for: Duration) {
        self.interval = if idle_for < 2 * self.interval {
            MIN_INTERRUPT_INTERVAL
        } else {
            (2 * self.interval).min(MAX_INTERRUPT_INTERVAL)
        };
        let at = now + self.interval;
        self.state = match self.state {
            State::Ready | State::Paused { .. } => State::Paused { until: at },
            State::Requested { .. } => State::Requested { retry_at: at },
        };
    }

    /// The look has found threads, and the supervisor is asked to interrupt them.
    pub(super) fn request(&mut self, now: Instant) {
        let retry_at = now + INTERRUPT_TIMEOUT;
        self.state = State::Requested { retry_at };
    }

    /// The threads have been interrupted: the bytes that they had are out.
    pub(super) fn finish(&mut self, now: Instant) {
        let until = now + self.interval;
        self.state = State::Paused { until };
    }

    pub(super) fn is_requested(&self) -> bool {
        matches!(self.state, State::Requested { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn pauses_grow_while_nothing_moves() {
        let mut now = Instant::now();
        let mut interruptions = Interruptions::new();
        let mut interval = MIN_INTERRUPT_INTERVAL;
        for _ in 0..9 {
            assert!(interruptions.is_due(now));
            interruptions.begin(now, LONG);
            interval = (2 * interval).min(MAX_INTERRUPT_INTERVAL);
            assert!(!interruptions.is_due(now + interval - Duration::from_millis(1)));
            now += interval;
        }
        interruptions.begin(now, Duration::ZERO);
        assert!(interruptions.is_due(now + MIN_INTERRUPT_INTERVAL));
    }

    #[test]
    fn a_request_stays_one_until_the_supervisor_answers() {
        let now = Instant::now();
        let mut interruptions = Interruptions::new();
        interruptions.begin(now, LONG);
        interruptions.request(now);
        assert!(interruptions.is_requested() && !interruptions.is_due(now));
        let later = now + INTERRUPT_TIMEOUT;
        assert!(interruptions.is_due(later));
        interruptions.begin(later, LONG);
        assert!(interruptions.is_requested(), "nobody has answered");
        interruptions.finish(later);
        assert!(!interruptions.is_requested() && !interruptions.is_due(later));
    }
}

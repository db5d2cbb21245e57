//! How long the rescuer stays.
//!
//! What the rescuer has, and what follows:
//!
//! | state | nothing | workers only | connections or listeners |
//! | --- | --- | --- | --- |
//! | `New` | stays: the first order is on its way | `Busy` | `Busy` |
//! | `Busy` | `Empty` | stays | stays |
//! | `Empty` | asks after [`EMPTY_BEFORE_ASKING`], and again | `Busy` | `Busy` |
//! | `Ending` | over | over | over at the deadline |
//!
//! One that has nothing left does not end by itself: the supervisor may count on it for the next worker already, whose
//! connections would be lost. It asks, and the supervisor lets it go by closing its channel.

use std::time::{Duration, Instant};

/// How long nothing is left before it is asked whether that is all: the next retiring worker may be near.
const EMPTY_BEFORE_ASKING: Duration = Duration::from_secs(1);

/// What the rescuer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    Nothing,
    WorkersOnly,
    /// Adopted connections, or listeners that are being drained.
    Connections,
}

impl Load {
    pub(super) fn of(has_connections: bool, has_workers: bool) -> Self {
        match (has_connections, has_workers) {
            (true, _) => Self::Connections,
            (false, true) => Self::WorkersOnly,
            (false, false) => Self::Nothing,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    New,
    Busy,
    Empty { since: Instant },
    Ending { deadline: Instant },
}

impl Lifetime {
    /// To be called before each wait; whether the rescuer is to end now.
    pub(super) fn is_over(&mut self, now: Instant, load: Load) -> bool {
        match (*self, load) {
            (Self::Ending { .. }, Load::Nothing | Load::WorkersOnly) => return true,
            (Self::Ending { deadline }, Load::Connections) => return now >= deadline,
            (Self::New | Self::Empty { .. }, Load::Nothing) => {}
            (Self::Busy, Load::Nothing) => *self = Self::Empty { since: now },
            (
                Self::New | Self::Busy | Self::Empty { .. },
                Load::WorkersOnly | Load::Connections,
            ) => *self = Self::Busy,
        }
        false
    }

    /// Whether it is time to ask whether there is more to come.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        match *self {
            Self::Empty { since } if now >= since + EMPTY_BEFORE_ASKING => {
                *self = Self::Empty { since: now };
                true
            }
            Self::New | Self::Busy | Self::Empty { .. } | Self::Ending { .. } => false,
        }
    }

    /// Begins to end. The earlier of two deadlines counts.
    pub(super) fn end_by(&mut self, deadline: Instant) {
        let deadline = match *self {
            Self::Ending { deadline: former } => former.min(deadline),
            Self::New | Self::Busy | Self::Empty { .. } => deadline,
        };
        *self = Self::Ending { deadline };
    }

    /// When to look again.
    pub(super) fn next_check(&self) -> Option<Instant> {
        match *self {
            Self::New | Self::Busy => None,
            Self::Empty { since } => Some(since + EMPTY_BEFORE_ASKING),
            Self::Ending { deadline } => Some(deadline),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rescuer_that_has_been_empty_for_a_while_asks_and_stays() {
        let start = Instant::now();
        let mut lifetime = Lifetime::New;
        assert!(!lifetime.is_over(start + 9 * EMPTY_BEFORE_ASKING, Load::Nothing));
        assert!(!lifetime.asks(start + 9 * EMPTY_BEFORE_ASKING));
        assert_eq!(lifetime.next_check(), None);
        assert!(!lifetime.is_over(start, Load::WorkersOnly));
        assert!(!lifetime.is_over(start, Load::Nothing));
        let later = start + EMPTY_BEFORE_ASKING;
        assert_eq!(lifetime.next_check(), Some(later));
        assert!(!lifetime.asks(start));
        assert!(lifetime.asks(later));
        assert!(!lifetime.asks(later), "it has just asked");
        assert!(!lifetime.is_over(later, Load::Nothing));
        assert!(lifetime.asks(later + EMPTY_BEFORE_ASKING));
        assert!(!lifetime.is_over(later, Load::Connections));
        assert!(
            !lifetime.asks(later + 9 * EMPTY_BEFORE_ASKING),
            "it is busy"
        );
    }

    #[test]
    fn one_that_is_let_go_ends() {
        let start = Instant::now();
        let mut lifetime = Lifetime::Empty { since: start };
        lifetime.end_by(start + Duration::from_secs(5));
        assert!(lifetime.is_over(start, Load::Nothing));
    }

    #[test]
    fn a_rescuer_that_is_to_end_waits_for_connections_only() {
        let start = Instant::now();
        let mut lifetime = Lifetime::Busy;
        lifetime.end_by(start + Duration::from_secs(5));
        lifetime.end_by(start + Duration::from_secs(9));
        assert!(!lifetime.is_over(start, Load::Connections));
        assert!(lifetime.is_over(start, Load::WorkersOnly));
        assert!(lifetime.is_over(start + Duration::from_secs(5), Load::Connections));
    }
}

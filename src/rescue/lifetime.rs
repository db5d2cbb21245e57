//! How long the rescuer stays.
//!
//! What the rescuer has, and what follows:
//!
//! | state | nothing | workers only | connections or listeners |
//! | --- | --- | --- | --- |
//! | `New` | stays: the first order is on its way | `Busy` | `Busy` |
//! | `Busy` | `Empty` | stays | stays |
//! | `Empty` | over after [`EMPTY_BEFORE_EXIT`] | `Busy` | `Busy` |
//! | `Ending` | over | over | over at the deadline |

use std::time::{Duration, Instant};

/// How long to stay when nothing is left: the next retiring worker may be near.
const EMPTY_BEFORE_EXIT: Duration = Duration::from_secs(1);

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
            (Self::Empty { since }, Load::Nothing) => return now >= since + EMPTY_BEFORE_EXIT,
            (Self::New, Load::Nothing) => {}
            (Self::Busy, Load::Nothing) => *self = Self::Empty { since: now },
            (
                Self::New | Self::Busy | Self::Empty { .. },
                Load::WorkersOnly | Load::Connections,
            ) => *self = Self::Busy,
        }
        false
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
            Self::Empty { since } => Some(since + EMPTY_BEFORE_EXIT),
            Self::Ending { deadline } => Some(deadline),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rescuer_leaves_when_it_has_been_empty_for_a_while() {
        let start = Instant::now();
        let mut lifetime = Lifetime::New;
        assert!(!lifetime.is_over(start + 9 * EMPTY_BEFORE_EXIT, Load::Nothing));
        assert_eq!(lifetime.next_check(), None);
        assert!(!lifetime.is_over(start, Load::WorkersOnly));
        assert!(!lifetime.is_over(start, Load::Nothing));
        assert_eq!(lifetime.next_check(), Some(start + EMPTY_BEFORE_EXIT));
        assert!(!lifetime.is_over(start, Load::Connections));
        let later = start + EMPTY_BEFORE_EXIT;
        assert!(!lifetime.is_over(later, Load::Nothing), "it was busy since");
        assert!(lifetime.is_over(later + EMPTY_BEFORE_EXIT, Load::Nothing));
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

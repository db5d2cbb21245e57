//! One deadline for each connection, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Instant, u64)>,
    deadlines: BTreeMap<u64, Instant>,
}

impl Timers {
    /// Sets the deadline of `id`, or takes it away.
    pub(super) fn set(&mut self, id: u64, deadline: Option<Instant>) {
        let former = match deadline {
            Some(at) => self.deadlines.insert(id, at),
            None => self.deadlines.remove(&id),
        };
        if former == deadline {
            return;
        }
        if let Some(at) = former {
            self.order.remove(&(at, id));
        }
        if let Some(at) = deadline {
            self.order.insert((at, id));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes one whose deadline has passed.
    pub(super) fn pop(&mut self, now: Instant) -> Option<u64> {
        let (_, id) = *self.order.first().filter(|(at, _)| *at <= now)?;
        self.set(id, None);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_earliest_comes_first_and_only_the_last_word_counts() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set(1, Some(after(10)));
        timers.set(2, Some(after(5)));
        timers.set(3, Some(after(1)));
        timers.set(1, Some(after(2)));
        timers.set(3, None);
        assert_eq!(timers.next(), Some(after(2)));
        assert_eq!(timers.pop(after(1)), None);
        assert_eq!(timers.pop(after(9)), Some(1));
        assert_eq!(timers.pop(after(9)), Some(2));
        assert_eq!(timers.pop(after(99)), None);
    }
}

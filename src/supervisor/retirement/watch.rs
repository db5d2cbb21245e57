//! Whether a rescuer that owes an answer works at it.
//!
//! A rescuer that hangs must be killed: its clients would wait for ever. One that is slow, on a busy machine or
//! with many connections, must not: what it has is lost with it. Time alone does not tell one from the
//! other. So the rescuer is looked at: whoever works has used CPU time since the last look, or waits for a
//! CPU or a disk.

use std::time::{Duration, Instant};

use crate::sys::procfs::Activity;

/// The time between two looks. A rescuer that has done nothing between two of them hangs. CPU time is counted
/// in steps of 10 ms.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A watch over one rescuer.
#[derive(Debug, Default)]
pub(super) enum Watch {
    /// It owes nothing.
    #[default]
    Off,
    /// It owes an answer.
    On {
        next_look: Instant,
        /// The CPU time at the last look; none before the first.
        cpu_ticks: Option<u64>,
    },
}

/// What a look has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It works, or it is too early to say.
    Works,
    /// It has done nothing since the last look.
    Hangs,
}

impl Watch {
    /// An answer is owed from `now` on.
    pub(super) fn begin(&mut self, now: Instant) {
        if matches!(self, Self::Off) {
            *self = Self::starting(now);
        }
    }

    /// The rescuer has said something: it does not hang.
    pub(super) fn heard(&mut self, now: Instant) {
        if matches!(self, Self::On { .. }) {
            *self = Self::starting(now);
        }
    }

    fn starting(now: Instant) -> Self {
        Self::On {
            next_look: now + LOOK_INTERVAL,
            cpu_ticks: None,
        }
    }

    pub(super) fn next_look(&self) -> Option<Instant> {
        match self {
            Self::Off => None,
            Self::On { next_look, .. } => Some(*next_look),
        }
    }

    /// What the rescuer does at `now`.
    pub(super) fn look(&mut self, now: Instant, activity: Activity) -> Finding {
        let Self::On {
            next_look,
            cpu_ticks,
        } = self
        else {
            return Finding::Works;
        };
        *next_look = now + LOOK_INTERVAL;
        let before = cpu_ticks.replace(activity.cpu_ticks);
        if activity.is_running || before.is_none_or(|before| before < activity.cpu_ticks) {
            Finding::Works
        } else {
            Finding::Hangs
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asleep(cpu_ticks: u64) -> Activity {
        Activity {
            cpu_ticks,
            is_running: false,
        }
    }

    #[test]
    fn a_rescuer_that_does_nothing_between_two_looks_hangs() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        watch.begin(start);
        assert_eq!(watch.next_look(), Some(start + LOOK_INTERVAL));
        assert_eq!(watch.look(start, asleep(5)), Finding::Works);
        assert_eq!(watch.look(start, asleep(5)), Finding::Hangs);
    }

    #[test]
    fn a_rescuer_that_uses_its_cpu_or_waits_for_one_works() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        watch.begin(now);
        let waiting = Activity {
            cpu_ticks: 6,
            is_running: true,
        };
        for activity in [asleep(5), asleep(6), waiting, waiting, asleep(7)] {
            assert_eq!(watch.look(now, activity), Finding::Works);
        }
        assert_eq!(watch.look(now, asleep(7)), Finding::Hangs);
    }

    #[test]
    fn a_rescuer_that_says_something_is_looked_at_anew() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        watch.heard(now);
        assert_eq!(watch.next_look(), None, "it owes nothing");
        watch.begin(now);
        watch.look(now, asleep(5));
        watch.heard(now);
        assert_eq!(watch.look(now, asleep(5)), Finding::Works);
    }
}

//! What is known of a worker's health: when it is checked, how that went, and how far it was taken away.
//!
//! ```text
//!  resting ─► due ─► under way ─► passed ───────────────────────► due …
//!                        └─► late ─► said why ─► failed, counted ─► due …
//! ```
//! All of it is counting and timing; what follows for others is for [`rules::health`](super::rules) to say.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::phase::interval;
use super::policy::{CheckBy, HealthChecks};
use super::vocabulary::{CheckFailure, Slot, Time};

/// What is known of a worker's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Health {
    verdict: Verdict,
    /// The checks that failed since the last one that was passed.
    failures: u32,
    check: Check,
    pub(super) standing: Standing,
}

/// What the checks say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verdict {
    /// It has neither passed a check nor failed enough of them.
    Unknown,
    Healthy,
    /// It has failed enough checks in a row: the last one so.
    Unhealthy {
        failure: CheckFailure,
    },
}

/// Whether a worker gets new connections, as far as its health goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Standing {
    /// It gets its share.
    Trusted,
    /// It gets none while others can have them. When it passes a check it is trusted again.
    Avoided,
    /// It gets none, and a rescuer has accepted what waited for it: that has changed how its listeners accept
    /// (`O_NONBLOCK`), so it does not come back.
    Drained,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Check {
    /// None is made.
    Resting,
    /// The next begins then.
    Due(Time),
    /// It is late then, and looked at before.
    UnderWay {
        since: Time,
        next_look: Time,
        late: Time,
    },
    /// It was late; why, is being asked.
    Late,
}

/// What is to be done about a worker's check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Begin one, or look at the one that is under way.
    Ask,
    /// It was not passed in time.
    Late,
}

/// What a failed check comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consequence {
    /// Nothing yet.
    None,
    /// The worker is unhealthy now.
    Unhealthy,
    /// It is so still.
    Again,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            verdict: Verdict::Unknown,
            failures: 0,
            check: Check::Resting,
            standing: Standing::Trusted,
        }
    }

    /// The worker serves: it is checked from now on.
    pub(super) fn begin(&mut self, now: Time, slot: Slot, checks: &HealthChecks) {
        if self.standing != Standing::Drained {
            self.failures = 0;
            self.check = next(now, slot, checks);
        }
    }

    /// It is not checked any more. Whether it was: then something of a check may be left.
    pub(super) fn rest(&mut self) -> bool {
        core::mem::replace(&mut self.check, Check::Resting) != Check::Resting
    }

    /// When something is due; none while nothing is timed.
    pub(super) fn deadline(&self) -> Option<Time> {
        match self.check {
            Check::Due(at) => Some(at),
            Check::UnderWay {
                next_look, late, ..
            } => Some(next_look.min(late)),
            Check::Resting | Check::Late => None,
        }
    }

    /// What is due now; the next look comes a while later.
    pub(super) fn take_due(&mut self, now: Time, checks: &HealthChecks) -> Option<Due> {
        match self.check {
            Check::Due(at) if at <= now => {
                self.check = under_way(now, checks.timeout, checks.by);
                Some(Due::Ask)
            }
            Check::UnderWay { late, .. } if late <= now => {
                self.check = Check::Late;
                Some(Due::Late)
            }
            Check::UnderWay {
                since,
                next_look,
                late,
            } if next_look <= now => {
                let next_look = now.plus(interval(now.since(since)));
                self.check = Check::UnderWay {
                    since,
                    next_look,
                    late,
                };
                Some(Due::Ask)
            }
            Check::Resting | Check::Due(_) | Check::UnderWay { .. } | Check::Late => None,
        }
    }

    /// A check cannot be made now, or its outcome changes nothing: the next one may.
    pub(super) fn skip(&mut self, now: Time, slot: Slot, checks: &HealthChecks) {
        self.check = next(now, slot, checks);
    }

    /// A check was passed. Whether the worker was unhealthy before.
    pub(super) fn passed(&mut self, now: Time, slot: Slot, checks: &HealthChecks) -> bool {
        self.failures = 0;
        self.check = next(now, slot, checks);
        let before = core::mem::replace(&mut self.verdict, Verdict::Healthy);
        matches!(before, Verdict::Unhealthy { .. })
    }

    /// A check has failed. `counts`: the worker has had its time to warm up.
    pub(super) fn failed(
        &mut self,
        now: Time,
        slot: Slot,
        checks: &HealthChecks,
        failure: &CheckFailure,
        counts: bool,
    ) -> Consequence {
        self.check = next(now, slot, checks);
        if !counts {
            return Consequence::None;
        }
        self.failures = self.failures.saturating_add(1);
        let is_enough = self.failures >= checks.failures || failure.is_certain();
        if !is_enough && !self.is_unhealthy() {
            return Consequence::None;
        }
        let failure = failure.clone();
        match core::mem::replace(&mut self.verdict, Verdict::Unhealthy { failure }) {
            Verdict::Unhealthy { .. } => Consequence::Again,
            Verdict::Unknown | Verdict::Healthy => Consequence::Unhealthy,
        }
    }

    pub(super) fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    pub(super) fn is_unhealthy(&self) -> bool {
        matches!(self.verdict, Verdict::Unhealthy { .. })
    }

    /// Whether the last check that was made was passed: this worker shows that one can be.
    pub(super) fn has_just_passed(&self) -> bool {
        self.verdict == Verdict::Healthy && self.failures == 0
    }
}

fn next(now: Time, slot: Slot, checks: &HealthChecks) -> Check {
    match checks.by {
        CheckBy::Accept | CheckBy::Http => Check::Due(turn(now, slot, checks.interval)),
        // It is the worker that speaks.
        CheckBy::Watchdog => under_way(now, checks.watchdog(), checks.by),
    }
}

fn under_way(now: Time, timeout: Duration, by: CheckBy) -> Check {
    let late = now.plus(timeout);
    Check::UnderWay {
        since: now,
        next_look: match by {
            // Nobody tells that a connection was accepted.
            CheckBy::Accept => now.plus(interval(Duration::ZERO)),
            CheckBy::Http | CheckBy::Watchdog => late,
        },
        late,
    }
}

/// The bits of the number of a moment in an interval. Those that share one are asked in one go, so that many workers do
/// not wake the supervisor for each of them.
const MOMENT_BITS: u32 = 4;

/// The next turn of a slot after `now`. Each interval has sixteen moments, so that workers do not all answer at once, and
/// slots take them half of it apart, then a quarter, and so on, however many there are (van der Corput's sequence).
fn turn(now: Time, slot: Slot, interval: Duration) -> Time {
    let interval = interval.as_nanos().max(1);
    let moment = slot.0.reverse_bits() >> (u32::BITS - MOMENT_BITS);
    let offset = (interval * u128::from(moment)) >> MOMENT_BITS;
    let so_far = now.since(Time::default()).as_nanos();
    let turns = match so_far.checked_sub(offset) {
        Some(past) => past / interval + 1,
        None => 0,
    };
    let at = u64::try_from(turns * interval + offset).unwrap_or(u64::MAX);
    Time::default().plus(Duration::from_nanos(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(slot: u32, now: u64) -> u128 {
        let now = Time::default().plus(Duration::from_millis(now));
        let at = turn(now, Slot(slot), Duration::from_secs(1));
        at.since(Time::default()).as_millis()
    }

    #[test]
    fn slots_have_moments_of_their_own_as_far_as_these_go() {
        let first: Vec<u128> = (0..8).map(|slot| turns(slot, 10_000) - 10_000).collect();
        assert_eq!(first, [1_000, 500, 250, 750, 125, 625, 375, 875]);
        let mut counts = std::collections::BTreeMap::<u128, u32>::new();
        (0..100).for_each(|slot| *counts.entry(turns(slot, 10_000)).or_default() += 1);
        assert_eq!(counts.len(), 16);
        assert!(
            counts.values().all(|count| (6..=7).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_turn_comes_after_now_and_at_most_an_interval_later() {
        for (slot, now, at) in [
            (0, 0, 1_000),
            (0, 999, 1_000),
            (0, 1_000, 2_000),
            (1, 0, 500),
            (1, 500, 1_500),
            (1, 499, 500),
        ] {
            assert_eq!(turns(slot, now), at, "slot {slot} at {now}");
        }
    }

    #[test]
    fn an_interval_of_no_time_at_all_does_not_divide_by_it() {
        let now = Time::default().plus(Duration::from_secs(1));
        assert!(turn(now, Slot(3), Duration::ZERO) > now);
    }
}

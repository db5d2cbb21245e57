//! What makes requests: a free connection in a closed loop, the time in an open one.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

use super::alarm::Alarm;
use super::outcome::Tally;
use super::schedule::Schedule;
use super::window::Window;
use super::{Pace, Plan, Reuse};

/// Between the first requests of a closed loop's connections.
const STEP: Duration = Duration::from_micros(100);

pub(super) enum Arrivals {
    Closed(Ramp),
    Open(Demand),
}

impl Arrivals {
    pub(super) fn new(
        plan: &Plan,
        start: Instant,
        registry: &Registry,
        ring: Token,
    ) -> io::Result<Self> {
        let Pace::Open {
            per_second,
            spacing,
        } = plan.pace
        else {
            return Ok(Self::Closed(Ramp {
                start,
                released: 0,
                all: plan.connections,
            }));
        };
        Ok(Self::Open(Demand {
            schedule: Schedule::new(start, per_second, spacing, plan.seed),
            alarm: Alarm::new(registry, ring)?,
            waiting: VecDeque::new(),
            reuse: plan.reuse,
            patience: plan.time_out,
        }))
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// Whether requests are due that no connection carries yet.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Open(demand) if !demand.waiting.is_empty())
    }

    /// When it must be looked at again, to the millisecond.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Closed(ramp) => (ramp.released < ramp.all).then(|| ramp.next()),
            Self::Open(demand) => demand.waiting.front().map(|first| *first + demand.patience),
        }
    }
}

/// The beginning of a closed loop: its connections come one after another.
pub(super) struct Ramp {
    start: Instant,
    released: usize,
    all: usize,
}

impl Ramp {
    /// The connections whose time has come.
    pub(super) fn release(&mut self, now: Instant) -> Range<usize> {
        let before = self.released;
        while self.released < self.all && self.next() <= now {
            self.released += 1;
        }
        before..self.released
    }

    fn next(&self) -> Instant {
        self.start + STEP * u32::try_from(self.released).unwrap_or(u32::MAX)
    }
}

/// What an open loop asks for.
pub(super) struct Demand {
    schedule: Schedule,
    alarm: Alarm,
    /// When those were due that wait for a connection.
    waiting: VecDeque<Instant>,
    reuse: Reuse,
    patience: Duration,
}

/// The request that has waited for the longest.
pub(super) struct First {
    pub(super) intended: Instant,
    /// Whether nobody needs its answer any more.
    pub(super) is_over: bool,
    /// Whether it opens a connection of its own.
    pub(super) is_fresh: bool,
}

impl Demand {
    /// Takes what has become due, and how late that was seen.
    pub(super) fn collect(&mut self, now: Instant, window: &Window, tally: &mut Tally) {
        loop {
            let intended = self.schedule.next();
            if intended > now || window.is_over(intended) {
                return;
            }
            if window.counts(intended) {
                tally.count_late(now - intended);
            }
            self.waiting.push_back(intended);
            self.schedule.advance();
        }
    }

    pub(super) fn first(&self, now: Instant) -> Option<First> {
        let intended = *self.waiting.front()?;
        Some(First {
            intended,
            is_over: intended + self.patience <= now,
            is_fresh: self.reuse == Reuse::Fresh,
        })
    }

    pub(super) fn pop_first(&mut self) {
        self.waiting.pop_front();
    }

    /// Sets the alarm for the next request; false if that is due already.
    pub(super) fn set_alarm(&mut self, now: Instant, window: &Window) -> bool {
        let next = self.schedule.next();
        // An alarm that cannot be set is as good as one that rings at once.
        window.is_over(next) || self.alarm.set(next, now).unwrap_or(false)
    }
}

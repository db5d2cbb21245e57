//! The loop itself: begins what is due, waits, and counts what ends.
//!
//! Each turn: wait, news of connections, deadlines, new requests. News come before deadlines, so that
//! an answer that has come in time does not count as late because the load itself was.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token};

use super::Plan;
use super::arrivals::Arrivals;
use super::connection::{Connection, Progress, Wire};
use super::outcome::{Failure, Outcome, Tally};
use super::timers::Lane;
use super::window::Window;

pub(super) const WAKE: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);

/// News that are heard in one turn. Meanwhile no new request begins, so more would make them late.
const NEWS: usize = 256;

/// How long the server may take to close after the last answer of a connection.
const PARTING: Duration = Duration::from_millis(200);

/// The rest of a closed loop's connection after a failure, so that a refused one does not spin.
const BREATH: Duration = Duration::from_millis(10);

pub(super) struct Engine {
    poll: Poll,
    wire: Wire,
    window: Window,
    stop: Arc<AtomicBool>,
    arrivals: Arrivals,
    connections: Vec<Connection>,
    /// Connections without a request, by their places in `connections`; the longest idle first.
    free: VecDeque<usize>,
    /// Requests on a connection.
    under_way: usize,
    time_outs: Lane,
    partings: Lane,
    rests: Lane,
    tally: Tally,
}

impl Engine {
    pub(super) fn new(plan: &Plan, poll: Poll, stop: Arc<AtomicBool>) -> io::Result<Self> {
        let start = Instant::now();
        let window = Window::new(plan, start);
        let arrivals = Arrivals::new(plan, start, poll.registry(), ALARM)?;
        // A closed loop's are released one by one.
        let free = match arrivals {
            Arrivals::Closed(_) => 0,
            Arrivals::Open(_) => plan.connections,
        };
        Ok(Self {
            wire: Wire::new(plan, poll.registry().try_clone()?),
            poll,
            tally: Tally::new(window.begin(), plan.bucket)?,
            window,
            stop,
            arrivals,
            connections: (0..plan.connections)
                .map(|slot| Connection::new(slot, start))
                .collect(),
            free: (0..free).collect(),
            under_way: 0,
            time_outs: Lane::new(plan.time_out),
            partings: Lane::new(PARTING),
            rests: Lane::new(BREATH),
        })
    }

    pub(super) fn run(mut self) -> Outcome {
        let mut events = Events::with_capacity(NEWS);
        loop {
            let now = Instant::now();
            self.keep_time(now);
            self.arrive(now);
            if self.is_finished(now) {
                return self
                    .tally
                    .outcome(self.window.length(), self.window.usage());
            }
            self.wait(&mut events);
            for event in &events {
                self.hear(event);
            }
        }
    }

    /// Follows up news of a connection.
    fn hear(&mut self, event: &Event) {
        let slot = event.token().0;
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        let progress = connection.advance(event, &mut self.wire);
        if progress == Progress::Waiting {
            return;
        }
        let now = Instant::now();
        self.follow(slot, progress, now);
        // At once: a closed loop knows no pause, and other news may take a while.
        if self.arrivals.is_closed() {
            self.begin_free(now);
        }
    }

    fn is_finished(&self, now: Instant) -> bool {
        self.window.is_over(now) && self.under_way == 0 && !self.arrivals.is_waiting()
    }

    /// Sees to what happens because nothing else did.
    fn keep_time(&mut self, now: Instant) {
        if self.stop.load(Ordering::Relaxed) {
            self.window.end_at(now);
        }
        self.window.watch(now);
        while let Some(slot) = self.time_outs.pop_due(now, &self.connections) {
            let progress = self.connections[slot].give_up();
            self.follow(slot, progress, now);
        }
        while let Some(slot) = self.partings.pop_due(now, &self.connections) {
            let progress = self.connections[slot].give_up();
            self.follow(slot, progress, now);
        }
        while let Some(slot) = self.rests.pop_due(now, &self.connections) {
            self.free.push_back(slot);
        }
    }

    /// Begins what is due.
    fn arrive(&mut self, now: Instant) {
        match &mut self.arrivals {
            Arrivals::Closed(ramp) => {
                self.free.extend(ramp.release(now));
                self.begin_free(now);
            }
            Arrivals::Open(demand) => {
                demand.collect(now, &self.window, &mut self.tally);
                self.begin_waiting(now);
            }
        }
    }

    /// Closed loop: every free connection asks.
    fn begin_free(&mut self, now: Instant) {
        while !self.window.is_over(now) {
            let Some(slot) = self.free.pop_front() else {
                return;
            };
            self.begin(slot, now, now);
        }
    }

    /// Open loop: those who wait get a connection, first come, first served.
    fn begin_waiting(&mut self, now: Instant) {
        while let Arrivals::Open(demand) = &mut self.arrivals
            && let Some(first) = demand.first(now)
        {
            if !first.is_over && !first.is_fresh && self.free.is_empty() {
                return;
            }
            demand.pop_first();
            if first.is_over {
                self.count_failure(Failure::TimeOut, first.intended, now);
            } else {
                let slot = self.free.pop_front().unwrap_or_else(|| self.grow(now));
                self.connections[slot].look(&mut self.wire);
                self.begin(slot, first.intended, now);
            }
        }
    }

    fn grow(&mut self, now: Instant) -> usize {
        let slot = self.connections.len();
        self.connections.push(Connection::new(slot, now));
        slot
    }

    fn begin(&mut self, slot: usize, intended: Instant, now: Instant) {
        let connection = &mut self.connections[slot];
        self.under_way += 1;
        match connection.begin(intended, &mut self.wire) {
            Progress::Waiting => self.time_outs.set(slot, connection.serial(), intended),
            progress => self.follow(slot, progress, now),
        }
    }

    /// Counts what ended at `now`, and says what the connection does next.
    fn follow(&mut self, slot: usize, progress: Progress, now: Instant) {
        match progress {
            Progress::Waiting | Progress::Parted => {}
            Progress::Answered | Progress::AnsweredLast => self.count_answer(slot, now),
            Progress::Failed(failure) => {
                self.under_way -= 1;
                self.count_failure(failure, self.connections[slot].intended(), now);
            }
        }
        let serial = self.connections[slot].serial();
        match progress {
            Progress::Waiting => {}
            Progress::AnsweredLast => self.partings.set(slot, serial, now),
            Progress::Failed(_) if self.arrivals.is_closed() => self.rests.set(slot, serial, now),
            _ => self.free.push_back(slot),
        }
    }

    fn count_answer(&mut self, slot: usize, now: Instant) {
        self.under_way -= 1;
        let connection = &mut self.connections[slot];
        let intended = connection.intended();
        if !self.window.counts(intended) {
            return;
        }
        let first = !std::mem::replace(&mut connection.introduced, true);
        let latency = now.saturating_duration_since(intended);
        self.tally
            .count_answer(latency, now, connection.worker(), first);
    }

    fn count_failure(&mut self, failure: Failure, intended: Instant, now: Instant) {
        if self.window.counts(intended) {
            self.tally.count_failure(failure, now);
        }
    }

    /// Waits until something happens or is due.
    fn wait(&mut self, events: &mut Events) {
        let now = Instant::now();
        let mut patience = self
            .next_deadline()
            .map(|at| at.saturating_duration_since(now));
        if let Arrivals::Open(demand) = &mut self.arrivals
            && !demand.set_alarm(now, &self.window)
        {
            patience = Some(Duration::ZERO);
        }
        if let Err(error) = self.poll.poll(events, patience) {
            // Anything else would be a descriptor or a buffer that is none (epoll_wait(2)).
            assert_eq!(
                error.kind(),
                ErrorKind::Interrupted,
                "cannot wait for epoll: {error}"
            );
            events.clear();
        }
    }

    fn next_deadline(&mut self) -> Option<Instant> {
        let deadlines = [
            self.arrivals.deadline(),
            self.window.next_edge(),
            self.time_outs.next(&self.connections),
            self.partings.next(&self.connections),
            self.rests.next(&self.connections),
        ];
        deadlines.into_iter().flatten().min()
    }
}

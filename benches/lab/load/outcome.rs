//! How the requests went: counts, latencies, and their course over time.
//!
//! Every request that was due within the window counts exactly once, in `answered` or in one class
//! of `failures`, also when it ended after the window. Those of the warm-up count nowhere.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display, Formatter};
use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Usage;
use super::answer::Name;

/// The longest latency that the histograms tell from a longer one: ten minutes, in microseconds.
const MAX_LATENCY_US: u64 = 600_000_000;

/// In which way a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// Nobody listened.
    Refused,
    /// Reset or unreachable before the connection could carry the request.
    Connecting,
    /// Reset or closed before a byte of the answer, on a connection's first request.
    Fresh,
    /// The same on a connection that had answered before: the keep-alive race.
    Reused,
    /// Reset or closed inside an answer.
    Cut,
    /// Not answered in time, wherever the time went: while it waited for a free connection, too.
    TimeOut,
    /// Not an HTTP answer, or not a 2xx.
    BadAnswer,
    /// The load's own trouble, such as no free port or descriptor. It says nothing of the server.
    Local,
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Refused => "refused",
            Self::Connecting => "reset while connecting",
            Self::Fresh => "lost on a fresh connection",
            Self::Reused => "lost on a reused connection",
            Self::Cut => "cut inside the answer",
            Self::TimeOut => "time-out",
            Self::BadAnswer => "bad answer",
            Self::Local => "own trouble",
        })
    }
}

/// How a load went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Requests that were answered well.
    pub answered: u64,
    /// Requests that failed, by class; a class without failures is absent.
    pub failures: BTreeMap<Failure, u64>,
    /// Of the answered requests, in microseconds from the time when each was due to its last byte.
    pub latency: Histogram<u64>,
    /// How late the load itself was, in microseconds from the time when a request was due to the
    /// time when it was looked at; empty in a closed loop. If this is not small against the latency,
    /// the load had too little processor time, and its latencies are not the server's.
    pub lateness: Histogram<u64>,
    /// Answers by the worker that gave them; `-` if it did not tell its name.
    pub requests_by_worker: BTreeMap<String, u64>,
    /// Connections by the worker that gave the first counted answer on them.
    pub connections_by_worker: BTreeMap<String, u64>,
    /// The course of it. The buckets follow upon one another without a gap from the beginning of the
    /// window, and go on after its end until the last request has ended.
    pub timeline: Vec<Bucket>,
    /// The window's length, in which the requests were due. Requests per second are those that were
    /// answered over this, since what began before and ended within it does not count.
    pub elapsed: Duration,
    /// What the load itself used in the window.
    pub own_usage: Usage,
}

impl Outcome {
    /// Requests that failed, in all classes.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Requests that failed in one way.
    pub fn failed_by(&self, failure: Failure) -> u64 {
        self.failures.get(&failure).copied().unwrap_or(0)
    }

    /// The distribution of latency: quantiles from 0 to 1, evenly in nines as they are drawn, as far as
    /// there are requests to tell, with microseconds.
    pub fn percentiles(&self) -> Vec<(f64, f64)> {
        let quantiles = (0..=40_u32).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 8.0));
        let is_told = |quantile: &f64| (1.0 - quantile) * self.answered as f64 >= 1.0;
        let at = |quantile: f64| self.latency.value_at_quantile(quantile) as f64;
        let told = quantiles.filter(is_told);
        told.map(|quantile| (quantile, at(quantile))).collect()
    }

    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// The requests that ended within a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Its beginning, counted from the window's.
    pub start: Duration,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that failed.
    pub failed: u64,
    /// The median latency in microseconds, zero if nothing was answered; so the others.
    pub p50: u64,
    /// The latency that one request in a hundred exceeded.
    pub p99: u64,
    /// The longest latency.
    pub max: u64,
}

/// An outcome in the making.
pub(super) struct Tally {
    answered: u64,
    failures: BTreeMap<Failure, u64>,
    latency: Histogram<u64>,
    lateness: Histogram<u64>,
    workers: HashMap<Name, Share>,
    timeline: Timeline,
}

#[derive(Default)]
struct Share {
    requests: u64,
    connections: u64,
}

impl Tally {
    pub(super) fn new(begin: Instant, bucket: Duration) -> io::Result<Self> {
        Ok(Self {
            answered: 0,
            failures: BTreeMap::new(),
            latency: histogram(3)?,
            lateness: histogram(3)?,
            workers: HashMap::new(),
            timeline: Timeline::new(begin, bucket)?,
        })
    }

    pub(super) fn count_late(&mut self, late: Duration) {
        self.lateness.saturating_record(micros(late));
    }

    /// Counts an answer that came at `now`, and the connection with it if it is the connection's
    /// first.
    pub(super) fn count_answer(
        &mut self,
        latency: Duration,
        now: Instant,
        worker: Name,
        first: bool,
    ) {
        self.answered += 1;
        self.latency.saturating_record(micros(latency));
        self.timeline.count_answer(latency, now);
        let share = self.workers.entry(worker).or_default();
        share.requests += 1;
        share.connections += u64::from(first);
    }

    pub(super) fn count_failure(&mut self, failure: Failure, now: Instant) {
        *self.failures.entry(failure).or_default() += 1;
        self.timeline.count_failure(now);
    }

    pub(super) fn outcome(self, elapsed: Duration, own_usage: Usage) -> Outcome {
        let by_worker = |count: fn(&Share) -> u64| {
            let counts = self
                .workers
                .iter()
                .map(|(name, share)| (name.text().into_owned(), count(share)));
            counts.filter(|(_, count)| *count > 0).collect()
        };
        Outcome {
            requests_by_worker: by_worker(|share| share.requests),
            connections_by_worker: by_worker(|share| share.connections),
            answered: self.answered,
            failures: self.failures,
            latency: self.latency,
            lateness: self.lateness,
            timeline: self.timeline.end(),
            elapsed,
            own_usage,
        }
    }
}

/// The buckets, of which only the last one is open.
struct Timeline {
    begin: Instant,
    width: Duration,
    open: Bucket,
    latency: Histogram<u64>,
    closed: Vec<Bucket>,
}

impl Timeline {
    fn new(begin: Instant, width: Duration) -> io::Result<Self> {
        Ok(Self {
            begin,
            width,
            open: Bucket::default(),
            latency: histogram(2)?,
            closed: Vec::new(),
        })
    }

    fn count_answer(&mut self, latency: Duration, now: Instant) {
        self.roll(now);
        self.open.answered += 1;
        self.latency.saturating_record(micros(latency));
    }

    fn count_failure(&mut self, now: Instant) {
        self.roll(now);
        self.open.failed += 1;
    }

    /// Closes the buckets that are over.
    fn roll(&mut self, now: Instant) {
        let at = now.saturating_duration_since(self.begin);
        while at >= self.open.start + self.width {
            self.close();
        }
    }

    fn close(&mut self) {
        let next = Bucket {
            start: self.open.start + self.width,
            ..Bucket::default()
        };
        let bucket = std::mem::replace(&mut self.open, next);
        self.closed.push(Bucket {
            p50: self.latency.value_at_quantile(0.5),
            p99: self.latency.value_at_quantile(0.99),
            max: self.latency.max(),
            ..bucket
        });
        self.latency.reset();
    }

    fn end(mut self) -> Vec<Bucket> {
        if self.open.answered + self.open.failed > 0 {
            self.close();
        }
        self.closed
    }
}

fn histogram(digits: u8) -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, MAX_LATENCY_US, digits).map_err(io::Error::other)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

//! How the requests went.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::PerWorker;

/// How many failures are kept with all that is known.
const MAX_FAILURES_KEPT: usize = 10;

/// An answer that takes longer than this hides a lost SYN or SYN-ACK, which is sent again after
/// one second.
const SLOW: Duration = Duration::from_millis(500);

/// In which way a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// Nobody listened.
    Refused,
    /// Reset, or unreachable, before the connection stood.
    Connecting,
    /// Reset or closed before a byte of the answer, on a connection's first request.
    Fresh,
    /// The same on a connection that had answered before: the keep-alive race.
    Reused,
    /// Reset or closed inside an answer.
    Cut,
    /// Not answered in time.
    Timeout,
    /// Not an HTTP answer, or not a 2xx.
    BadAnswer,
    /// The client's own trouble, such as no free port. It says nothing about the server.
    Local,
}

/// One failure, and all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setback {
    /// Milliseconds since the load began.
    pub after_ms: u64,
    pub failure: Failure,
    pub detail: String,
}

/// How all the requests of a load went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Requests that were answered well.
    pub answered: u64,
    /// Requests that failed, by class; a class without failures is absent.
    pub failed: BTreeMap<Failure, u64>,
    /// Connections that were made.
    pub connections: u64,
    /// Answers that took longer than 500 ms.
    pub slow: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// From the first request to the last answer.
    pub elapsed_ms: u64,
    /// Answers by the worker that named itself, in `X-Worker`.
    pub workers: PerWorker,
    /// The first failures.
    pub first: Vec<Setback>,
}

impl Outcome {
    /// Requests that failed, in all classes.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    pub fn of(&self, failure: Failure) -> u64 {
        self.failed.get(&failure).copied().unwrap_or(0)
    }
}

/// An outcome in the making.
pub(super) struct Tally {
    began: Instant,
    outcome: Outcome,
    failed: u64,
    latencies_us: Vec<u32>,
}

impl Tally {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            outcome: Outcome::default(),
            failed: 0,
            latencies_us: Vec::new(),
        }
    }

    pub(super) fn answered(&self) -> u64 {
        self.outcome.answered
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    pub(super) fn connected(&mut self) {
        self.outcome.connections += 1;
    }

    pub(super) fn count_answer(&mut self, latency: Duration, worker: Option<&str>) {
        self.outcome.answered += 1;
        self.outcome.slow += u64::from(latency > SLOW);
        self.latencies_us
            .push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        let Some(worker) = worker else { return };
        match self.outcome.workers.get_mut(worker) {
            Some(count) => *count += 1,
            None => _ = self.outcome.workers.insert(worker.into(), 1),
        }
    }

    pub(super) fn count_failure(&mut self, failure: Failure, detail: String) {
        self.failed += 1;
        *self.outcome.failed.entry(failure).or_default() += 1;
        if self.outcome.first.len() < MAX_FAILURES_KEPT {
            let after_ms = self.elapsed_ms();
            self.outcome.first.push(Setback {
                after_ms,
                failure,
                detail,
            });
        }
    }

    pub(super) fn outcome(mut self) -> Outcome {
        self.latencies_us.sort_unstable();
        Outcome {
            elapsed_ms: self.elapsed_ms(),
            p50_ms: self.quantile_ms(0.5),
            p99_ms: self.quantile_ms(0.99),
            max_ms: self.quantile_ms(1.0),
            ..self.outcome
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The latency that a part of the answers did not exceed; the latencies are sorted.
    fn quantile_ms(&self, part: f64) -> f64 {
        let last = self.latencies_us.len().saturating_sub(1);
        // A position in a list of that length: the cast loses the fraction, as it should.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let position = (last as f64 * part).round() as usize;
        self.latencies_us
            .get(position)
            .map_or(0.0, |&us| f64::from(us) / 1000.0)
    }
}

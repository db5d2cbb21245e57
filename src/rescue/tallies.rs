//! What became of the connections of each worker, and how much of that the supervisor knows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::wire::rescue::Tally;
pub(super) use crate::wire::rescue::{CLIENT_BROKE, TIME_OUT};

/// How often progress is reported at most.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Something that became of a connection, or of requests on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Held,
    /// The worker itself brought the connection to its end.
    Finished,
    /// So many requests were passed on and answered.
    Rescued(u64),
    /// The connection was idle until it was closed.
    Idle,
    GivenUp(&'static str),
}

#[derive(Debug, Default)]
struct WorkerTally {
    tally: Tally,
    reported: Tally,
    /// The worker's adopted connections, and its listeners that are being drained.
    open: usize,
}

#[derive(Debug)]
pub(super) struct Tallies {
    workers: BTreeMap<u64, WorkerTally>,
    /// No progress is reported before then.
    next_report: Instant,
}

impl Tallies {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            workers: BTreeMap::new(),
            next_report: now,
        }
    }

    pub(super) fn count(&mut self, worker: u64, outcome: Outcome) {
        let tally = &mut self.workers.entry(worker).or_default().tally;
        match outcome {
            Outcome::Held => tally.held += 1,
            Outcome::Finished => tally.finished += 1,
            Outcome::Rescued(requests) => tally.rescued += requests,
            Outcome::Idle => tally.idle += 1,
            Outcome::GivenUp(reason) => {
                tally.given_up += 1;
                *tally.reasons.entry(reason.to_owned()).or_default() += 1;
            }
        }
    }

    /// A connection of the worker was adopted, or a listener is being drained.
    pub(super) fn opened(&mut self, worker: u64) {
        self.workers.entry(worker).or_default().open += 1;
    }

    pub(super) fn closed(&mut self, worker: u64) {
        let open = &mut self.workers.entry(worker).or_default().open;
        *open = open.saturating_sub(1);
    }

    /// Whether nothing of the worker's is open.
    pub(super) fn is_settled(&self, worker: u64) -> bool {
        self.workers.get(&worker).is_none_or(|it| it.open == 0)
    }

    /// What became of a worker's connections by now.
    pub(super) fn of(&self, worker: u64) -> Tally {
        let found = self.workers.get(&worker);
        found.map(|it| it.tally.clone()).unwrap_or_default()
    }

    pub(super) fn remove(&mut self, worker: u64) -> Tally {
        self.workers
            .remove(&worker)
            .map(|it| it.tally)
            .unwrap_or_default()
    }

    /// When progress is to be reported; none: the supervisor knows all there is.
    pub(super) fn next_report(&self) -> Option<Instant> {
        let has_news = self.workers.values().any(WorkerTally::has_progress);
        has_news.then_some(self.next_report)
    }

    /// The tallies that have changed since they were reported last, if it is time to report them.
    pub(super) fn take_progress(&mut self, now: Instant) -> Vec<(u64, Tally)> {
        if self.next_report().is_none_or(|at| now < at) {
            return Vec::new();
        }
        self.next_report = now + PROGRESS_INTERVAL;
        let changed = self.workers.iter_mut().filter(|(_, it)| it.has_progress());
        let report = |(id, it): (&u64, &mut WorkerTally)| {
            it.reported = it.tally.clone();
            (*id, it.tally.clone())
        };
        changed.map(report).collect()
    }
}

impl WorkerTally {
    fn has_progress(&self) -> bool {
        self.tally != self.reported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_reported_when_there_is_some_but_not_often() {
        let start = Instant::now();
        let mut tallies = Tallies::new(start);
        tallies.opened(7);
        assert_eq!(tallies.next_report(), None);
        tallies.count(7, Outcome::Held);
        let progress = tallies.take_progress(start);
        assert_eq!(progress.len(), 1);
        assert_eq!((progress[0].0, progress[0].1.held), (7, 1));
        tallies.count(7, Outcome::GivenUp("system"));
        assert!(tallies.take_progress(start).is_empty());
        let due = tallies.next_report();
        assert_eq!(due, Some(start + PROGRESS_INTERVAL));
        assert_eq!(tallies.take_progress(start + PROGRESS_INTERVAL).len(), 1);
    }

    #[test]
    fn a_worker_is_settled_when_all_that_was_opened_is_closed() {
        let mut tallies = Tallies::new(Instant::now());
        assert!(tallies.is_settled(7));
        tallies.opened(7);
        assert!(!tallies.is_settled(7));
        tallies.closed(7);
        assert!(tallies.is_settled(7));
        tallies.count(7, Outcome::Rescued(2));
        assert_eq!(tallies.remove(7).rescued, 2);
        assert_eq!(tallies.remove(7), Tally::default());
    }
}

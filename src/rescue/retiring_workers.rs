//! All retiring workers, and when to look at them again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::retiring_worker::{Interest, RetiringWorker};
use super::tallies::{Outcome, Tallies};

/// The pause between looks while a request may be in flight.
const BUSY_LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// The pause between looks when only closes are of interest.
const CLOSE_LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// When only closes are of interest, a pause is so many times as long as the look before it, so that
/// looking takes a fifth of a CPU at most. Else a reload waits: then the pause is as long as the look.
const LOOK_COST_FACTOR: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct RetiringWorkers {
    workers: BTreeMap<u64, RetiringWorker>,
    /// None: there is nothing to look at.
    next_look: Option<Instant>,
}

impl RetiringWorkers {
    /// A worker, known or new.
    pub(super) fn worker(&mut self, id: u64) -> &mut RetiringWorker {
        self.workers.entry(id).or_insert_with(RetiringWorker::new)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// How many connections the workers may still have.
    pub(super) fn held(&self) -> usize {
        self.workers.values().map(RetiringWorker::held).sum()
    }

    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    /// To be called after each order: there may be something to look at now.
    pub(super) fn look_soon(&mut self, now: Instant) {
        if self.workers.values().any(|worker| worker.held() > 0) {
            self.next_look.get_or_insert(now);
        }
    }

    /// The workers to look at, if it is time.
    pub(super) fn due(&self, now: Instant) -> Vec<u64> {
        if self.next_look.is_none_or(|at| now < at) {
            return Vec::new();
        }
        self.workers.keys().copied().collect()
    }

    /// All workers that were [due](Self::due) have been looked at, which took from `start` to `end`.
    pub(super) fn looked(&mut self, start: Instant, end: Instant) {
        let cost = end - start;
        let interest = self.workers.values().map(RetiringWorker::interest).max();
        self.next_look = match interest.unwrap_or(Interest::Nothing) {
            Interest::Nothing => None,
            Interest::Closes => Some(end + CLOSE_LOOK_INTERVAL.max(cost * LOOK_COST_FACTOR)),
            Interest::Requests => Some(end + BUSY_LOOK_INTERVAL.max(cost)),
        };
    }

    /// Takes the workers of which nothing is left.
    pub(super) fn take_over(&mut self, tallies: &Tallies) -> Vec<u64> {
        let workers = self.workers.iter();
        let over = workers.filter(|(id, worker)| worker.is_over() && tallies.is_settled(**id));
        let over: Vec<u64> = over.map(|(id, _)| *id).collect();
        for id in &over {
            self.workers.remove(id);
        }
        over
    }

    /// Takes all workers.
    pub(super) fn take_all(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.workers).into_keys().collect()
    }

    /// Gives all connections back to the workers.
    pub(super) fn release(&mut self, now: Instant, tallies: &mut Tallies) {
        for (id, worker) in &mut self.workers {
            for _ in 0..worker.release(now) {
                tallies.count(*id, Outcome::Finished);
            }
        }
    }
}

//! All workers, by what they are looked for.
//!
//! A fleet of thousands is asked the same few questions at every event: what is due, who has a listener,
//! who is live. So the answers are kept beside the workers, and every change of a worker goes through
//! [`Workers::change`], which keeps them right: no event costs a look at all workers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::live::{Live, Told};
use super::vocabulary::{Endpoint, ListenerId, Slot, Time, WorkerId};
use super::worker::Worker;

/// All workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub(super) struct Workers {
    by_id: BTreeMap<WorkerId, Worker>,
    next: u64,
    by_slot: BTreeMap<Slot, BTreeSet<WorkerId>>,
    holders: BTreeMap<ListenerId, BTreeSet<WorkerId>>,
    deadlines: BTreeSet<(Time, WorkerId)>,
    /// When those that serve have done so for long enough.
    ages: BTreeSet<(Time, WorkerId)>,
    live: Live,
    /// The endpoints that serving workers listen on and owe to those that come after them, and how many do.
    owed: BTreeMap<Endpoint, usize>,
    /// How many workers serve.
    serving: usize,
    /// How many workers are not leaving.
    staying: usize,
}

/// What is saved of it: the rest follows.
#[derive(Serialize, Deserialize)]
struct Saved {
    workers: Vec<Worker>,
    next: u64,
    told: Told,
}

impl Workers {
    pub(super) fn new() -> Self {
        Self {
            by_id: BTreeMap::new(),
            next: 0,
            by_slot: BTreeMap::new(),
            holders: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            ages: BTreeSet::new(),
            live: Live::default(),
            owed: BTreeMap::new(),
            serving: 0,
            staying: 0,
        }
    }

    /// An id for a worker, which is never used again.
    pub(super) fn next_id(&mut self) -> WorkerId {
        let id = WorkerId(self.next);
        self.next += 1;
        id
    }

    pub(super) fn insert(&mut self, worker: Worker) {
        self.index(&worker);
        self.by_id.insert(worker.id, worker);
    }

    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.by_id.remove(&id)?;
        self.unindex(&worker);
        Some(worker)
    }

    pub(super) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.by_id.get(&id)
    }

    /// Changes a worker.
    pub(super) fn change<R>(
        &mut self,
        id: WorkerId,
        how: impl FnOnce(&mut Worker) -> R,
    ) -> Option<R> {
        let mut worker = self.remove(id)?;
        let result = how(&mut worker);
        self.insert(worker);
        Some(result)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.by_id.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Whether no worker stays: all were told to stop, or killed for good.
    pub(super) fn nobody_stays(&self) -> bool {
        self.staying == 0
    }

    pub(super) fn in_slot(&self, slot: Slot) -> impl Iterator<Item = &Worker> {
        let ids = self.by_slot.get(&slot).into_iter().flatten();
        ids.filter_map(|id| self.by_id.get(id))
    }

    /// The workers that have a listener.
    pub(super) fn holders(&self, listener: ListenerId) -> impl Iterator<Item = &Worker> {
        let ids = self.holders.get(&listener).into_iter().flatten();
        ids.filter_map(|id| self.by_id.get(id))
    }

    pub(super) fn serving(&self) -> impl Iterator<Item = &Worker> {
        self.iter().filter(|worker| worker.is_serving())
    }

    /// The ids of those that serve, from one on.
    pub(super) fn serving_from(&self, from: Bound<WorkerId>) -> impl Iterator<Item = WorkerId> {
        let all = self.by_id.range((from, Bound::Unbounded));
        all.filter(|(_, worker)| worker.is_serving())
            .map(|(id, _)| *id)
    }

    /// The endpoints that all serving workers owe to those that come after them; none if no worker serves.
    pub(super) fn owed_by_all(&self) -> Option<BTreeSet<Endpoint>> {
        let by_all = self.owed.iter().filter(|(_, by)| **by == self.serving);
        (self.serving > 0).then(|| by_all.map(|(endpoint, _)| *endpoint).collect())
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The workers about which something is due.
    pub(super) fn due(&self, now: Time) -> Vec<WorkerId> {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, id)| *id).collect()
    }

    /// When the next of those that serve has done so for long enough.
    pub(super) fn next_age(&self) -> Option<Time> {
        self.ages.first().map(|(at, _)| *at)
    }

    /// Those that have served for long enough.
    pub(super) fn aged(&self, now: Time) -> Vec<WorkerId> {
        let aged = self.ages.iter().take_while(|(at, _)| *at <= now);
        aged.map(|(_, id)| *id).collect()
    }

    /// Whether new connections are to be steered to this listener.
    pub(super) fn is_live(&self, listener: ListenerId) -> bool {
        self.live.is_live(listener)
    }

    /// The listeners that new connections are to be steered to.
    pub(super) fn live_listeners(&self) -> BTreeSet<ListenerId> {
        self.live.listeners()
    }

    /// Whether a serving worker listens on this listener.
    pub(super) fn is_served(&self, listener: ListenerId) -> bool {
        self.live.is_served(listener)
    }

    /// Whether a trusted worker serves an endpoint.
    pub(super) fn is_trusted_at(&self, endpoint: &Endpoint) -> bool {
        self.live.is_trusted_at(endpoint)
    }

    /// The endpoints that get new connections.
    pub(super) fn live_endpoints(&self) -> impl Iterator<Item = Endpoint> {
        self.live.endpoints()
    }

    /// The live listeners, if they have changed since the last call.
    pub(super) fn take_changed_live(&mut self) -> Option<BTreeSet<ListenerId>> {
        self.live.take_changed()
    }

    fn index(&mut self, worker: &Worker) {
        let id = worker.id;
        self.by_slot.entry(worker.slot).or_default().insert(id);
        for listener in worker.listeners.keys() {
            self.holders.entry(*listener).or_default().insert(id);
        }
        self.deadlines.extend(worker.deadline().map(|at| (at, id)));
        self.staying += usize::from(!worker.is_leaving());
        if worker.is_serving() {
            self.serving += 1;
            self.ages.extend(worker.ages_at.map(|at| (at, id)));
            for endpoint in worker.owed() {
                *self.owed.entry(endpoint).or_default() += 1;
            }
            for (listener, endpoint) in worker.listening() {
                self.live.add(listener, endpoint, worker.health.standing);
            }
        }
    }

    fn unindex(&mut self, worker: &Worker) {
        let id = worker.id;
        remove_from(&mut self.by_slot, worker.slot, id);
        for listener in worker.listeners.keys() {
            remove_from(&mut self.holders, *listener, id);
        }
        if let Some(at) = worker.deadline() {
            self.deadlines.remove(&(at, id));
        }
        self.staying -= usize::from(!worker.is_leaving());
        if worker.is_serving() {
            self.serving -= 1;
            if let Some(at) = worker.ages_at {
                self.ages.remove(&(at, id));
            }
            for endpoint in worker.owed() {
                let count = self.owed.entry(endpoint).or_default();
                *count -= 1;
                if *count == 0 {
                    self.owed.remove(&endpoint);
                }
            }
            for (listener, _) in worker.listening() {
                self.live.remove(listener, worker.health.standing);
            }
        }
    }
}

fn remove_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<WorkerId>>, key: K, id: WorkerId) {
    if let Some(ids) = index.get_mut(&key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(&key);
        }
    }
}

impl From<Workers> for Saved {
    fn from(workers: Workers) -> Self {
        Self {
            workers: workers.by_id.into_values().collect(),
            next: workers.next,
            told: workers.live.told(),
        }
    }
}

impl From<Saved> for Workers {
    fn from(saved: Saved) -> Self {
        let mut workers = Self::new();
        workers.next = saved.next;
        saved
            .workers
            .into_iter()
            .for_each(|worker| workers.insert(worker));
        workers.live.restore(saved.told);
        workers
    }
}

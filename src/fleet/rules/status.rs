//! What outsiders may see of the fleet.

use core::time::Duration;
use std::collections::BTreeMap;

use super::Fleet;
use crate::fleet::health::{Health, Verdict};
use crate::fleet::recyclings::RecyclingTally;
use crate::fleet::rollout::Rollout;
use crate::fleet::slots::{EmptySlot, SlotState};
use crate::fleet::usage::UsageView;
use crate::fleet::vocabulary::*;
use crate::fleet::worker::Worker;

/// One line of `status`: a worker, or a slot that waits for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// The worker; for an empty slot the one that was there last.
    pub worker: WorkerId,
    /// Its slot.
    pub slot: Slot,
    /// Its listener set; other workers of its generation may have the same.
    pub set: ListenerSetId,
    /// Its generation.
    pub generation: Generation,
    /// The phase's name; `waiting` or `given-up` for an empty slot.
    pub phase: &'static str,
    /// Time since it started; for an empty slot, since it became empty.
    pub uptime: Duration,
    /// Crashes of its slot within the restart window.
    pub restarts: u32,
    /// Time since it was ready; none before.
    pub age: Option<Duration>,
    /// What it uses, as far as that is looked at.
    pub usage: UsageView,
    /// Why it is to be recycled, if it is.
    pub recycling: Option<RecycleReason>,
    /// What it is to get of new connections; none where it is to get none, or nothing is steered.
    pub weight: Option<Weight>,
    /// Its listeners.
    pub listeners: Vec<(ListenerId, Endpoint)>,
    /// What its checks say; none where none are made.
    pub health: Option<HealthView>,
}

/// What the checks of a worker say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthView {
    /// Nothing yet.
    Unknown,
    /// It passes them.
    Healthy,
    /// It does not, and the last one failed so.
    Unhealthy(CheckFailure),
}

impl Health {
    fn view(&self) -> HealthView {
        match self.verdict() {
            Verdict::Unknown => HealthView::Unknown,
            Verdict::Healthy => HealthView::Healthy,
            Verdict::Unhealthy { failure } => HealthView::Unhealthy(failure.clone()),
        }
    }
}

/// What a worker is to get of the new connections of its first address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Its weight.
    pub own: u32,
    /// That of all.
    pub all: u32,
}

impl Fleet {
    /// Every worker and every empty slot, by slot, then by age.
    pub fn view(&self, now: Time) -> Vec<WorkerView> {
        let weights = self.listener_weights();
        let workers = self.workers.iter();
        let empty = self.empty_slots.iter();
        let mut all: Vec<WorkerView> = workers
            .map(|worker| self.view_worker(now, worker, &weights))
            .chain(empty.map(|(slot, empty)| self.view_empty_slot(now, slot, empty)))
            .collect();
        all.sort_by_key(|view| (view.slot, view.worker));
        all
    }

    /// What each live listener is to get.
    fn listener_weights(&self) -> BTreeMap<ListenerId, Weight> {
        if !self.policy.steering {
            return BTreeMap::new();
        }
        let endpoint = |id: ListenerId| {
            let holder = self.workers.holders(id).next()?;
            Some(holder.listeners.get(&id)?.endpoint)
        };
        let weights = self.weights(self.workers.live_listeners());
        let mut sums: BTreeMap<Endpoint, u32> = BTreeMap::new();
        for (id, own) in &weights {
            if let Some(endpoint) = endpoint(*id) {
                *sums.entry(endpoint).or_default() += own;
            }
        }
        let weight = |(id, own)| {
            let all = *sums.get(&endpoint(id)?)?;
            Some((id, Weight { own, all }))
        };
        weights.into_iter().filter_map(weight).collect()
    }

    /// A worker that shares its listener is to get as much as the others that do.
    fn weight_of(&self, worker: &Worker, weights: &BTreeMap<ListenerId, Weight>) -> Option<Weight> {
        let mut live = worker.listening().filter(|_| worker.is_serving());
        let (listener, weight) = live.find_map(|(id, _)| Some((id, *weights.get(&id)?)))?;
        let holders = self.workers.holders(listener);
        let sharing: u32 = holders.filter(|it| it.is_serving()).map(|_| 1).sum();
        let all = weight.all.saturating_mul(sharing);
        Some(Weight { all, ..weight })
    }

    fn view_worker(
        &self,
        now: Time,
        worker: &Worker,
        weights: &BTreeMap<ListenerId, Weight>,
    ) -> WorkerView {
        let listeners = worker.listeners.iter();
        WorkerView {
            worker: worker.id,
            slot: worker.slot,
            set: worker.set,
            generation: worker.generation,
            phase: worker.phase.name(),
            uptime: now.since(worker.started),
            restarts: self.restarts.recent(now, worker.slot),
            age: worker.ready_since.map(|since| now.since(since)),
            usage: self.usage_of(worker.id),
            recycling: self.why_recycled(worker.id),
            weight: self.weight_of(worker, weights),
            listeners: listeners.map(|(id, it)| (*id, it.endpoint)).collect(),
            health: worker.checks.map(|_| worker.health.view()),
        }
    }

    fn view_empty_slot(&self, now: Time, slot: Slot, empty: &EmptySlot) -> WorkerView {
        let listeners = empty.listeners.iter();
        WorkerView {
            worker: empty.last,
            slot,
            set: empty.set,
            generation: empty.generation,
            phase: match empty.state {
                SlotState::Waiting { .. } | SlotState::AwaitsRoom => "waiting",
                SlotState::GivenUp => "given-up",
            },
            uptime: now.since(empty.since),
            restarts: self.restarts.recent(now, slot),
            age: None,
            usage: UsageView::default(),
            recycling: None,
            weight: None,
            listeners: listeners.map(|(id, it)| (*id, it.endpoint)).collect(),
            health: None,
        }
    }

    /// What the supervisor is doing: `starting`, `serving`, `reloading`, `recycling`, `canary`, `soaking` or `stopping`.
    pub fn phase_name(&self) -> &'static str {
        let kind = self.rollout.as_ref().map(|rollout| rollout.kind);
        match (self.is_shutting_down(), kind) {
            (true, _) => "stopping",
            (false, _) if self.rollout.as_ref().is_some_and(Rollout::is_on_trial) => "canary",
            (false, _) if self.soak_deadline().is_some() => "soaking",
            (false, Some(ChangeKind::Start)) => "starting",
            (
                false,
                Some(
                    ChangeKind::Reload
                    | ChangeKind::Restart
                    | ChangeKind::Scale
                    | ChangeKind::Rollback,
                ),
            ) => "reloading",
            (false, Some(ChangeKind::Recycling)) => "recycling",
            (false, None) if self.is_reading() => "reloading",
            (false, None) if self.retirements.is_empty() => "serving",
            (false, None) if self.retirements.all_are(ChangeKind::Recycling) => "recycling",
            (false, None) => "reloading",
        }
    }

    /// How many workers there should be.
    pub fn workers_wanted(&self) -> u32 {
        self.wanted
    }

    /// Reloads that succeeded and that failed, since the start.
    pub fn reloads(&self) -> (u64, u64) {
        (self.tally.reloads, self.tally.reloads_failed)
    }

    /// Workers that were recycled since the start, and how often that failed.
    pub fn recyclings(&self) -> RecyclingTally {
        self.recyclings.tally()
    }

    /// Whether new connections are steered to this listener.
    pub fn is_live(&self, listener: ListenerId) -> bool {
        self.workers.is_live(listener)
    }

    /// The client of the reload whose workers are starting, if there is such a reload.
    #[cfg(test)]
    pub(in crate::fleet) fn reload_under_way(&self) -> Option<Option<ClientId>> {
        let rollout = self.rollout.as_ref();
        let reload = rollout.filter(|rollout| rollout.kind == ChangeKind::Reload);
        reload.map(|rollout| rollout.reply_to)
    }

    /// How many retirements are open, and the most crashes that are remembered of a slot: both must stay few.
    #[cfg(test)]
    pub(in crate::fleet) fn retained_counts(&self) -> (usize, usize) {
        (self.retirements.len(), self.restarts.longest())
    }
}

//! The beginning of a change: which slots get new workers, and on which listener sets.
//!
//! A change is made of whole sets (see [`listener_sets`](crate::fleet::listener_sets)). Its workers have
//! new ones, with two exceptions: a restart that fills an empty slot, whose set waits for somebody; and
//! where nothing is steered, every generation has the same.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Fleet;
use crate::fleet::listener::{Duty, Listener};
use crate::fleet::rollout::{Batch, Rollout};
use crate::fleet::slots::EmptySlot;
use crate::fleet::vocabulary::*;

impl Fleet {
    /// Begins a change that replaces the workers in these slots, and after which there are `wanted` workers.
    pub(super) fn begin(
        &mut self,
        now: Time,
        kind: ChangeKind,
        reply_to: Option<ClientId>,
        slots: &BTreeSet<Slot>,
        wanted: u32,
        addresses: Addresses,
    ) {
        let later = match self.is_rolling(kind) {
            true => self.parts(slots),
            false => VecDeque::from([slots.clone()]),
        };
        self.begin_parts(now, kind, reply_to, later, wanted, addresses);
        self.begin_next(now);
        // Nobody is waited for where there are only fewer workers.
        self.flip_if_ready(now);
    }

    /// Makes the change that replaces the workers in these parts, one after the other as there is room. None is begun yet.
    pub(super) fn begin_parts(
        &mut self,
        now: Time,
        kind: ChangeKind,
        reply_to: Option<ClientId>,
        later: VecDeque<BTreeSet<Slot>>,
        wanted: u32,
        addresses: Addresses,
    ) {
        let generation = match kind {
            ChangeKind::Start | ChangeKind::Reload => Generation(self.generations.newest.0 + 1),
            ChangeKind::Restart
            | ChangeKind::Scale
            | ChangeKind::Rollback
            | ChangeKind::Recycling => self.generations.serving,
        };
        self.generations.newest = self.generations.newest.max(generation);
        let slots: BTreeSet<Slot> = later.iter().flatten().copied().collect();
        let workers = slots.range(..Slot(wanted)).count();
        if workers > 0 {
            self.effects.push(Effect::Report(Progress {
                reply_to,
                after: Duration::ZERO,
                milestone: Milestone::Starting,
                kind,
                generation,
                workers,
            }));
        }
        let filled = self.slot_to_fill(kind, &slots);
        self.rollout = Some(Rollout {
            kind,
            reply_to,
            since: now,
            generation,
            wanted,
            retirement: self.retirements.next_id(),
            addresses,
            batch: Batch::to_come(),
            later,
            done: BTreeSet::new(),
            canary: None,
            filled,
            recycling: None,
        });
    }

    #[cfg(test)]
    pub(in crate::fleet) fn begin_in_batches(
        &mut self,
        now: Time,
        reply_to: Option<ClientId>,
        batches: VecDeque<BTreeSet<Slot>>,
    ) -> Vec<Effect> {
        let (kind, addresses) = (ChangeKind::Reload, Addresses::Owed);
        self.begin_parts(now, kind, reply_to, batches, self.wanted, addresses);
        self.begin_next(now);
        std::mem::take(&mut self.effects)
    }

    /// Starts the incoming workers of a batch of the change that is under way.
    pub(super) fn begin_batch(&mut self, now: Time, slots: BTreeSet<Slot>) {
        let Some(mut rollout) = self.rollout.take() else {
            return;
        };
        let before = std::mem::replace(&mut self.wanted, rollout.wanted);
        let incoming = self.spawn_batch(now, &rollout, &slots);
        self.wanted = before;
        // A worker that serves before the others do belongs to the same start, and so does its
        // replacement if it crashes.
        let replaced = match rollout.kind {
            ChangeKind::Start => BTreeSet::new(),
            ChangeKind::Reload
            | ChangeKind::Restart
            | ChangeKind::Scale
            | ChangeKind::Rollback
            | ChangeKind::Recycling => slots,
        };
        rollout.batch = Batch::new(replaced, incoming);
        self.rollout = Some(rollout);
    }

    /// Starts a worker in each of these slots that is wanted.
    pub(super) fn spawn_batch(
        &mut self,
        now: Time,
        rollout: &Rollout,
        slots: &BTreeSet<Slot>,
    ) -> BTreeSet<WorkerId> {
        let mut opened = BTreeMap::new();
        let mut incoming = BTreeSet::new();
        for slot in slots.range(..Slot(rollout.wanted)) {
            let (set, adopt) = match &rollout.filled {
                Some((_, empty)) => (empty.set, empty.listeners.clone()),
                None => (
                    self.set_for(*slot, &mut opened),
                    self.listeners_to_share(*slot, rollout.addresses),
                ),
            };
            incoming.insert(self.spawn(now, *slot, set, rollout.generation, adopt));
        }
        incoming
    }

    /// The empty slot that a restart is about, and whose listeners nobody else has.
    fn slot_to_fill(
        &mut self,
        kind: ChangeKind,
        slots: &BTreeSet<Slot>,
    ) -> Option<(Slot, EmptySlot)> {
        let is_alone = kind == ChangeKind::Restart && slots.len() == 1;
        let slot = slots.first().filter(|_| is_alone)?;
        Some((*slot, self.empty_slots.remove(*slot)?))
    }

    /// The listener set of a worker that a change starts: a new one for each index.
    pub(super) fn set_for(
        &mut self,
        slot: Slot,
        opened: &mut BTreeMap<u32, ListenerSetId>,
    ) -> ListenerSetId {
        let index = self.sets.index(slot);
        if let Some(set) = opened.get(&index) {
            return *set;
        }
        let set = match self.present_set(index) {
            Some(set) => set,
            None => self.sets.next_id(),
        };
        opened.insert(index, set);
        set
    }

    /// The set that is shared with the generation before: only where nothing is steered.
    fn present_set(&self, index: u32) -> Option<ListenerSetId> {
        if self.policy.steering {
            return None;
        }
        let workers = self.workers.iter();
        let workers = workers.map(|worker| (worker.slot, worker.set));
        let kept = self.empty_slots.iter();
        let kept = kept.map(|(slot, empty)| (slot, empty.set));
        let mut present = workers.chain(kept);
        present
            .find(|(slot, _)| self.sets.index(*slot) == index)
            .map(|(_, set)| set)
    }

    /// The listeners of its predecessor that an incoming worker has to use. With steering its set is new;
    /// without, it has that of the worker that it replaces.
    fn listeners_to_share(
        &self,
        slot: Slot,
        addresses: Addresses,
    ) -> BTreeMap<ListenerId, Listener> {
        if self.policy.steering {
            return BTreeMap::new();
        }
        let mut present = self.workers.in_slot(slot);
        let before = present.find(|worker| worker.is_serving());
        let mut shared = before.map_or_else(BTreeMap::new, |worker| worker.listeners.clone());
        if addresses == Addresses::MayChange {
            for listener in shared.values_mut() {
                listener.duty = Duty::Extra {
                    after: Duration::ZERO,
                };
            }
        }
        shared
    }
}

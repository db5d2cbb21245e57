//! Queues: which workers share listeners, and what that means for a change.
//!
//! The workers of a generation share K queues (`--queues`); by default each has its own. A queue is
//! one listener an endpoint (or more, where its workers open more), in as many workers as share it:
//! still one member of the endpoint's group.
//!
//! ```text
//!  slots of a generation    0   1   2   3   4        K = 2: slot i is of queue i mod K
//!  queues                   A   B   A   B   A        K not given: each slot has its own
//! ```
//!
//! A worker that dies leaves its queue to the others, and nothing is steered. But a worker that
//! shall leave cannot be kept from accepting while its queue goes on: it would never be quiet, and a
//! server that shuts its listener down when it stops would take the queue from all. So the unit of
//! every change is the queue: what replaces or removes one of its workers, or adds one, starts
//! workers on a new queue in all its slots, and the old queue retires whole.

use std::collections::{BTreeMap, BTreeSet};

use super::fleet::Fleet;
use super::respawn::Vacancy;
use super::vocabulary::*;
use super::worker::Worker;

impl Fleet {
    /// Which of its generation's queues a slot is of. Scaling moves no slot to another one.
    fn place(&self, slot: Slot) -> u32 {
        self.policy
            .queues
            .map_or(slot.0, |count| slot.0 % count.max(1))
    }

    /// These slots, and all others below `bound` that share their queues. Where nothing is steered
    /// there is but one queue in each place for ever, and it does not retire.
    pub(super) fn whole_queues(&self, slots: core::ops::Range<u32>, bound: u32) -> BTreeSet<Slot> {
        let slots: BTreeSet<Slot> = slots.map(Slot).collect();
        if !self.policy.steering || self.policy.queues.is_none() {
            return slots;
        }
        let places: BTreeSet<u32> = slots.iter().map(|slot| self.place(*slot)).collect();
        let all = (0..bound).map(Slot);
        all.filter(|slot| places.contains(&self.place(*slot)))
            .collect()
    }

    /// The queue of a worker that a change starts: a new one in each place.
    pub(super) fn queue_for(
        &mut self,
        slot: Slot,
        opened: &mut BTreeMap<u32, ListenerSetId>,
    ) -> ListenerSetId {
        let place = self.place(slot);
        let present = self.present_queue(place);
        *opened.entry(place).or_insert_with(|| {
            present.unwrap_or_else(|| {
                let id = ListenerSetId(self.next_listener_set);
                self.next_listener_set += 1;
                id
            })
        })
    }

    /// The queue that is shared with the generation before: only where nothing is steered.
    fn present_queue(&self, place: u32) -> Option<ListenerSetId> {
        if self.policy.steering {
            return None;
        }
        let workers = self.workers.values();
        let queues = workers.map(|worker| (worker.slot, worker.queue));
        let kept = self.vacancies.iter();
        let kept = kept.map(|(slot, vacancy)| (*slot, vacancy.queue));
        let mut present = queues.chain(kept);
        present
            .find(|(slot, _)| self.place(*slot) == place)
            .map(|(_, queue)| queue)
    }

    /// Those of these listeners that nobody accepts from, or will: who was told to stop does not,
    /// and who did not in its time is not counted on.
    pub(super) fn forsaken(&self, of: impl IntoIterator<Item = ListenerId>) -> Vec<ListenerId> {
        let takes = |worker: &&Worker| !worker.is_told() && !worker.is_overdue;
        let takers = self.workers.values().filter(takes);
        let waits = |vacancy: &&Vacancy| vacancy.until.is_some();
        let vacancies = self.vacancies.values().filter(waits);
        let taken: BTreeSet<ListenerId> = takers
            .map(|worker| &worker.listeners)
            .chain(vacancies.map(|vacancy| &vacancy.kept))
            .flat_map(|listeners| listeners.keys().copied())
            .collect();
        of.into_iter().filter(|id| !taken.contains(id)).collect()
    }

    /// Whether others have this listener, too.
    pub(super) fn is_shared(&self, listener: ListenerId, with: WorkerId) -> bool {
        let mut others = self.workers.values().filter(|other| other.id != with);
        others.any(|other| other.listeners.contains_key(&listener))
    }
}

//! A flip is taken back: a new worker died, and those that it replaced have not been told to stop.
//!
//! ```text
//!   flip ─► settling ─► quiescing ─► told to stop
//!    ▲          │            │
//!    └──────────┴────────────┘ a new worker ends: the old ones serve again, the new ones retire
//! ```
//! Once an old worker was told to stop there is no way back: then the end of a new one is a crash like any other.

use std::collections::BTreeMap;

use super::Fleet;
use super::flip::change_of;
use crate::fleet::phase::{Phase, Settled};
use crate::fleet::retirements::Course;
use crate::fleet::rollout::{Flipped, Rollout};
use crate::fleet::slots::{EmptySlot, SlotState};
use crate::fleet::vocabulary::*;
use crate::fleet::worker::{Role, Worker};

impl Fleet {
    /// A change has flipped for the last time. Without steering there is nothing to go back to: old workers are told at
    /// once, or accept from the very sockets that the new ones have.
    pub(super) fn note_flipped(
        &mut self,
        rollout: &Rollout,
        outgoing: &[WorkerId],
        before: (Generation, u32),
    ) {
        let may_go_back = self.policy.steering
            && rollout.later.is_empty()
            && !outgoing.is_empty()
            && !rollout.batch.incoming().is_empty();
        let (generation, wanted) = before;
        self.flipped = may_go_back.then(|| Flipped {
            rollout: rollout.clone(),
            outgoing: outgoing.to_vec(),
            generation,
            wanted,
        });
    }

    /// Whether the end of this worker takes the last flip back.
    pub(super) fn is_flipped_back(&self, id: WorkerId) -> bool {
        let serves = self.workers.get(id).is_some_and(Worker::is_serving);
        let flipped = self.flipped.as_ref().filter(|it| it.rollout.has(id));
        let may_serve = |id: &WorkerId| self.workers.get(*id).is_some_and(may_serve_again);
        serves
            && !self.is_shutting_down()
            && flipped.is_some_and(|it| it.outgoing.iter().all(may_serve))
    }

    /// The order is that of the flip: those that serve again do so before the others retire, so that one effect steers
    /// to them and away from the others.
    pub(super) fn flip_back(&mut self, now: Time, id: WorkerId, exit: Exit) {
        let (Some(flipped), Some(dead)) = (self.flipped.take(), self.workers.remove(id)) else {
            return;
        };
        let rollout = &flipped.rollout;
        self.generations.serving = flipped.generation;
        self.wanted = flipped.wanted;
        if rollout.kind == ChangeKind::Reload {
            self.tally.reloads -= 1;
            self.tally.reloads_failed += 1;
        }
        self.serve_again(now, &flipped);
        self.retirements.failed(rollout.retirement);
        let incoming = rollout.batch.incoming().iter().copied();
        let retiring: Vec<WorkerId> = incoming
            .filter(|id| self.workers.get(*id).is_some())
            .collect();
        let retirement = self.retirements.next_id();
        self.retirements
            .add(retirement, change_of(rollout), Course::Failed, &retiring);
        self.retire(now, &retiring);
        self.steer();
        let left = self.unserved_listeners(dead.listeners.keys().copied());
        self.drain_backlog(id, left);
        self.release(dead.listeners.into_keys());
        self.effects.push(Effect::Reply {
            reply_to: rollout.reply_to,
            result: ChangeResult::Failed {
                kind: rollout.kind,
                failure: Failure::died(id, dead.slot, exit),
            },
        });
    }

    fn serve_again(&mut self, now: Time, flipped: &Flipped) {
        let slots = &flipped.rollout.batch.replaced;
        let in_slots = slots.iter().flat_map(|slot| self.workers.in_slot(*slot));
        let is_old = |worker: &&Worker| {
            worker.generation == flipped.generation && !flipped.rollout.has(worker.id)
        };
        let others = in_slots.filter(is_old);
        let (again, between): (Vec<_>, Vec<_>) = others.partition(|it| may_serve_again(it));
        // A rescuer that was lost already is told in vain.
        let quiesces = |worker: &&Worker| matches!(worker.phase, Phase::Quiescing { .. });
        let is_rescued = self.policy.rescue && again.iter().any(quiesces);
        let ids = |workers: Vec<&Worker>| -> Vec<WorkerId> {
            workers.iter().map(|worker| worker.id).collect()
        };
        let between = between.into_iter().filter(|it| it.is_between_lives());
        let (again, between) = (ids(again), ids(between.collect()));
        for id in again.iter().chain(&between) {
            self.workers.change(*id, |worker| worker.role = Role::Serve);
            self.retirements.ended(*id);
        }
        for id in again {
            self.serve(id);
        }
        if is_rescued {
            let retirement = flipped.rollout.retirement;
            self.effects.push(Effect::GiveBack { retirement });
        }
        self.refill(now, flipped);
    }

    /// Slots that were empty before the flip, and whose next worker was needed no more, get one.
    fn refill(&mut self, now: Time, flipped: &Flipped) {
        for slot in flipped.rollout.batch.replaced.range(..Slot(flipped.wanted)) {
            let mut here = self.workers.in_slot(*slot);
            let is_old = |worker: &Worker| !flipped.rollout.has(worker.id) && !worker.is_leaving();
            if here.any(is_old) || self.empty_slots.get(*slot).is_some() {
                continue;
            }
            let set = match self.old_set(*slot, flipped) {
                Some(set) => set,
                None => self.sets.next_id(),
            };
            let empty = EmptySlot {
                generation: flipped.generation,
                set,
                listeners: BTreeMap::new(),
                state: SlotState::Waiting { until: now },
                last: flipped.outgoing[0],
                since: now,
            };
            self.empty_slots.insert(*slot, empty);
        }
    }

    /// The set that the workers of before share with this slot.
    fn old_set(&self, slot: Slot, flipped: &Flipped) -> Option<ListenerSetId> {
        let workers = self.workers.iter();
        let old = workers.filter(|it| !flipped.rollout.has(it.id) && !it.is_leaving());
        let old = old.map(|worker| (worker.slot, worker.set));
        let empty = self.empty_slots.iter();
        let mut all = old.chain(empty.map(|(slot, empty)| (slot, empty.set)));
        let index = self.sets.index(slot);
        all.find(|(other, _)| self.sets.index(*other) == index)
            .map(|(_, set)| set)
    }
}

/// Whether a worker that retires can serve again: it was not told to stop, and nobody prepares it for that.
fn may_serve_again(worker: &Worker) -> bool {
    match worker.phase {
        Phase::Settling { .. }
        | Phase::Quiescing {
            settled: Settled::Empty,
            ..
        } => true,
        // Nobody counts on it any more, and a rescuer accepts in its place.
        Phase::Quiescing {
            settled: Settled::TimedOut,
            ..
        } => false,
        Phase::Starting { .. }
        | Phase::Ready
        | Phase::Serving
        | Phase::PreparingStop { .. }
        | Phase::Draining { .. }
        | Phase::Killed { .. } => false,
    }
}

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
use super::backlog::with_endpoints;
use super::flip::change_of;
use crate::fleet::listener::Listener;
use crate::fleet::phase::{Phase, Settled, StopReason};
use crate::fleet::retirements::{Change, Course};
use crate::fleet::rollout::{Flipped, Rollout};
use crate::fleet::slots::EmptySlot;
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
            && rollout.done.is_empty()
            && rollout.batch.left.is_empty()
            && !outgoing.is_empty()
            && !rollout.batch.incoming().is_empty();
        let (generation, wanted) = before;
        self.flipped = may_go_back.then(|| Flipped {
            rollout: rollout.clone(),
            outgoing: outgoing.to_vec(),
            soak: None,
            generation,
            wanted,
        });
    }

    /// Whether the end of this worker takes the last flip back.
    pub(super) fn is_flipped_back(&mut self, id: WorkerId, exit: &Exit) -> bool {
        if self.soak_deadline().is_some() {
            return self.fails_soak(id, *exit == Exit::Daemonised) && self.may_flip_back();
        }
        let serves = self.workers.get(id).is_some_and(Worker::is_serving);
        let flipped = self.flipped.as_ref();
        serves && flipped.is_some_and(|it| it.rollout.has(id)) && self.may_flip_back()
    }

    /// Whether the last flip can be taken back. In a soak a worker may have died that stood by: its slot gets another.
    pub(super) fn may_flip_back(&self) -> bool {
        let Some(flipped) = self.flipped.as_ref().filter(|_| !self.is_shutting_down()) else {
            return false;
        };
        let may_serve = |id: &WorkerId| self.workers.get(*id).is_some_and(may_serve_again);
        let mut outgoing = flipped.outgoing.iter();
        match flipped.soak {
            Some(_) => outgoing.any(may_serve),
            None => outgoing.all(may_serve),
        }
    }

    /// The order is that of the flip: those that serve again do so before the others retire, so that one effect steers
    /// to them and away from the others.
    pub(super) fn flip_back(&mut self, now: Time, cause: Cause) {
        let Some(flipped) = self.flipped.take() else {
            return;
        };
        let rollout = &flipped.rollout;
        self.generations.serving = flipped.generation;
        self.wanted = flipped.wanted;
        // Those of the new workers say nothing of the old ones.
        self.restarts.forget(&rollout.batch.replaced);
        if rollout.kind == ChangeKind::Reload {
            self.tally.reloads -= 1;
            self.tally.reloads_failed += 1;
            self.put_back();
        }
        let dead = cause.dead().and_then(|id| self.workers.remove(id));
        let failure = cause.failure(dead.as_ref());
        let given_up = self.give_up_new_slots(&flipped);
        self.serve_again(now, &flipped);
        self.retirements.failed(rollout.retirement);
        self.retire_new(now, &flipped, &cause);
        for (last, listeners) in given_up
            .into_iter()
            .chain(dead.map(|it| (it.id, it.listeners)))
        {
            self.drain_unserved(last, with_endpoints(&listeners));
            self.release(listeners.into_keys());
        }
        self.effects.push(Effect::Reply {
            reply_to: rollout.reply_to,
            result: ChangeResult::Failed {
                kind: rollout.kind,
                failure,
                undone: 0,
            },
        });
        if let Some(recycling) = rollout.recycling {
            self.recyclings.undone();
            self.recycling_failed(now, recycling);
        }
    }

    /// New workers that serve retire, and those that start are told to stop.
    fn retire_new(&mut self, now: Time, flipped: &Flipped, cause: &Cause) {
        let new = self.workers.iter().filter(|it| flipped.is_new(it));
        let (serving, others): (Vec<_>, Vec<_>) = new.partition(|it| it.is_serving());
        let retiring: Vec<WorkerId> = serving.iter().map(|it| it.id).collect();
        let others = others.iter().filter(|it| !it.is_stopping());
        let starting: Vec<WorkerId> = others.map(|it| it.id).collect();
        let (change, course) = match cause {
            Cause::Died { .. } | Cause::Unhealthy { .. } => {
                (change_of(&flipped.rollout), Course::Failed)
            }
            Cause::Asked { reply_to } => {
                let change = Change {
                    kind: ChangeKind::Rollback,
                    reply_to: *reply_to,
                    since: now,
                    generation: flipped.generation,
                };
                (change, Course::Flipped)
            }
        };
        if let Cause::Asked { .. } = cause {
            self.report_rolled_back(now, &change);
        }
        let retirement = self.retirements.next_id();
        self.retirements.add(retirement, change, course, &retiring);
        self.retire(now, &retiring);
        // Where none of them serves: before anybody is told to stop.
        self.steer();
        for id in starting {
            self.stop(now, id, StopReason::RolledBack);
            // It was to accept what its predecessor left.
            let worker = self.workers.get(id);
            let listeners = worker.map_or_else(Vec::new, |it| with_endpoints(&it.listeners));
            self.drain_unserved(id, listeners);
        }
    }

    fn report_rolled_back(&mut self, now: Time, change: &Change) {
        let workers = self.workers.serving();
        let workers = workers.filter(|it| it.generation == change.generation);
        let progress = Progress {
            reply_to: change.reply_to,
            after: now.since(change.since),
            milestone: Milestone::Serving,
            kind: change.kind,
            generation: change.generation,
            workers: workers.count(),
        };
        self.effects.push(Effect::Report(progress));
    }

    /// Slots of the new generation that are empty get no worker: what was kept for it.
    fn give_up_new_slots(
        &mut self,
        flipped: &Flipped,
    ) -> Vec<(WorkerId, BTreeMap<ListenerId, Listener>)> {
        let is_new = |(_, empty): &(Slot, &EmptySlot)| flipped.is_new_generation(empty.generation);
        let new = self.empty_slots.iter().filter(is_new);
        let new: Vec<Slot> = new.map(|(slot, _)| slot).collect();
        let empty = new
            .into_iter()
            .filter_map(|slot| self.empty_slots.remove(slot));
        empty.map(|it| (it.last, it.listeners)).collect()
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
            self.serve(now, id);
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
            if here.any(|it| flipped.goes_on_with(it)) || self.empty_slots.get(*slot).is_some() {
                continue;
            }
            let set = match self.old_set(*slot, flipped) {
                Some(set) => set,
                None => self.sets.next_id(),
            };
            let last = flipped.outgoing[0];
            let empty = EmptySlot::waiting(flipped.generation, set, last, now, now);
            self.empty_slots.insert(*slot, empty);
        }
    }

    /// The set that the workers of before share with this slot.
    fn old_set(&self, slot: Slot, flipped: &Flipped) -> Option<ListenerSetId> {
        let workers = self.workers.iter();
        let old = workers.filter(|it| flipped.goes_on_with(it));
        let old = old.map(|worker| (worker.slot, worker.set));
        let empty = self.empty_slots.iter();
        let mut all = old.chain(empty.map(|(slot, empty)| (slot, empty.set)));
        let index = self.sets.index(slot);
        all.find(|(other, _)| self.sets.index(*other) == index)
            .map(|(_, set)| set)
    }
}

/// Why a flip is taken back.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    /// A new worker has ended.
    Died { id: WorkerId, exit: Exit },
    /// A new worker is unhealthy.
    Unhealthy { failure: Failure },
    /// Somebody asked for it.
    Asked { reply_to: Option<ClientId> },
}

impl Cause {
    fn dead(&self) -> Option<WorkerId> {
        match self {
            Self::Died { id, .. } => Some(*id),
            Self::Unhealthy { .. } | Self::Asked { .. } => None,
        }
    }

    fn failure(&self, dead: Option<&Worker>) -> Failure {
        match (self, dead) {
            (Self::Died { exit, .. }, Some(dead)) => {
                Failure::died(dead.id, dead.slot, exit.clone())
            }
            (Self::Unhealthy { failure }, _) => failure.clone(),
            (Self::Died { .. }, None) | (Self::Asked { .. }, _) => Failure::RolledBack,
        }
    }
}

/// Whether a worker that retires can serve again: it was not told to stop, and nobody prepares it for that.
fn may_serve_again(worker: &Worker) -> bool {
    if worker.is_drained() {
        return false;
    }
    match worker.phase {
        Phase::StandingBy
        | Phase::Settling { .. }
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

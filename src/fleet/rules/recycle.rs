//! Recycling: a worker that has reached a limit is replaced, as by a restart, and nobody has asked for it.
//!
//! ```text
//!  waits its turn ─► its replacement starts ─► flip ─► it retires like any other
//!     ▲                     │                    │
//!     └───── a pause ◄──────┴────────────────────┘ the replacement fails: the worker serves on
//! ```
//! One worker after the other, in the order in which they were asked for, and only when no other change is under way or
//! waits: what an operator asks for goes first. Nor is an operator turned away for a recycling, of which he knows
//! nothing: what he asks for waits until it has told its worker to stop ([`requests`](super::requests)).
//!
//! A worker that does not serve (any more) is not recycled: whoever has asked for it looks again.

use super::Fleet;
use crate::fleet::recyclings::Recycling;
use crate::fleet::vocabulary::*;
use crate::fleet::worker::Worker;

impl Fleet {
    /// A worker that serves is to be recycled. Asked for again, it changes nothing.
    pub(in crate::fleet) fn recycle(&mut self, now: Time, worker: WorkerId, why: RecycleReason) {
        let serves = self.workers.get(worker).is_some_and(Worker::is_serving);
        if !serves || self.is_shutting_down() || self.why_recycled(worker).is_some() {
            return;
        }
        self.recyclings.ask(now, worker, why);
        self.log(WorkerEvent::ToBeRecycled { worker, why });
    }

    /// The recycling that is under way, as long as it may fail.
    fn recycling_under_way(&self) -> Option<Recycling> {
        let flipped = self.flipped.as_ref().map(|it| &it.rollout);
        self.rollout.as_ref().or(flipped)?.recycling
    }

    /// Why a worker is to be recycled, or is being recycled.
    pub(super) fn why_recycled(&self, worker: WorkerId) -> Option<RecycleReason> {
        let under_way = self.recycling_under_way();
        let under_way = under_way.filter(|it| it.worker == worker);
        let waiting = || self.recyclings.why(worker);
        under_way.map(|it| it.why).or_else(waiting)
    }

    /// Begins the next recycling, if there is one and nothing else to do; false if none begins.
    pub(super) fn begin_recycling(&mut self, now: Time) -> bool {
        self.check_ages(now);
        if self.recyclings.is_empty() {
            return false;
        }
        let workers = &self.workers;
        self.recyclings
            .retain(|id| workers.get(id).is_some_and(Worker::is_serving));
        if !self.may_recycle() {
            return false;
        }
        while let Some(recycling) = self.recyclings.take_due(now) {
            if self.replace_recycled(now, recycling) {
                return true;
            }
        }
        false
    }

    /// Whether nothing else is to be done first. A slot that waits for its next worker is one: it is missed already. What
    /// nobody has asked for does not begin before there is room, for others would wait behind it.
    fn may_recycle(&self) -> bool {
        self.denial().is_none() && self.empty_slots.waiting() == 0 && self.has_room_for_one()
    }

    /// Replaces a worker, and those that share its queue; false if the bounds do not let that be.
    fn replace_recycled(&mut self, now: Time, recycling: Recycling) -> bool {
        let Some(Slot(slot)) = self.workers.get(recycling.worker).map(|it| it.slot) else {
            return false;
        };
        let slots = self.sets.whole(slot..slot + 1, self.slots_in_use());
        self.recyclings.began(&recycling);
        if self.without_room(&slots).is_some() {
            self.recycling_failed(now, recycling);
            return false;
        }
        let kind = ChangeKind::Recycling;
        let parts = [slots].into();
        self.begin_parts(now, kind, None, parts, self.wanted, Addresses::Owed);
        if let Some(rollout) = &mut self.rollout {
            rollout.recycling = Some(recycling);
        }
        self.begin_next(now);
        true
    }

    /// Its worker serves on, if it does: another replacement is tried after a while, if it is still needed.
    pub(super) fn recycling_failed(&mut self, now: Time, recycling: Recycling) {
        if self.is_shutting_down() {
            return;
        }
        if recycling.why == RecycleReason::Unhealthy && self.is_trusted(recycling.worker) {
            self.recyclings.given_up();
            return;
        }
        let (again, retry_in) = self.recyclings.failed(now, recycling);
        let worker = recycling.worker;
        if self.workers.get(worker).is_some_and(Worker::is_serving) {
            self.log(WorkerEvent::RecyclingFailed {
                worker,
                why: recycling.why,
                failures: again.failures,
                retry_in,
            });
        }
    }

    /// When a recycling is due; none while there is something to be done first, for nothing begins before its end.
    pub(super) fn recycling_deadline(&self) -> Option<Time> {
        let next = self.recyclings.next_deadline()?;
        self.may_recycle().then_some(next)
    }
}

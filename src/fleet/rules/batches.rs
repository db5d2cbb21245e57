//! Which slots a change replaces next, where it does not replace all at once.
//!
//! ```text
//!   to come ─► room for more workers ──► they start ─────────────────────────────► flip ─► to come …
//!       └────► some may be missing ────► they leave ─► are gone ─► others start ───► ▲
//! ```
//! The bounds hold at every moment: there are never more processes than are wanted and the surge, nor fewer that serve
//! than are wanted without those that may be missing. So the next batch waits until the workers that the one before has
//! replaced are gone, not only until they serve no more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Fleet;
use super::flip::change_of;
use crate::fleet::policy::Strategy;
use crate::fleet::retirements::Course;
use crate::fleet::rollout::{Rollout, Step};
use crate::fleet::slots::{EmptySlot, delay};
use crate::fleet::vocabulary::*;
use crate::fleet::worker::Worker;

/// What comes next of a change.
#[derive(Debug)]
struct Next {
    /// Slots in which new workers start beside those of before.
    starts: BTreeSet<Slot>,
    /// Slots whose workers leave before new ones start.
    leaves: BTreeSet<Slot>,
}

impl Next {
    fn starting(starts: BTreeSet<Slot>) -> Self {
        Self {
            starts,
            leaves: BTreeSet::new(),
        }
    }
}

impl Fleet {
    /// These slots, as they can be replaced one after the other: those of one set together. First where nobody serves,
    /// because that takes nobody away.
    pub(super) fn parts(&self, slots: &BTreeSet<Slot>) -> VecDeque<BTreeSet<Slot>> {
        let mut by_set: BTreeMap<u32, BTreeSet<Slot>> = BTreeMap::new();
        for slot in slots {
            let part = by_set.entry(self.sets.index(*slot)).or_default();
            part.insert(*slot);
        }
        let (serving, others): (VecDeque<_>, VecDeque<_>) = by_set
            .into_values()
            .partition(|part| self.serving_in(part) > 0);
        others.into_iter().chain(serving).collect()
    }

    /// Begins what comes next of the change that is under way, if there is room for it.
    pub(super) fn begin_next(&mut self, now: Time) {
        let is_to_come = |rollout: &mut Rollout| rollout.batch.step == Step::Room;
        let Some(mut rollout) = self.rollout.take_if(is_to_come) else {
            return;
        };
        let Some(next) = self.next(&mut rollout) else {
            self.rollout = Some(rollout);
            return;
        };
        let leaving = next
            .leaves
            .iter()
            .flat_map(|slot| self.workers.in_slot(*slot));
        let leaving = leaving.filter(|worker| worker.is_serving());
        let left: BTreeMap<Slot, WorkerId> = leaving.map(|it| (it.slot, it.id)).collect();
        let workers: Vec<WorkerId> = left.values().copied().collect();
        let (retirement, change) = (rollout.retirement, change_of(&rollout));
        self.rollout = Some(rollout);
        self.begin_batch(now, next.starts);
        if let Some(rollout) = self.rollout.as_mut().filter(|_| !next.leaves.is_empty()) {
            rollout.batch.leave(next.leaves, left);
        }
        if !workers.is_empty() {
            self.retirements
                .add(retirement, change, Course::GoesOn, &workers);
            self.retire(now, &workers);
        }
        // Where nobody has to go first.
        self.fill_left(now);
    }

    /// Takes from a change the slots for which there is room; none if it has to wait.
    fn next(&self, rollout: &mut Rollout) -> Option<Next> {
        let bounds = match self.policy.strategy {
            Strategy::Rolling(bounds) if self.is_rolling(rollout.kind) => bounds,
            Strategy::AllAtOnce | Strategy::Rolling(_) => {
                return Some(Next::starting(
                    rollout.later.pop_front().unwrap_or_default(),
                ));
            }
        };
        let room = self.room(rollout);
        if rollout.canary.is_some() {
            let fits = rollout.later.front().is_some_and(|part| part.len() <= room);
            return fits.then(|| Next::starting(rollout.later.pop_front().unwrap_or_default()));
        }
        // Where nobody is wanted any more, nobody starts: such a part always fits, and leaves at once.
        let wanted = Slot(rollout.wanted);
        let starts = fitting(&mut rollout.later, room, |part| {
            Some(part.range(..wanted).count())
        });
        let least = rollout.wanted.min(self.wanted);
        let missing = (least as usize).saturating_sub(self.workers.serving().count());
        let unavailable = bounds.unavailable(least) as usize;
        let may_leave = unavailable.saturating_sub(missing);
        let mut leaves = fitting(&mut rollout.later, may_leave, |part| {
            Some(self.serving_in(part)).filter(|count| *count > 0 && !self.is_starting_in(part))
        });
        // Who was to come again makes room like one who leaves. Others of the old version go on trying.
        leaves.extend(fitting(&mut rollout.later, unavailable, |part| {
            self.waits_in(part).then_some(part.len())
        }));
        let is_over = rollout.later.is_empty();
        let is_nothing = starts.is_empty() && leaves.is_empty() && !is_over;
        (!is_nothing).then_some(Next { starts, leaves })
    }

    /// Starts workers in the place of those of the batch that have left.
    pub(super) fn fill_left(&mut self, now: Time) {
        let leaves = |rollout: &Rollout| rollout.batch.step == Step::Leaving;
        let Some(rollout) = self.rollout.clone().filter(leaves) else {
            return;
        };
        let (slots, mut left) = (&rollout.batch.leaving, rollout.batch.left.values());
        // What an earlier change has told to stop may be there still.
        let has_room = slots.range(..Slot(rollout.wanted)).count() <= self.room(&rollout);
        if !has_room || left.any(|id| self.workers.get(*id).is_some()) {
            return;
        }
        let incoming = self.spawn_batch(now, &rollout, slots);
        if let Some(rollout) = &mut self.rollout {
            rollout.batch.fill(incoming);
        }
    }

    /// A change has failed that had taken workers away: each slot that has none gets another all the same, as after a
    /// crash.
    pub(super) fn refill_left(&mut self, now: Time, rollout: &Rollout) {
        let left = rollout.batch.left.values();
        let Some(last) = left.chain(rollout.batch.incoming()).next().copied() else {
            return;
        };
        // Who comes again to a slot of the same set listens where the others did.
        let coming = self
            .empty_slots
            .iter()
            .filter(|(_, empty)| empty.is_coming());
        let mut opened: BTreeMap<u32, ListenerSetId> = coming
            .map(|(slot, empty)| (self.sets.index(slot), empty.set))
            .collect();
        for slot in rollout.slots().range(..Slot(self.wanted)) {
            let is_filled = self.workers.in_slot(*slot).any(Worker::stays);
            if is_filled || self.empty_slots.get(*slot).is_some() {
                continue;
            }
            let set = self.set_for(*slot, &mut opened);
            // As after a second crash: at once has just failed.
            let until = now.plus(delay(2));
            let generation = self.generations.serving;
            let empty = EmptySlot::waiting(generation, set, last, now, until);
            self.empty_slots.insert(*slot, empty);
        }
    }

    /// Replaces again what a change had replaced that has failed then, by workers as before.
    pub(super) fn undo(&mut self, now: Time, rollout: &Rollout) {
        let left = rollout.batch.left.keys().copied().collect();
        let slots = &rollout.done | &left;
        self.begin(
            now,
            ChangeKind::Rollback,
            None,
            &slots,
            self.wanted,
            Addresses::Owed,
        );
    }
}

/// Takes parts in their order, those that fit: one that is too large must not hold up the others, of which one may be what
/// makes room. `takes`: how many workers a part counts for; none if it does not suit.
fn fitting(
    later: &mut VecDeque<BTreeSet<Slot>>,
    mut room: usize,
    takes: impl Fn(&BTreeSet<Slot>) -> Option<usize>,
) -> BTreeSet<Slot> {
    let mut taken = BTreeSet::new();
    later.retain(|part| {
        let left = takes(part).and_then(|count| room.checked_sub(count));
        if let Some(left) = left {
            room = left;
            taken.extend(part);
        }
        left.is_none()
    });
    taken
}

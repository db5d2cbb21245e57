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
    /// Whether a change of this kind stays within the bounds.
    pub(super) fn is_rolling(&self, kind: ChangeKind) -> bool {
        match (self.policy.strategy, kind) {
            (Strategy::AllAtOnce, _) | (_, ChangeKind::Start | ChangeKind::Scale) => false,
            (
                Strategy::Rolling(_),
                ChangeKind::Reload
                | ChangeKind::Restart
                | ChangeKind::Rollback
                | ChangeKind::Recycling,
            ) => true,
        }
    }

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

    /// The slots that are left where nobody makes room by himself.
    ///
    /// Where nobody serves, nobody is missed: a worker that never comes must not hold up what may mend it. Else one leaves
    /// that is not wanted any more.
    fn make_room(&self, rollout: &mut Rollout) -> BTreeSet<Slot> {
        let unserved = fitting(&mut rollout.later, 0, |part| self.serving_in(part));
        match unserved.is_empty() {
            true => surplus(&mut rollout.later, Slot(rollout.wanted)),
            false => unserved,
        }
    }

    /// How many workers serve in these slots.
    fn serving_in(&self, part: &BTreeSet<Slot>) -> usize {
        let workers = part.iter().flat_map(|slot| self.workers.in_slot(*slot));
        workers.filter(|worker| worker.is_serving()).count()
    }

    /// How many workers can only be replaced together, if the bounds are closer than that.
    pub(super) fn without_room(&self, slots: &BTreeSet<Slot>) -> Option<usize> {
        let Strategy::Rolling(bounds) = self.policy.strategy else {
            return None;
        };
        let largest = self.parts(slots).iter().map(BTreeSet::len).max()?;
        let most = bounds
            .surge(self.wanted)
            .max(bounds.unavailable(self.wanted));
        (largest > most as usize).then_some(largest)
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
        // Those that would come take room, and what they come for is replaced.
        let between = self.keep_only_to_drain(now, &next.leaves, &rollout);
        let here = next.leaves.iter();
        let here = here.flat_map(|slot| self.workers.in_slot(*slot));
        let serving = here.filter(|worker| worker.is_serving());
        let workers: Vec<WorkerId> = serving.map(|it| it.id).collect();
        // One that an earlier flip left to drain is counted there.
        let is_new = |id: &&WorkerId| self.retirements.of(**id).is_none();
        let between = between.iter().filter(is_new);
        let leaving: Vec<WorkerId> = workers.iter().chain(between).copied().collect();
        let each = leaving.iter().filter_map(|id| self.workers.get(*id));
        let left: BTreeMap<Slot, WorkerId> = each.map(|it| (it.slot, it.id)).collect();
        let (retirement, change) = (rollout.retirement, change_of(&rollout));
        self.rollout = Some(rollout);
        self.begin_batch(now, next.starts);
        if let Some(rollout) = &mut self.rollout {
            rollout.batch.replaced.extend(&next.leaves);
            (rollout.batch.leaving, rollout.batch.left) = (next.leaves, left);
        }
        if !leaving.is_empty() {
            self.retirements
                .add(retirement, change, Course::GoesOn, &leaving);
            self.retire(now, &workers);
        }
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
        let wanted = Slot(rollout.wanted);
        let starts = fitting(&mut rollout.later, room, |part| {
            part.range(..wanted).count()
        });
        let least = rollout.wanted.min(self.wanted);
        let missing = (least as usize).saturating_sub(self.workers.serving().count());
        let may_leave = (bounds.unavailable(least) as usize).saturating_sub(missing);
        let mut leaves = fitting(&mut rollout.later, may_leave, |part| {
            match self.serving_in(part) {
                // In the place of these others start when there is room.
                0 => usize::MAX,
                count => count,
            }
        });
        let is_stuck =
            starts.is_empty() && leaves.is_empty() && self.workers.iter().all(Worker::stays);
        if is_stuck {
            leaves = self.make_room(rollout);
        }
        let is_over = rollout.later.is_empty();
        let is_nothing = starts.is_empty() && leaves.is_empty() && !is_over;
        (!is_nothing).then_some(Next { starts, leaves })
    }

    /// How many more workers may run while some are replaced within bounds. A slot whose next worker waits is as good as
    /// taken. Where the number changes, too, the bounds are those around both.
    fn room(&self, rollout: &Rollout) -> usize {
        let running = self.workers.len() + self.empty_slots.waiting();
        match self.policy.strategy {
            Strategy::AllAtOnce => usize::MAX,
            Strategy::Rolling(bounds) => {
                let wanted = rollout.wanted.max(self.wanted);
                let most = (wanted + bounds.surge(wanted)) as usize;
                most.saturating_sub(running)
            }
        }
    }

    /// Starts workers in the place of those of the batch that have left.
    pub(super) fn fill_left(&mut self, now: Time) {
        let Some(rollout) = &self.rollout else {
            return;
        };
        let mut left = rollout.batch.left.values();
        let count = rollout.batch.leaving.len();
        // What an earlier change has told to stop may be there still.
        let has_room = count <= self.room(rollout);
        if count == 0 || !has_room || left.any(|id| self.workers.get(*id).is_some()) {
            return;
        }
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let slots = std::mem::take(&mut rollout.batch.leaving);
        let rollout = rollout.clone();
        let incoming = self.spawn_batch(now, &rollout, &slots);
        if let Some(rollout) = &mut self.rollout {
            rollout.batch.add(incoming);
        }
    }

    /// A change has failed that had taken workers away: each slot that has none gets another all the same, as after a
    /// crash.
    pub(super) fn refill_left(&mut self, now: Time, rollout: &Rollout) {
        let left = rollout.batch.left.values();
        let last = left.chain(rollout.batch.incoming()).next().copied();
        let last = last.unwrap_or(WorkerId(0));
        let mut opened = BTreeMap::new();
        for slot in rollout.slots().range(..Slot(self.wanted)) {
            if self.is_filled(*slot) {
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

    /// Whether a slot has a worker that stays, or is known to have none.
    fn is_filled(&self, slot: Slot) -> bool {
        let mut here = self.workers.in_slot(slot);
        here.any(Worker::stays) || self.empty_slots.get(slot).is_some()
    }

    /// Replaces again what a change had replaced that has failed then, by workers as before.
    pub(super) fn undo(&mut self, now: Time, rollout: &Rollout) {
        let left = rollout.batch.left.keys().copied();
        // What waited for its next worker there has made room.
        let replaced = rollout.batch.replaced.range(..Slot(self.wanted));
        let bare = replaced.filter(|slot| !self.is_filled(**slot)).copied();
        let left: BTreeSet<Slot> = left.chain(bare).collect();
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

/// Takes a part from the back in whose slots nobody is wanted any more: where there is no surge, nothing else makes room.
fn surplus(later: &mut VecDeque<BTreeSet<Slot>>, wanted: Slot) -> BTreeSet<Slot> {
    let last = later.back().and_then(BTreeSet::first);
    let part = match last.is_some_and(|slot| *slot >= wanted) {
        true => later.pop_back(),
        false => None,
    };
    part.unwrap_or_default()
}

/// Takes parts in their order, those that fit: one that is too large must not hold up the others, of which one may be what
/// makes room. `takes`: how many workers a part counts for.
fn fitting(
    later: &mut VecDeque<BTreeSet<Slot>>,
    mut room: usize,
    takes: impl Fn(&BTreeSet<Slot>) -> usize,
) -> BTreeSet<Slot> {
    let mut taken = BTreeSet::new();
    later.retain(|part| {
        let left = room.checked_sub(takes(part));
        if let Some(left) = left {
            room = left;
            taken.extend(part);
        }
        left.is_none()
    });
    taken
}

//! How many workers may run, and how many may be missing, while some are replaced after the others.

use std::collections::BTreeSet;

use super::Fleet;
use crate::fleet::policy::Strategy;
use crate::fleet::rollout::Rollout;
use crate::fleet::vocabulary::*;
use crate::fleet::worker::Worker;

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

    /// How many more workers may run while some are replaced within bounds.
    pub(super) fn room(&self, rollout: &Rollout) -> usize {
        let rollout = Some(rollout);
        let most = self.most_running(rollout);
        most.saturating_sub(self.running(rollout))
    }

    /// How many workers there are and are to come. A slot whose next worker waits is as good as taken, unless the change
    /// takes it.
    fn running(&self, rollout: Option<&Rollout>) -> usize {
        let is_taken = |slot| rollout.is_some_and(|it| it.batch.leaving.contains(&slot));
        let waiting = self.empty_slots.iter();
        let waiting = waiting.filter(|(slot, empty)| empty.is_coming() && !is_taken(*slot));
        self.workers.len() + waiting.count()
    }

    /// Where the number changes, too, the bounds are those around all: what is wanted, what was, and what is there, as
    /// after a change to more workers that has failed. Those that are too many leave with the last batch, which must not
    /// wait for them.
    fn most_running(&self, rollout: Option<&Rollout>) -> usize {
        let bounds = match self.policy.strategy {
            Strategy::AllAtOnce => return usize::MAX,
            Strategy::Rolling(bounds) => bounds,
        };
        let serving = self.workers.serving().map(|worker| worker.slot);
        let leaving = rollout.into_iter().flat_map(|it| &it.batch.leaving);
        let taken: BTreeSet<Slot> = serving.chain(leaving.copied()).collect();
        let changed = rollout.map_or(0, |it| it.wanted);
        let wanted = changed.max(self.wanted).max(taken.len() as u32);
        // What has to be undone is, also where the number of workers has come to be too small for the bounds.
        let least = rollout.and_then(|it| self.without_room(&it.slots()));
        let surge = bounds.surge(wanted) as usize;
        wanted as usize + surge.max(least.unwrap_or(0))
    }

    /// Whether a slot's next worker has to wait. The change that takes away the others of its set will start it. And
    /// beside one of that slot that was told to stop, as the worker of a change that has failed, more would run than the
    /// bounds allow. After a crash nothing else is waited for.
    pub(super) fn has_no_room(&self, slot: Slot) -> bool {
        let rollout = self.rollout.as_ref();
        let is_to_be_filled = rollout.is_some_and(|it| it.batch.leaving.contains(&slot));
        let is_crowded = self.running(rollout) > self.most_running(rollout);
        is_to_be_filled || is_crowded && self.workers.in_slot(slot).any(Worker::is_stopping)
    }

    /// How many workers serve in these slots.
    pub(super) fn serving_in(&self, part: &BTreeSet<Slot>) -> usize {
        let workers = part.iter().flat_map(|slot| self.workers.in_slot(*slot));
        workers.filter(|worker| worker.is_serving()).count()
    }

    /// Whether a worker is coming in these slots: it is waited for what becomes of it.
    pub(super) fn is_starting_in(&self, part: &BTreeSet<Slot>) -> bool {
        let mut workers = part.iter().flat_map(|slot| self.workers.in_slot(*slot));
        workers.any(Worker::is_between_lives)
    }

    /// Whether nobody is in these slots, and somebody is to come again.
    pub(super) fn waits_in(&self, part: &BTreeSet<Slot>) -> bool {
        let mut workers = part.iter().flat_map(|slot| self.workers.in_slot(*slot));
        let is_empty = workers.next().is_none();
        is_empty && part.iter().any(|slot| self.empty_slots.is_coming(*slot))
    }

    /// Whether nobody has to come, or to go, before one worker more can be replaced.
    pub(super) fn has_room_for_one(&self) -> bool {
        let mut workers = self.workers.iter();
        self.running(None) < self.most_running(None) || !workers.any(Worker::is_between_lives)
    }
}

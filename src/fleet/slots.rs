//! Slots without a worker, and how often workers of a slot have died.
//!
//! A dead worker's listeners are kept with its slot for the replacement, so that what waits on them is
//! answered and not reset.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::listener::Listener;
use super::vocabulary::*;

/// The first delay that is not zero; it doubles with each crash.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(10);

/// A slot without a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EmptySlot {
    pub(super) generation: Generation,
    pub(super) set: ListenerSetId,
    pub(super) listeners: BTreeMap<ListenerId, Listener>,
    pub(super) state: SlotState,
    /// The worker that was here last.
    pub(super) last: WorkerId,
    pub(super) since: Time,
}

/// What becomes of an empty slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SlotState {
    /// A worker is started in it then.
    Waiting { until: Time },
    /// One is when the bounds of a rolling change let it.
    AwaitsRoom,
    /// None is, until somebody asks for it.
    GivenUp,
}

/// All slots without a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EmptySlots(BTreeMap<Slot, EmptySlot>);

impl EmptySlot {
    /// One that nothing was kept for, and that gets its next worker then.
    pub(super) fn waiting(
        generation: Generation,
        set: ListenerSetId,
        last: WorkerId,
        since: Time,
        until: Time,
    ) -> Self {
        Self {
            generation,
            set,
            listeners: BTreeMap::new(),
            state: SlotState::Waiting { until },
            last,
            since,
        }
    }

    fn due(&self) -> Option<Time> {
        match self.state {
            SlotState::Waiting { until } => Some(until),
            SlotState::AwaitsRoom | SlotState::GivenUp => None,
        }
    }

    /// Whether a worker will be started in it.
    pub(super) fn is_coming(&self) -> bool {
        match self.state {
            SlotState::Waiting { .. } | SlotState::AwaitsRoom => true,
            SlotState::GivenUp => false,
        }
    }

    fn is_due(&self, now: Time) -> bool {
        match self.state {
            SlotState::Waiting { until } => until <= now,
            SlotState::AwaitsRoom => true,
            SlotState::GivenUp => false,
        }
    }
}

impl EmptySlots {
    pub(super) fn insert(&mut self, slot: Slot, empty: EmptySlot) {
        self.0.insert(slot, empty);
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<EmptySlot> {
        self.0.remove(&slot)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&EmptySlot> {
        self.0.get(&slot)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &EmptySlot)> {
        self.0.iter().map(|(slot, empty)| (*slot, empty))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a slot is empty, and waits for its next worker.
    pub(super) fn is_coming(&self, slot: Slot) -> bool {
        self.0.get(&slot).is_some_and(EmptySlot::is_coming)
    }

    /// How many wait for their next worker.
    pub(super) fn waiting(&self) -> usize {
        self.0.values().filter(|empty| empty.is_coming()).count()
    }

    pub(super) fn all_are_given_up(&self) -> bool {
        !self.0.values().any(EmptySlot::is_coming)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.0.values().filter_map(EmptySlot::due).min()
    }

    /// The slots in which a worker is to be started now.
    pub(super) fn due(&self, now: Time) -> Vec<Slot> {
        let due = self.iter().filter(|(_, empty)| empty.is_due(now));
        due.map(|(slot, _)| slot).collect()
    }

    /// None is started in it before there is room.
    pub(super) fn await_room(&mut self, slot: Slot) {
        if let Some(empty) = self.0.get_mut(&slot) {
            empty.state = SlotState::AwaitsRoom;
        }
    }

    /// The slot that this worker left empty.
    pub(super) fn left_by(&self, worker: WorkerId) -> Option<Slot> {
        let mut all = self.iter();
        all.find(|(_, empty)| empty.last == worker)
            .map(|(slot, _)| slot)
    }

    /// Whether a listener is kept for a replacement, or for one that somebody may ask for.
    pub(super) fn keep(&self, listener: ListenerId) -> bool {
        let mut all = self.0.values();
        all.any(|empty| empty.listeners.contains_key(&listener))
    }

    /// Whether a listener is kept for a replacement that will come.
    pub(super) fn will_serve(&self, listener: ListenerId) -> bool {
        let mut waiting = self.0.values().filter(|empty| empty.is_coming());
        waiting.any(|empty| empty.listeners.contains_key(&listener))
    }

    /// The listeners that are kept for replacements that will come.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Listener> {
        let waiting = self.0.values().filter(|empty| empty.is_coming());
        waiting.flat_map(|empty| empty.listeners.values())
    }

    /// No worker is started in them any more, so they must not wake anybody.
    pub(super) fn give_up_all(&mut self) {
        for empty in self.0.values_mut() {
            empty.state = SlotState::GivenUp;
        }
    }

    /// Gives a slot up: the worker that was there last, and the listeners that are not kept any more.
    pub(super) fn give_up(
        &mut self,
        slot: Slot,
    ) -> Option<(WorkerId, BTreeMap<ListenerId, Listener>)> {
        let empty = self.0.get_mut(&slot)?;
        empty.state = SlotState::GivenUp;
        Some((empty.last, std::mem::take(&mut empty.listeners)))
    }

    /// Forgets all; the listeners that were kept.
    pub(super) fn take_listeners(&mut self) -> BTreeSet<ListenerId> {
        let all = std::mem::take(&mut self.0);
        let kept = all.into_values();
        kept.flat_map(|empty| empty.listeners.into_keys()).collect()
    }
}

/// When workers of each slot died.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Restarts {
    crashes: BTreeMap<Slot, Vec<Time>>,
    window: Duration,
}

impl Restarts {
    /// `window`: for how long a crash counts.
    pub(super) fn new(window: Duration) -> Self {
        Self {
            crashes: BTreeMap::new(),
            window,
        }
    }

    /// For how long a crash counts from now on.
    pub(super) fn set_window(&mut self, window: Duration) {
        self.window = window;
    }

    /// A worker of the slot has died; how many have within the window.
    pub(super) fn crashed(&mut self, now: Time, slot: Slot) -> usize {
        let window = self.window;
        let crashes = self.crashes.entry(slot).or_default();
        crashes.push(now);
        crashes.retain(|at| now.since(*at) < window);
        crashes.len()
    }

    /// How many workers of the slot have died within the window.
    pub(super) fn recent(&self, now: Time, slot: Slot) -> u32 {
        let crashes = self.crashes.get(&slot).into_iter().flatten();
        let recent = crashes.filter(|at| now.since(**at) < self.window);
        u32::try_from(recent.count()).unwrap_or(u32::MAX)
    }

    /// New workers, new luck.
    pub(super) fn forget(&mut self, slots: &BTreeSet<Slot>) {
        self.crashes.retain(|slot, _| !slots.contains(slot));
    }

    /// The most crashes that are remembered of one slot.
    #[cfg(test)]
    pub(super) fn longest(&self) -> usize {
        self.crashes.values().map(Vec::len).max().unwrap_or(0)
    }
}

/// The delay before the restart after the nth crash within the window.
pub(super) fn delay(crashes: usize) -> Duration {
    match u32::try_from(crashes).unwrap_or(u32::MAX) {
        0 | 1 => Duration::ZERO,
        nth => FIRST_DELAY
            .saturating_mul(1 << (nth - 2).min(16))
            .min(MAX_DELAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_and_then_they_slow_down() {
        let delays: Vec<u128> = (1..=9).map(|nth| delay(nth).as_millis()).collect();
        assert_eq!(delays, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000]);
        assert_eq!(delay(usize::MAX), MAX_DELAY);
    }
}

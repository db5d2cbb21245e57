//! Listener sets: which workers share listeners, and what that means for a change.
//!
//! The workers of a generation share K sets of listeners (`--queues`); by default each has its own. A set is
//! one listener an endpoint (or more, where its workers open more), in as many workers as share it: still
//! one member of the endpoint's group.
//!
//! ```text
//!  slots of a generation    0   1   2   3   4        K = 2: slot i is of set i mod K
//!  sets                     A   B   A   B   A        K not given: each slot has its own
//! ```
//!
//! A worker that dies leaves its set to the others, and nothing is steered. But a worker that must leave
//! cannot be kept from accepting while its set goes on: it would never be quiet, and a server that shuts
//! its listener down when it stops would take the set from all. So the unit of every change is the set:
//! what replaces or removes one of its workers, or adds one, starts workers on a new set in all its slots,
//! and the old set retires whole.

use core::ops::Range;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::policy::Policy;
use super::vocabulary::{ListenerSetId, Slot};

/// Gives out listener sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListenerSets {
    /// How many the workers of a generation share; none: each worker has its own.
    count: Option<u32>,
    steering: bool,
    next: u64,
}

impl ListenerSets {
    pub(super) fn new(policy: &Policy) -> Self {
        Self {
            count: policy.queues,
            steering: policy.steering,
            next: 0,
        }
    }

    pub(super) fn next_id(&mut self) -> ListenerSetId {
        let id = ListenerSetId(self.next);
        self.next += 1;
        id
    }

    /// Which of its generation's sets a slot is of. Scaling moves no slot to another one.
    pub(super) fn index(&self, slot: Slot) -> u32 {
        self.count.map_or(slot.0, |count| slot.0 % count.max(1))
    }

    /// These slots, and all others below `bound` that share their sets. Where nothing is steered there is
    /// but one set for each index for ever, and it does not retire.
    pub(super) fn whole(&self, slots: Range<u32>, bound: u32) -> BTreeSet<Slot> {
        let slots: BTreeSet<Slot> = slots.map(Slot).collect();
        if !self.steering || self.count.is_none() {
            return slots;
        }
        let indexes: BTreeSet<u32> = slots.iter().map(|slot| self.index(*slot)).collect();
        let all = (0..bound).map(Slot);
        all.filter(|slot| indexes.contains(&self.index(*slot)))
            .collect()
    }
}

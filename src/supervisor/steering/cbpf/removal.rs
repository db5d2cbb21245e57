//! Taking listeners out of their group.
//!
//! When a listener leaves, the kernel moves the last one of the group to its index, under a program that
//! names indexes. So closes come between two programs: the first is right until the last listener has
//! left, the second for what is left. Sometimes there is no such first program (one live listener, at the
//! last index, and several that must go); then those that leave wait, empty and without new connections,
//! until another listener has joined.
//!
//! A listener is hidden before it is closed ([`closing`](crate::supervisor::steering::closing)).
//!
//! All that leave together leave under one list, one plan and as few programs as there can be. When a
//! thousand workers exit one by one, each listener alone would cost a look at the whole group; so a
//! listener waits for others as long as many more are about to follow it.
//!
//! What we believe of a group is checked before each plan and after each close, not trusted: a process that
//! we do not know may still have a listener that we closed, which keeps it in.

use std::collections::BTreeSet;

use super::group::Group;
use super::layout::Removal;
use crate::fleet::ListenerId;
use crate::supervisor::listeners::{Closed, Listeners};
use crate::supervisor::steering::closing::{hide, leaked, report_leak};
use crate::supervisor::steering::fence::Fences;

/// A fence is requested only where at most this many retired listeners are there for each that leaves.
const MAX_RETIRED_PER_LEAVING: usize = 2;

impl Group {
    /// Whether a listener is about to be closed: it waits for a fence, or for others.
    pub(super) fn is_removing(&self) -> bool {
        !self.leaving.is_empty() && !self.is_blocked
    }

    /// Hides what is to leave, closes what is hidden.
    pub(super) fn proceed(&mut self, listeners: &mut Listeners, fences: &mut Fences) {
        if self.is_blocked || self.leaving.is_empty() {
            return;
        }
        if self.is_worth_a_fence() {
            self.reconcile(listeners);
            let is_alone = self.live.is_empty();
            self.leaving
                .hide_all(fences, |id| !is_alone && hide(listeners, id));
        }
        let mut has_shrunk = false;
        while let Some(removal) = self.next_removal(fences) {
            self.take_out(listeners, removal);
            has_shrunk = true;
        }
        if has_shrunk {
            // What has left moved guards away from the end.
            self.pad(listeners);
            self.reattach(listeners);
        }
    }

    /// Whether enough listeners wait for a fence of theirs to look at the whole group for them.
    fn is_worth_a_fence(&self) -> bool {
        let pending = self.leaving.pending_count();
        pending > 0 && pending * MAX_RETIRED_PER_LEAVING >= self.retired()
    }

    /// What can be closed now, and how.
    fn next_removal(&mut self, fences: &Fences) -> Option<Removal> {
        let due = self.leaving.due(fences);
        if due.is_empty() {
            return None;
        }
        let (members, gone): (BTreeSet<_>, BTreeSet<_>) =
            due.iter().partition(|id| self.layout.contains(**id));
        if !gone.is_empty() {
            // They left by themselves: closing them moves nobody.
            return Some(Removal {
                listeners: gone.into_iter().collect(),
                before: Vec::new(),
            });
        }
        let departing = self.departing.difference(&members).count();
        let removal = self.layout.removal(&members, &self.live, departing);
        self.is_blocked = removal.is_none();
        removal
    }

    fn take_out(&mut self, listeners: &mut Listeners, removal: Removal) {
        self.attach(listeners, &removal.before);
        let mut closed = Vec::new();
        for id in &removal.listeners {
            self.leaving.closed(*id);
            closed.extend(listeners.close(*id));
        }
        let leaked = self.leaked_of(&closed);
        for closed in &leaked {
            report_leak(closed);
            listeners.leaked.add(closed);
        }
        let is_leaked = |id: &ListenerId| leaked.iter().any(|closed| closed.id == *id);
        for id in removal.listeners.iter().filter(|id| !is_leaked(id)) {
            self.layout.left(&[*id]);
        }
    }

    /// Those of the closed listeners that are still there. While no other is live that does not matter.
    fn leaked_of(&self, closed: &[Closed]) -> Vec<Closed> {
        if self.live.is_empty() {
            return Vec::new();
        }
        leaked(&self.endpoint, closed)
    }
}

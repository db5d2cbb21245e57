//! The listeners of a group that must leave, and how far each has come.

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::ListenerId;
use crate::supervisor::steering::fence::{Fences, Ticket};

/// ```text
///  pending ── hidden ──► hidden ── its fence has passed ──► may be closed
///    └────── cannot be hidden ──► exposed ────────────────► may be closed
/// ```
/// The listeners are kept by state, because every event looks at them and there may be a thousand.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    all: BTreeSet<ListenerId>,
    /// Nothing has been done yet.
    pending: BTreeSet<ListenerId>,
    /// No look-up finds them any more that begins after their fence.
    hidden: BTreeMap<Ticket, BTreeSet<ListenerId>>,
    /// They cannot be hidden, or there is nobody to hide them for.
    exposed: BTreeSet<ListenerId>,
}

impl Leaving {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn contains(&self, id: ListenerId) -> bool {
        self.all.contains(&id)
    }

    pub(super) fn add(&mut self, id: ListenerId) {
        if self.all.insert(id) {
            self.pending.insert(id);
        }
    }

    /// How many listeners are not hidden yet.
    pub(super) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Hides all pending listeners; `hide` says whether it could hide one. Those that are hidden wait for one
    /// fence together.
    pub(super) fn hide_all(&mut self, fences: &mut Fences, hide: impl Fn(ListenerId) -> bool) {
        let pending = std::mem::take(&mut self.pending);
        let (hidden, exposed): (BTreeSet<_>, BTreeSet<_>) =
            pending.into_iter().partition(|id| hide(*id));
        self.exposed.extend(exposed);
        if !hidden.is_empty() {
            self.hidden
                .entry(fences.request())
                .or_default()
                .extend(hidden);
        }
    }

    /// Those that may be closed now.
    pub(super) fn due(&mut self, fences: &Fences) -> &BTreeSet<ListenerId> {
        while let Some(first) = self.hidden.first_entry()
            && fences.has_passed(*first.key())
        {
            // Nothing keeps them from being closed any more: as if there were nobody to hide them for.
            self.exposed.extend(first.remove());
        }
        &self.exposed
    }

    pub(super) fn closed(&mut self, id: ListenerId) {
        self.all.remove(&id);
        self.pending.remove(&id);
        self.exposed.remove(&id);
        self.hidden.retain(|_, ids| {
            ids.remove(&id);
            !ids.is_empty()
        });
    }
}

//! The queues of all listeners, and what is found of those that are not empty.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::queue_watch::Finding;
use super::{Listener, Listeners};
use crate::fleet::{ListenerId, WorkerId};
use crate::sys::listener;

/// A queue that is not empty.
#[derive(Debug)]
pub(in crate::supervisor) struct Waiting {
    pub(in crate::supervisor) listener: ListenerId,
    pub(in crate::supervisor) inode: u64,
    /// Those that listen on it, and have not ended.
    pub(in crate::supervisor) users: BTreeSet<WorkerId>,
}

impl Listeners {
    /// All that listens.
    pub(in crate::supervisor) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.by_id.values().map(Listener::socket)
    }

    /// What becomes readable when [`Self::queues_ready`] is to be called.
    pub(in crate::supervisor) fn queues(&self) -> BorrowedFd<'_> {
        self.queues.descriptor()
    }

    /// Something has come to a queue, or a listener was shut down; whether one was.
    pub(in crate::supervisor) fn queues_ready(&mut self, now: Instant) -> bool {
        let Self { by_id, queues, .. } = self;
        queues.ready(now, |id| by_id.get(&id).map(Listener::socket))
    }

    /// When to look at the queues, although nothing happens.
    pub(in crate::supervisor) fn queues_deadline(&self) -> Option<Instant> {
        self.queues.deadline()
    }

    /// Whether to look at the queues.
    pub(in crate::supervisor) fn queues_are_due(&self, now: Instant) -> bool {
        self.queues.is_due(now)
    }

    /// The queues in which something waits, and that workers should empty.
    pub(in crate::supervisor) fn waiting(&self) -> Vec<Waiting> {
        let is_waiting = |found: &&Listener| {
            listener::accept_queue_len(&found.socket).is_ok_and(|(waiting, _)| waiting > 0)
        };
        let watched = self.queues.ids();
        let watched = watched.filter_map(|id| Some((id, self.by_id.get(&id)?)));
        let used =
            watched.filter(|(_, it)| !it.facts.users.is_empty() && !it.facts.is_drained_by_rescuer);
        used.filter(|(_, it)| is_waiting(it))
            .map(|(listener, it)| Waiting {
                listener,
                inode: it.facts.inode,
                users: it.facts.users.keys().copied().collect(),
            })
            .collect()
    }

    /// What was found of the queues that are not empty; the listeners that nobody has.
    pub(in crate::supervisor) fn found(
        &mut self,
        now: Instant,
        findings: &[(ListenerId, Finding)],
    ) -> Vec<ListenerId> {
        let Self { by_id, queues, .. } = self;
        queues.found(now, findings, |id| by_id.get(&id).map(Listener::socket))
    }
}

//! What one worker's calls of bind and listen have come to: which sockets are bound, which listeners of
//! its set it has.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use crate::fleet::{Endpoint, Generation, ListenerId, ListenerSetId};
use crate::supervisor::listeners::Listeners;
use crate::sys::usage;

#[derive(Debug)]
pub(super) struct InterceptState {
    /// The worker's first process.
    pid: i32,
    /// The set whose listeners take the place of the worker's own sockets.
    pub(super) set: ListenerSetId,
    pub(super) generation: Generation,
    /// Those of them that the worker has, or had until it closed its descriptor: we still hold them.
    pub(super) own_listeners: BTreeSet<ListenerId>,
    /// Those on which it has called listen(2).
    pub(super) listened: BTreeSet<ListenerId>,
    /// Sockets that we have bound for the worker. By inode: descriptors' numbers are reused.
    pub(super) bound: BTreeSet<u64>,
    /// Sockets that we made and put in place; they cannot be fetched again.
    pub(super) made: BTreeMap<u64, OwnedFd>,
    /// What `IPV6_V6ONLY` was set to, where it cannot be asked for.
    pub(super) v6_only: BTreeMap<(i32, i32), bool>,
    pub(super) visibility: Visibility,
}

/// Whether we can look at what the worker binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visibility {
    /// As far as is known.
    Visible,
    /// No; the log says so already.
    Hidden,
}

impl InterceptState {
    pub(super) fn new(pid: i32, set: ListenerSetId, generation: Generation) -> Self {
        Self {
            pid,
            set,
            generation,
            own_listeners: BTreeSet::new(),
            listened: BTreeSet::new(),
            bound: BTreeSet::new(),
            made: BTreeMap::new(),
            v6_only: BTreeMap::new(),
            visibility: Visibility::Visible,
        }
    }

    /// The listener that takes the place of the socket which the worker binds to `endpoint`: one of its set
    /// that it has not, or one that it closed. A server may listen to see whether it can, and then again
    /// in earnest; the first listener would stay live, and nobody would accept from it. A server that opens
    /// two in earnest gets two, and so do all workers of its set.
    pub(super) fn replacement(
        &mut self,
        listeners: &Listeners,
        endpoint: &Endpoint,
    ) -> Option<ListenerId> {
        let mut here = listeners.of_set(self.set, endpoint);
        let id =
            here.find(|id| !self.own_listeners.contains(id) || self.has_closed(listeners, *id))?;
        self.own_listeners.insert(id);
        Some(id)
    }

    /// The listener that takes the place of the socket on which the worker listens. If there is none but one that it got
    /// for another socket and has not listened on, that is the one: a server may bind a socket only to keep the port
    /// for itself, and listen on another one (granian's master and its child). Nobody would accept from the first.
    pub(super) fn replacement_to_listen(
        &mut self,
        listeners: &Listeners,
        endpoint: &Endpoint,
    ) -> Option<ListenerId> {
        self.replacement(listeners, endpoint).or_else(|| {
            let mut here = listeners.of_set(self.set, endpoint);
            here.find(|id| !self.listened.contains(id))
        })
    }

    fn has_closed(&self, listeners: &Listeners, id: ListenerId) -> bool {
        let inode = listeners.inode(id);
        inode.is_some_and(|inode| !usage::is_held_by(self.pid, inode))
    }
}

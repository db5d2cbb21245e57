//! What one worker's calls of bind and listen have come to: which sockets are bound, which listeners
//! of its queue it has.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use crate::fleet::{Endpoint, ListenerId, ListenerSetId};
use crate::supervisor::listeners::Groups;
use crate::sys::usage;

/// What one worker's calls have come to so far.
#[derive(Debug)]
pub(crate) struct Desk {
    /// The worker's first process.
    pid: i32,
    /// Whose listeners take the place of the worker's own.
    pub(crate) queue: ListenerSetId,
    /// Those of them that it has, or had until it closed its descriptor: we still hold them.
    pub(crate) placed: BTreeSet<ListenerId>,
    /// Sockets that we have bound for it. By inode: descriptors' numbers are reused.
    pub(crate) bound: BTreeSet<u64>,
    /// Sockets that we made and put in place; they cannot be fetched again.
    pub(crate) made: BTreeMap<u64, OwnedFd>,
    /// What `IPV6_V6ONLY` was set to, where it cannot be asked for.
    pub(crate) v6_only: BTreeMap<(i32, i32), bool>,
    pub(crate) is_blind: bool,
}

impl Desk {
    pub(crate) fn new(pid: i32, queue: ListenerSetId) -> Self {
        Self {
            pid,
            queue,
            placed: BTreeSet::new(),
            bound: BTreeSet::new(),
            made: BTreeMap::new(),
            v6_only: BTreeMap::new(),
            is_blind: false,
        }
    }

    /// The listener that takes the place of the socket which the worker binds to `endpoint`: one of
    /// its queue that it has not, or one that it closed. A server may listen to see whether it can,
    /// and then again in earnest; the first listener would stay live, and nobody would accept from
    /// it. A server that opens two in earnest gets two, and so do all workers of its queue.
    pub(crate) fn replacement(
        &mut self,
        groups: &Groups,
        endpoint: &Endpoint,
    ) -> Option<ListenerId> {
        let mut here = groups.of_queue(self.queue, endpoint);
        let id = here.find(|id| !self.placed.contains(id) || self.has_closed(groups, *id))?;
        self.placed.insert(id);
        Some(id)
    }

    fn has_closed(&self, groups: &Groups, id: ListenerId) -> bool {
        let inode = groups.inode(id);
        inode.is_some_and(|inode| !usage::is_held_by(self.pid, inode))
    }
}

//! What one worker's calls of bind and listen have come to: which sockets are bound, which listeners
//! are ready to take the place of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use super::groups::Groups;
use crate::fleet::{Endpoint, ListenerId};
use crate::sys::procfs;

/// What one worker's calls have come to so far.
#[derive(Debug)]
pub(super) struct Desk {
    /// Listeners that take the place of the worker's own when it binds.
    pub(super) kept: Vec<(ListenerId, Endpoint)>,
    /// Listeners that it has, or had until it closed its descriptor: we still hold them.
    pub(super) placed: Vec<(ListenerId, Endpoint)>,
    /// Sockets that we have bound for it. By inode: descriptors' numbers are reused.
    pub(super) bound: BTreeSet<u64>,
    /// Sockets that we made and put in place; they cannot be fetched again.
    pub(super) made: BTreeMap<u64, OwnedFd>,
    /// What `IPV6_V6ONLY` was set to, where it cannot be asked for.
    pub(super) v6_only: BTreeMap<(i32, i32), bool>,
    pub(super) is_blind: bool,
}

impl Desk {
    pub(super) fn new(kept: Vec<(ListenerId, Endpoint)>) -> Self {
        Self {
            kept,
            placed: Vec::new(),
            bound: BTreeSet::new(),
            made: BTreeMap::new(),
            v6_only: BTreeMap::new(),
            is_blind: false,
        }
    }

    /// The listener that takes the place of the socket which the worker binds to `endpoint`: one
    /// that was kept for it, or one that it closed. A server may listen to see whether it can, and
    /// then again in earnest; the first listener would stay live, and nobody would accept from it.
    pub(super) fn replacement(
        &mut self,
        groups: &Groups,
        endpoint: &Endpoint,
    ) -> Option<ListenerId> {
        if let Some(at) = self.kept.iter().position(|(_, kept)| kept == endpoint) {
            let kept = self.kept.remove(at);
            self.placed.push(kept);
            return Some(kept.0);
        }
        let is_closed = |id| {
            groups
                .inode(id)
                .is_some_and(|inode| !procfs::is_held_elsewhere(inode))
        };
        let here = self.placed.iter().filter(|(_, placed)| placed == endpoint);
        here.map(|(id, _)| *id).find(|id| is_closed(*id))
    }

    pub(super) fn listened(&mut self, id: ListenerId, endpoint: Endpoint) {
        if !self.placed.contains(&(id, endpoint)) {
            self.placed.push((id, endpoint));
        }
    }
}

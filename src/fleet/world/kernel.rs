//! The kernel's part: sockets, which of them get new connections, and where these are.
//!
//! A group whose targets have all gone falls back to all its sockets, as the kernel's hash does.
//! A connection that is under way when the steering changes still reaches a socket that got them
//! before, until a fence has passed: such a *straggler* is what a forgotten fence loses.

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::{Endpoint, ListenerId, ListenerSetId, WorkerId};

/// A socket that listens, or was made to.
#[derive(Clone, Debug)]
pub(super) struct Socket {
    pub(super) endpoint: Endpoint,
    pub(super) set: ListenerSetId,
    /// The workers that listen on it and are alive.
    pub(super) listeners: BTreeSet<WorkerId>,
    /// Connections that came to it, ever.
    pub(super) given: u32,
    /// Connections that nobody has accepted.
    pub(super) pending: u64,
    /// It was in the steering once.
    pub(super) was_live: bool,
    /// Connections came to it although it is not live: its group had no other.
    pub(super) is_last_resort: bool,
    /// A rescuer accepts what its worker does not.
    pub(super) is_rescued: bool,
    /// A flip to its workers was taken back.
    pub(super) is_taken_back: bool,
    /// Its worker did not empty it in time, when nobody served its address.
    pub(super) is_left: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Kernel {
    pub(super) open: BTreeMap<ListenerId, Socket>,
    pub(super) closed: BTreeSet<ListenerId>,
    /// Which sockets of each group get new connections; all if none.
    targets: BTreeMap<Endpoint, BTreeSet<ListenerId>>,
    /// What the last steering said.
    pub(super) live: BTreeSet<ListenerId>,
    /// Nobody gets new connections any more.
    is_shut: bool,
    /// Sockets that a connection may be under way to.
    pub(super) unfenced: BTreeSet<ListenerId>,
    next: u64,
    arrivals: usize,
}

impl Kernel {
    pub(super) fn open(&mut self, endpoint: Endpoint, set: ListenerSetId) -> ListenerId {
        let id = ListenerId(self.next);
        self.next += 1;
        let socket = Socket {
            endpoint,
            set,
            listeners: BTreeSet::new(),
            given: 0,
            pending: 0,
            was_live: false,
            is_last_resort: false,
            is_rescued: false,
            is_taken_back: false,
            is_left: false,
        };
        self.open.insert(id, socket);
        id
    }

    /// Who listens where.
    pub(super) fn listeners(&self) -> BTreeSet<(WorkerId, Endpoint)> {
        let sockets = self.open.values();
        let pairs = sockets.flat_map(|it| it.listeners.iter().map(|id| (*id, it.endpoint)));
        pairs.collect()
    }

    /// The listener of a set on an endpoint.
    pub(super) fn of_set(&self, set: ListenerSetId, endpoint: Endpoint) -> Option<ListenerId> {
        let mut open = self.open.iter();
        open.find(|(_, socket)| socket.set == set && socket.endpoint == endpoint)
            .map(|(id, _)| *id)
    }

    pub(super) fn close(&mut self, id: ListenerId) -> Option<Socket> {
        let socket = self.open.remove(&id)?;
        self.closed.insert(id);
        self.unfenced.remove(&id);
        for targets in self.targets.values_mut() {
            targets.remove(&id);
        }
        Some(socket)
    }

    pub(super) fn steer(&mut self, live: BTreeSet<ListenerId>) {
        let before = std::mem::take(&mut self.live);
        self.unfenced.extend(before.difference(&live));
        self.unfenced.retain(|id| !live.contains(id));
        for id in &live {
            if let Some(socket) = self.open.get_mut(id) {
                socket.was_live = true;
            }
        }
        for endpoint in self.endpoints() {
            let here: BTreeSet<ListenerId> = self
                .members(endpoint)
                .into_iter()
                .filter(|id| live.contains(id))
                .collect();
            if !here.is_empty() {
                self.targets.insert(endpoint, here);
            }
        }
        self.live = live;
    }

    /// Nobody gets new connections any more; those that are under way arrive.
    pub(super) fn keep_out(&mut self) {
        self.steer(BTreeSet::new());
        self.is_shut = true;
    }

    /// A connection arrives at a group: the socket that gets it.
    pub(super) fn connect(&mut self, endpoint: Endpoint) -> Option<ListenerId> {
        if self.is_shut {
            return None;
        }
        let steered = self.targets.get(&endpoint).filter(|set| !set.is_empty());
        let choice = steered.cloned().unwrap_or_else(|| {
            let members = self.members(endpoint).into_iter();
            members.filter(|id| self.is_listening(*id)).collect()
        });
        let chosen = choice.iter().nth(self.arrivals % choice.len().max(1))?;
        self.arrivals += 1;
        self.arrive(*chosen);
        Some(*chosen)
    }

    /// A connection arrives at this socket.
    pub(super) fn arrive(&mut self, id: ListenerId) {
        let is_live = self.live.contains(&id);
        if let Some(socket) = self.open.get_mut(&id) {
            socket.pending += 1;
            socket.given += 1;
            socket.is_last_resort |= !is_live;
        }
    }

    /// A straggler arrives: not counted as a last resort.
    pub(super) fn straggle(&mut self, id: ListenerId) {
        if let Some(socket) = self.open.get_mut(&id) {
            socket.pending += 1;
            socket.given += 1;
        }
    }

    pub(super) fn endpoints(&self) -> BTreeSet<Endpoint> {
        self.open.values().map(|socket| socket.endpoint).collect()
    }

    fn is_listening(&self, id: ListenerId) -> bool {
        self.open
            .get(&id)
            .is_some_and(|socket| socket.was_live || !socket.listeners.is_empty())
    }

    fn members(&self, endpoint: Endpoint) -> BTreeSet<ListenerId> {
        let here = self.open.iter();
        here.filter(|(_, socket)| socket.endpoint == endpoint)
            .map(|(id, _)| *id)
            .collect()
    }
}

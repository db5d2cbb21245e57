//! All connections that one worker may still have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::custody::Custody;
use super::evidence::Evidence;
use super::process_tree::ProcessTree;
use super::protocols::Protocols;
use super::readers::Readers;
use super::watched_connection::WatchedConnection;
use crate::sys::procfs;

/// Which connections a look is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    /// A connection that has thawed because the worker keeps it is of no interest but for its close.
    Frozen,
}

/// How many connections of each kind are the worker's alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct GivenBack {
    /// Of clients that another worker would not know.
    pub(super) left: usize,
    /// Of a worker that nobody follows.
    pub(super) finished: usize,
}

#[derive(Debug, Default)]
pub(super) struct WatchedConnections {
    connections: BTreeMap<u64, WatchedConnection>,
    last_id: u64,
}

impl WatchedConnections {
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    pub(super) fn insert(&mut self, connection: WatchedConnection) {
        self.last_id += 1;
        self.connections.insert(self.last_id, connection);
    }

    /// Takes the connections that the worker has no more.
    ///
    /// Nothing tells when another process closes a descriptor. The worker has closed a connection when
    /// the descriptor is no longer where it was *and* a full look at all processes of the worker, made
    /// after that, did not find the socket elsewhere (dup(2), a child).
    pub(super) fn take_closed(&mut self, processes: &mut ProcessTree) -> Vec<WatchedConnection> {
        let is_missing = |connection: &WatchedConnection| {
            let place = connection.place();
            !procfs::may_hold(place.pid, place.number, place.inode)
        };
        let missing = self.connections.iter().filter(|(_, it)| is_missing(it));
        let missing: Vec<u64> = missing.map(|(id, _)| *id).collect();
        if missing.is_empty() {
            return Vec::new();
        }
        let sockets = processes.sockets();
        let mut closed = Vec::new();
        for id in missing {
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            match sockets.get(&connection.place().inode) {
                Some(place) => connection.move_to(*place),
                None => closed.extend(self.connections.remove(&id)),
            }
        }
        closed
    }

    pub(super) fn observe(&mut self, now: Instant, scope: Scope) {
        for connection in self.connections.values_mut() {
            if scope == Scope::All || connection.is_frozen() {
                connection.observe(now);
                connection.refresh_copy();
            }
        }
    }

    /// Gives connections back to the worker in which it is in the middle of a message.
    pub(super) fn thaw_mid_message(&mut self, now: Instant) {
        let connections = self.connections.values_mut();
        connections
            .filter(|it| it.is_frozen() && it.tracker().is_mid_message())
            .for_each(|it| it.thaw(now));
    }

    pub(super) fn thaw_all(&mut self, now: Instant) {
        let connections = self.connections.values_mut();
        connections
            .filter(|it| it.is_frozen())
            .for_each(|it| it.thaw(now));
    }

    /// Gives all connections back and forgets them; how many there were.
    pub(super) fn release(&mut self, now: Instant) -> usize {
        let mut connections = std::mem::take(&mut self.connections);
        connections.values_mut().for_each(|it| it.thaw(now));
        connections.len()
    }

    pub(super) fn may_have_blocked_readers(&self, now: Instant) -> bool {
        let mut connections = self.connections.values();
        connections.any(|it| it.may_have_blocked_reader(now))
    }

    /// Looks for the threads that may sleep in reads which have their bytes already.
    pub(super) fn blocked_readers(&mut self, now: Instant, family: &[i32]) -> Vec<i32> {
        let connections = self.connections.values_mut();
        let suspects = connections.filter(|it| it.may_have_blocked_reader(now));
        let mut readers = Readers::new(family);
        let thread = |connection: &mut WatchedConnection| {
            let reader = readers.of(connection.place());
            connection.readers_looked_for(now, reader);
            Some(reader?.thread)
        };
        suspects.filter_map(thread).collect()
    }

    /// How long nothing has happened on any connection.
    pub(super) fn idle_for(&self, now: Instant) -> Duration {
        let connections = self.connections.values();
        let idle_for = connections.map(|it| it.tracker().idle_for(now));
        idle_for.min().unwrap_or_default()
    }

    pub(super) fn are_idle(&self, now: Instant, protocols: &Protocols) -> bool {
        let mut connections = self.connections.values();
        connections.all(|it| it.is_idle(now, protocols))
    }

    /// What bytes have shown of the protocol since the last call, and on which address.
    pub(super) fn take_heard(&mut self) -> Vec<(SocketAddr, Evidence)> {
        let connections = self.connections.values_mut();
        connections
            .filter_map(WatchedConnection::take_heard)
            .collect()
    }

    pub(super) fn has_request(&self) -> bool {
        let mut connections = self.connections.values();
        connections.any(WatchedConnection::has_request)
    }

    /// Takes the connections on which a request waits, with what was read from them.
    pub(super) fn take_waiting_requests(&mut self, now: Instant) -> Vec<(OwnedFd, Vec<u8>)> {
        let read = |(id, it): (&u64, &WatchedConnection)| {
            let request = it.read_waiting_request(now)?;
            Some((*id, request))
        };
        let found: Vec<_> = self.connections.iter().filter_map(read).collect();
        let take = |(id, request)| {
            let connection = self.connections.remove(&id)?;
            Some((connection.into_socket(), request))
        };
        found.into_iter().filter_map(take).collect()
    }

    /// Forgets those that are the worker's alone, as they have been all along; how many of each kind there were.
    ///
    /// The hazard: as long as somebody else has a connection, its client does not hear that the worker has closed it,
    /// and the client's next request goes to nobody. A worker that is told to stop closes what is idle.
    pub(super) fn give_back(&mut self) -> GivenBack {
        let mut given_back = GivenBack::default();
        self.connections.retain(|_, it| match it.custody() {
            Custody::Rescued | Custody::Ended => true,
            Custody::Left => {
                given_back.left += 1;
                false
            }
            Custody::Finished => {
                given_back.finished += 1;
                false
            }
        });
        given_back
    }

    /// Gets ready for the stop signal; the threads that sleep in reads and must be stopped.
    pub(super) fn prepare_stop(&mut self, now: Instant, family: &[i32]) -> Vec<i32> {
        let mut readers = Readers::new(family);
        let connections = self.connections.values_mut();
        let threads = connections.filter_map(|it| it.prepare_stop(now, &mut readers));
        threads.collect()
    }

    /// Whether nothing was lost since [`Self::prepare_stop`], now that the readers stand still.
    pub(super) fn are_accounted_for(&mut self, now: Instant) -> bool {
        let mut connections = self.connections.values_mut();
        connections.all(|it| it.is_accounted_for(now))
    }

    pub(super) fn has_copies(&self) -> bool {
        self.connections.values().any(WatchedConnection::has_copy)
    }

    /// Whether the processes that have these connections sleep.
    pub(super) fn are_holders_asleep(&self) -> bool {
        let pids = self.connections.values().map(|it| it.place().pid);
        let pids: BTreeSet<i32> = pids.collect();
        pids.into_iter().all(procfs::is_asleep)
    }

    /// Whether a process that has a frozen connection is about to be dead: on a busy machine that
    /// takes long.
    pub(super) fn is_holder_being_killed(&self) -> bool {
        let frozen = self.connections.values().filter(|it| it.is_frozen());
        let pids: BTreeSet<i32> = frozen.map(|it| it.place().pid).collect();
        pids.into_iter().any(procfs::is_being_killed)
    }
}

//! The listeners: every listening socket that the supervisor has a duplicate of.
//!
//! The supervisor keeps a duplicate of each listener from `listen(2)` on. So a listener outlives its
//! worker, and leaves its group when the supervisor closes the duplicate, and not before
//! ([`steering`](super::steering) says when that may be).
//!
//! A *listener set* is what the workers of one set share: one listener an endpoint, or more. Such a
//! listener is one member of its group, however many workers have it. It stays when one of them dies, and
//! what a worker does to it is done for all: a worker that shuts it down takes it from the others too,
//! until the next one calls `listen(2)`.
//!
//! | file | what it does |
//! | --- | --- |
//! | `intercept` | answers the workers' bind and listen |
//! | `leaked` | what was closed and is still there |
//! | `owners` | which worker has which listener |
//! | `queues`, `queue_watch` | the queues, and when to look for one that nobody empties |
//! | `port_conflict` | refuses a port that somebody else listens on |

pub(super) mod intercept;
mod leaked;
pub(super) mod owners;
pub(super) mod port_conflict;
pub(super) mod queue_watch;
pub(super) mod queues;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::fleet::{Endpoint, Generation, ListenerId, ListenerSetId, WorkerId};
use crate::sys::listener;
use leaked::Leaked;
use queue_watch::QueueWatch;

/// All listeners, by what they are looked for.
#[derive(Debug)]
pub(super) struct Listeners {
    by_id: BTreeMap<ListenerId, Listener>,
    by_inode: BTreeMap<u64, ListenerId>,
    /// Those that are there to stay: a new worker of the set gets them.
    by_set: BTreeMap<(ListenerSetId, Endpoint), BTreeSet<ListenerId>>,
    by_endpoint: BTreeMap<Endpoint, BTreeSet<ListenerId>>,
    pub(super) leaked: Leaked,
    next: u64,
    queues: QueueWatch,
}

/// One listener: what is known of it, and the duplicate.
#[derive(Debug)]
struct Listener {
    facts: Facts,
    socket: OwnedFd,
}

impl Listener {
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What is known of a listener: plain data, beside its duplicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Facts {
    endpoint: Endpoint,
    purpose: Purpose,
    inode: u64,
    /// Workers that called `listen(2)` on it and have not ended.
    users: BTreeMap<WorkerId, Generation>,
    /// A rescuer has a duplicate, accepts what waits, and closes it then.
    is_drained_by_rescuer: bool,
}

/// What a listener is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Purpose {
    /// The workers of a set.
    Serve(ListenerSetId),
    /// Steering alone: no worker ever has it.
    Guard,
}

impl Listeners {
    /// None yet.
    ///
    /// # Errors
    /// Those of epoll_create1(2).
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            by_id: BTreeMap::new(),
            by_inode: BTreeMap::new(),
            by_set: BTreeMap::new(),
            by_endpoint: BTreeMap::new(),
            leaked: Leaked::default(),
            next: 0,
            queues: QueueWatch::new()?,
        })
    }

    /// Takes in a socket that has just begun to listen.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub(super) fn add(
        &mut self,
        socket: OwnedFd,
        endpoint: Endpoint,
        set: ListenerSetId,
    ) -> io::Result<ListenerId> {
        let id = self.insert(socket, endpoint, Purpose::Serve(set))?;
        if let Some(found) = self.by_id.get(&id) {
            self.queues.add(id, &found.socket);
        }
        self.by_set.entry((set, endpoint)).or_default().insert(id);
        self.by_endpoint.entry(endpoint).or_default().insert(id);
        Ok(id)
    }

    fn insert(
        &mut self,
        socket: OwnedFd,
        endpoint: Endpoint,
        purpose: Purpose,
    ) -> io::Result<ListenerId> {
        let inode = listener::inode(&socket)?;
        let id = ListenerId(self.next);
        self.next += 1;
        let facts = Facts {
            endpoint,
            purpose,
            inode,
            users: BTreeMap::new(),
            is_drained_by_rescuer: false,
        };
        self.by_id.insert(id, Listener { facts, socket });
        self.by_inode.insert(inode, id);
        Ok(id)
    }

    pub(super) fn endpoint(&self, id: ListenerId) -> Option<Endpoint> {
        self.by_id.get(&id).map(|found| found.facts.endpoint)
    }

    pub(super) fn inode(&self, id: ListenerId) -> Option<u64> {
        self.by_id.get(&id).map(|found| found.facts.inode)
    }

    pub(super) fn socket(&self, id: ListenerId) -> Option<BorrowedFd<'_>> {
        self.by_id.get(&id).map(Listener::socket)
    }

    /// The listener that is this socket.
    pub(super) fn by_inode(&self, inode: u64) -> Option<ListenerId> {
        self.by_inode.get(&inode).copied()
    }

    /// The listeners of a set on an endpoint that are there to stay, oldest first.
    pub(super) fn of_set(
        &self,
        set: ListenerSetId,
        endpoint: &Endpoint,
    ) -> impl Iterator<Item = ListenerId> {
        let found = self.by_set.get(&(set, *endpoint));
        found.into_iter().flatten().copied()
    }

    /// Whether any listener of ours serves this endpoint.
    pub(super) fn serve(&self, endpoint: &Endpoint) -> bool {
        self.by_endpoint.contains_key(endpoint)
    }

    /// The endpoints that are served, and how many listeners each has.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (Endpoint, usize)> {
        let all = self.by_endpoint.iter();
        all.map(|(endpoint, here)| (*endpoint, here.len()))
    }

    /// Whether a socket is one of our listeners, or was and leaked.
    pub(super) fn is_ours(&self, inode: u64) -> bool {
        self.by_inode.contains_key(&inode) || self.leaked.contains(inode)
    }

    /// Calls `listen(2)` on a listener once more for a worker. Whether the listener has joined its group
    /// anew: it had been shut down.
    ///
    /// # Errors
    /// Those of listen(2).
    pub(super) fn listen_again(&mut self, id: ListenerId, backlog: i32) -> io::Result<bool> {
        let found = self.by_id.get(&id).ok_or(io::ErrorKind::NotFound)?;
        // Before the call: after it, nothing tells that the listener had left.
        let had_left = !listener::is_listening(&found.socket);
        listener::listen(&found.socket, backlog)?;
        self.queues.add(id, &found.socket);
        Ok(had_left)
    }

    /// A worker listens on this listener.
    pub(super) fn used_by(&mut self, id: ListenerId, worker: WorkerId, generation: Generation) {
        if let Some(found) = self.by_id.get_mut(&id) {
            found.facts.users.insert(worker, generation);
        }
    }

    /// Whether another worker of this generation listens on this listener.
    pub(super) fn is_used_by_others(
        &self,
        id: ListenerId,
        worker: WorkerId,
        generation: Generation,
    ) -> bool {
        let is_other = |(user, of): (&WorkerId, &Generation)| *user != worker && *of == generation;
        let found = self.by_id.get(&id);
        found.is_some_and(|found| found.facts.users.iter().any(is_other))
    }

    /// A worker has ended: it uses nothing any more.
    pub(super) fn worker_ended(
        &mut self,
        worker: WorkerId,
        had: impl IntoIterator<Item = ListenerId>,
    ) {
        for id in had {
            if let Some(found) = self.by_id.get_mut(&id) {
                found.facts.users.remove(&worker);
            }
        }
    }

    /// Takes in a listener of our own that serves nobody.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub(super) fn add_guard(
        &mut self,
        socket: OwnedFd,
        endpoint: Endpoint,
    ) -> io::Result<ListenerId> {
        self.insert(socket, endpoint, Purpose::Guard)
    }

    /// A rescuer has a duplicate of this listener, and closes it when nothing waits in it.
    pub(super) fn drained_by_rescuer(&mut self, id: ListenerId) {
        if let Some(found) = self.by_id.get_mut(&id) {
            found.facts.is_drained_by_rescuer = true;
        }
    }

    /// No worker gets this listener any more: it is about to be closed.
    pub(super) fn withdraw(&mut self, id: ListenerId) {
        let Some(found) = self.by_id.get(&id) else {
            return;
        };
        match found.facts.purpose {
            Purpose::Serve(set) => {
                remove_from(&mut self.by_set, &(set, found.facts.endpoint), id);
            }
            Purpose::Guard => {}
        }
    }

    /// Closes a listener.
    pub(super) fn close(&mut self, id: ListenerId) -> Option<Closed> {
        self.withdraw(id);
        let Listener { facts, socket } = self.by_id.remove(&id)?;
        self.by_inode.remove(&facts.inode);
        remove_from(&mut self.by_endpoint, &facts.endpoint, id);
        self.queues.remove(id, &socket);
        drop(socket);
        Some(Closed {
            id,
            endpoint: facts.endpoint,
            inode: facts.inode,
            is_drained_by_rescuer: facts.is_drained_by_rescuer,
        })
    }
}

/// Removes one of those under a key, and the key with the last.
fn remove_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<ListenerId>>, key: &K, id: ListenerId) {
    if let Some(here) = index.get_mut(key) {
        here.remove(&id);
        if here.is_empty() {
            index.remove(key);
        }
    }
}

/// What a closed listener was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    pub(super) id: ListenerId,
    pub(super) endpoint: Endpoint,
    pub(super) inode: u64,
    pub(super) is_drained_by_rescuer: bool,
}

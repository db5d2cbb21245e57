//! Looking at retired workers: what their listeners still have, and their connections.
//!
//! A worker's connections are found by their inodes among its processes' descriptors. A connection
//! that accept(2) has just taken from the queue is in no table for a moment, neither the queue's
//! nor the process's; so a worker is quiet only when it has none, and none of those that were open
//! when it had settled is still unaccounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::connection_owners::{ConnectionOwners, OpenConnection, Unaccounted, attribute};
use crate::fleet::{ListenerId, WorkerId};
use crate::supervisor::listeners::Listeners;
use crate::supervisor::repeated::RepeatedWarning;
use crate::supervisor::workers::Workers;
use crate::sys::diag::{self, DiagError};
use crate::sys::procfs;
use crate::wire::diag::{Connection, States, TcpState};

/// What is remembered between looks.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    /// A look is made again and again.
    unlisted: RepeatedWarning,
    unaccounted: BTreeMap<WorkerId, Unaccounted>,
    /// Workers that had no connection when they were last looked at.
    quiet: BTreeSet<WorkerId>,
}

impl Measures {
    pub(crate) fn forget(&mut self, worker: WorkerId) {
        self.unaccounted.remove(&worker);
        self.quiet.remove(&worker);
    }

    /// For each worker, whether it has no connection left.
    pub(crate) fn connections(
        &mut self,
        workers: &Workers,
        listeners: &Listeners,
        asked: &[WorkerId],
    ) -> Vec<(WorkerId, bool)> {
        let all = |answer: &mut dyn FnMut(WorkerId) -> bool| {
            asked
                .iter()
                .map(|worker| (*worker, answer(*worker)))
                .collect()
        };
        match connections(listeners, States::OPEN) {
            Ok(open) if open.is_empty() => all(&mut |worker| can_be_seen(workers, worker)),
            Ok(open) => {
                let counted = attribute(&identities(&open), &workers.socket_owners());
                all(&mut |worker| {
                    can_be_seen(workers, worker) && self.is_quiet(worker, &counted, &open)
                })
            }
            Err(error) => {
                let sentence = format!(
                    "cannot list connections: {error}; waiting for the quiet time-out instead"
                );
                self.unlisted.warn(sentence);
                all(&mut |_| false)
            }
        }
    }

    /// Twice in a row: a server that forks for each connection may pass one on between the looks
    /// at its processes, and then it is in no table that we read.
    fn is_quiet(
        &mut self,
        worker: WorkerId,
        counted: &ConnectionOwners,
        open: &[Connection],
    ) -> bool {
        let cookies = open.iter().map(|connection| connection.cookie);
        let unaccounted = self
            .unaccounted
            .entry(worker)
            .or_insert_with(|| Unaccounted::open_at_settling(cookies));
        unaccounted.observe(counted);
        let is_quiet = unaccounted.is_empty() && counted.open_of(worker) == 0;
        let was_quiet = !self.quiet.insert(worker);
        if !is_quiet {
            self.quiet.remove(&worker);
        }
        is_quiet && was_quiet
    }
}

/// For each worker, the half-open and not yet accepted connections on its listeners.
pub(crate) fn backlogs(
    workers: &Workers,
    listeners: &Listeners,
    asked: &[(WorkerId, Vec<ListenerId>)],
) -> Vec<(WorkerId, u64)> {
    let inodes = |ids: &[ListenerId]| -> BTreeSet<u64> {
        ids.iter().filter_map(|id| listeners.inode(*id)).collect()
    };
    let mut wanted: BTreeMap<Option<i32>, BTreeSet<u64>> = BTreeMap::new();
    for (worker, ids) in asked {
        let namespace = workers.foreign_namespace(*worker);
        wanted.entry(namespace).or_default().extend(inodes(ids));
    }
    let mut pending: BTreeMap<u64, u64> = BTreeMap::new();
    for (namespace, inodes) in &wanted {
        pending.extend(pending_in(*namespace, inodes));
    }
    // One that is missing left its group by itself, with whatever it had.
    let of = |ids: &[ListenerId]| {
        inodes(ids)
            .iter()
            .filter_map(|inode| pending.get(inode))
            .sum()
    };
    asked
        .iter()
        .map(|(worker, ids)| (*worker, of(ids)))
        .collect()
}

/// The half-open and not yet accepted connections of one listener.
pub(super) fn backlog_of(listeners: &Listeners, listener: ListenerId) -> u64 {
    let inode = listeners.inode(listener);
    inode.map_or(0, |inode| {
        pending_in(None, &BTreeSet::from([inode])).values().sum()
    })
}

fn pending_in(namespace: Option<i32>, inodes: &BTreeSet<u64>) -> BTreeMap<u64, u64> {
    let lines = procfs::listeners(namespace, inodes).unwrap_or_default();
    lines
        .iter()
        .map(|line| (line.inode, u64::from(line.references.saturating_sub(1))))
        .collect()
}

/// Whether a worker's connections are among those that we can list.
fn can_be_seen(workers: &Workers, worker: WorkerId) -> bool {
    workers.foreign_namespace(worker).is_none()
}

/// The connections on the served ports that are in these states.
///
/// # Errors
/// Those of [`diag::connections`].
pub(crate) fn connections(
    listeners: &Listeners,
    states: States,
) -> Result<Vec<Connection>, DiagError> {
    let ports: BTreeSet<u16> = listeners
        .endpoints()
        .map(|(endpoint, _)| endpoint.address.port())
        .collect();
    let mut all = Vec::new();
    for port in ports {
        all.extend(diag::connections(port, states)?);
    }
    Ok(all)
}

/// The inodes of the established connections on the served ports.
pub(crate) fn established(listeners: &Listeners) -> BTreeSet<u64> {
    match connections(listeners, States::of(TcpState::ESTABLISHED)) {
        Ok(open) => {
            let inodes = open.iter().map(|connection| connection.inode);
            inodes.filter(|inode| *inode != 0).collect()
        }
        Err(error) => {
            log::warn!("cannot list connections: {error}; none is rescued");
            BTreeSet::new()
        }
    }
}

pub(crate) fn identities(connections: &[Connection]) -> Vec<OpenConnection> {
    let identity = |connection: &Connection| OpenConnection {
        cookie: connection.cookie,
        inode: connection.inode,
    };
    connections.iter().map(identity).collect()
}

/// An address on which a worker listens without our having heard of it.
pub(crate) fn unheard_listener(
    workers: &Workers,
    listeners: &Listeners,
    worker: WorkerId,
) -> Option<SocketAddr> {
    let pid = workers.pid(worker)?;
    let inodes: BTreeSet<u64> = procfs::tree_sockets(pid).into_keys().collect();
    let lines = procfs::listeners(Some(pid), &inodes).ok()?;
    let unheard = lines.iter().find(|line| !listeners.is_ours(line.inode));
    unheard.map(|line| line.address)
}

//! Looking at retired workers: what their listeners still have, and their connections.
//!
//! A worker's connections are found by their inodes among its processes' descriptors. A connection
//! that accept(2) has just taken from the queue is in no table for a moment, neither the queue's
//! nor the process's; so a worker is quiet only when it has none, and none of those that were open
//! when it had settled is still unaccounted for.

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::{Event, ListenerId, WorkerId};
use crate::supervisor::Supervisor;
use crate::supervisor::retirement::connection_owners::{
    Census, OpenConnection, Suspects, attribute,
};
use crate::sys::{diag, procfs};
use crate::wire::diag::{Connection, States};

/// What is remembered between looks.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    suspects: BTreeMap<WorkerId, Suspects>,
    /// Workers that had no connection when they were last looked at.
    quiet: BTreeSet<WorkerId>,
}

impl Measures {
    pub(crate) fn forget(&mut self, worker: WorkerId) {
        self.suspects.remove(&worker);
        self.quiet.remove(&worker);
    }
}

impl Supervisor {
    pub(crate) fn measure_queues(&self, workers: &[WorkerId]) -> Event {
        let inodes_of = |worker: &WorkerId| {
            self.listeners_of(*worker)
                .into_iter()
                .filter_map(|id| self.groups.inode(id))
                .collect::<BTreeSet<u64>>()
        };
        let mut wanted: BTreeMap<Option<i32>, BTreeSet<u64>> = BTreeMap::new();
        for worker in workers {
            wanted
                .entry(self.foreign_namespace(*worker))
                .or_default()
                .extend(inodes_of(worker));
        }
        let mut pending: BTreeMap<u64, u64> = BTreeMap::new();
        wanted
            .iter()
            .for_each(|(place, inodes)| pending.extend(pending_in(*place, inodes)));
        // One that is missing left its group by itself, with whatever it had.
        let of = |worker| {
            inodes_of(worker)
                .iter()
                .filter_map(|inode| pending.get(inode))
                .sum()
        };
        Event::QueueMeasured {
            pending: workers.iter().map(|worker| (*worker, of(worker))).collect(),
        }
    }

    /// Half-open and unaccepted connections of one listener.
    pub(crate) fn pending_on(&self, listener: ListenerId) -> u64 {
        let inode = self.groups.inode(listener);
        inode.map_or(0, |inode| {
            pending_in(None, &BTreeSet::from([inode])).values().sum()
        })
    }

    pub(crate) fn measure_connections(&mut self, workers: &[WorkerId]) -> Event {
        let quiet = match self.open_connections() {
            Ok(open) if open.is_empty() => workers
                .iter()
                .map(|worker| (*worker, self.can_be_seen(*worker)))
                .collect(),
            Ok(open) => {
                let census = attribute(&identities(&open), &self.owners());
                workers
                    .iter()
                    .map(|worker| (*worker, self.is_quiet(*worker, &census, &open)))
                    .collect()
            }
            Err(error) => {
                log::warn!(
                    "cannot list connections: {error}; waiting for the quiet time-out instead"
                );
                workers.iter().map(|worker| (*worker, false)).collect()
            }
        };
        Event::ConnectionsMeasured { quiet }
    }

    /// Twice in a row: a server that forks for each connection may pass one on between the looks
    /// at its processes, and then it is in no table that we read.
    fn is_quiet(&mut self, worker: WorkerId, census: &Census, open: &[Connection]) -> bool {
        let cookies = open.iter().map(|connection| connection.cookie);
        let suspects = self
            .measures
            .suspects
            .entry(worker)
            .or_insert_with(|| Suspects::at_settling(cookies));
        suspects.observe(census);
        let is_quiet =
            suspects.is_clear() && census.open_of(worker) == 0 && self.can_be_seen(worker);
        let was_quiet = !self.measures.quiet.insert(worker);
        if !is_quiet {
            self.measures.quiet.remove(&worker);
        }
        is_quiet && was_quiet
    }

    /// Whether its connections are among those that we can list.
    fn can_be_seen(&self, worker: WorkerId) -> bool {
        self.foreign_namespace(worker).is_none()
    }

    /// Every connection on the managed endpoints that some process has or may yet accept.
    pub(crate) fn open_connections(&self) -> std::io::Result<Vec<Connection>> {
        self.connections(States::OPEN)
    }

    pub(crate) fn connections(&self, states: States) -> std::io::Result<Vec<Connection>> {
        let ports: BTreeSet<u16> = self
            .groups
            .endpoints()
            .map(|(endpoint, _)| endpoint.address.port())
            .collect();
        let mut all = Vec::new();
        for port in ports {
            all.extend(diag::connections(port, states)?);
        }
        Ok(all)
    }

    /// Which workers have which sockets, over all their processes.
    pub(crate) fn owners(&self) -> BTreeMap<u64, Vec<WorkerId>> {
        let mut owners: BTreeMap<u64, Vec<WorkerId>> = BTreeMap::new();
        for (worker, child) in self.children.iter() {
            for pid in procfs::descendants(child.pid) {
                for inode in procfs::socket_inodes(pid).unwrap_or_default() {
                    let here = owners.entry(inode).or_default();
                    if !here.contains(&worker) {
                        here.push(worker);
                    }
                }
            }
        }
        owners
    }

    pub(crate) fn listeners_of(&self, worker: WorkerId) -> Vec<ListenerId> {
        self.fleet.listeners_of(worker)
    }

    /// An address on which a worker listens without our having heard of it.
    pub(crate) fn unheard_listener(&self, worker: WorkerId) -> Option<std::net::SocketAddr> {
        let pid = self.children.get(worker)?.pid;
        let inodes: BTreeSet<u64> = procfs::descendants(pid)
            .into_iter()
            .flat_map(|pid| procfs::socket_inodes(pid).unwrap_or_default())
            .collect();
        let lines = procfs::listeners(Some(pid), &inodes).ok()?;
        let unheard = lines.iter().find(|line| !self.groups.is_ours(line.inode));
        unheard.map(|line| line.address)
    }

    /// The pid of a worker in another network namespace than ours, whose files tell of that.
    fn foreign_namespace(&self, worker: WorkerId) -> Option<i32> {
        let pid = self.children.get(worker)?.pid;
        let namespace = procfs::network_namespace(pid).ok();
        (namespace.is_some() && namespace != self.namespace).then_some(pid)
    }
}

pub(crate) fn identities(connections: &[Connection]) -> Vec<OpenConnection> {
    let identity = |connection: &Connection| OpenConnection {
        cookie: connection.cookie,
        inode: connection.inode,
    };
    connections.iter().map(identity).collect()
}

fn pending_in(place: Option<i32>, inodes: &BTreeSet<u64>) -> BTreeMap<u64, u64> {
    let lines = procfs::listeners(place, inodes).unwrap_or_default();
    lines
        .iter()
        .map(|line| (line.inode, u64::from(line.references.saturating_sub(1))))
        .collect()
}

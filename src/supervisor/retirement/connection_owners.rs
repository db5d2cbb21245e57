//! Which worker has which open connection, and when a worker has surely none.
//!
//! The kernel tells the open connections of a port, each with a cookie and an inode; /proc tells the
//! inodes that the processes of each worker have descriptors of. [`attribute`] puts the two together.
//!
//! The hazard: for a moment, between leaving the accept queue and getting its descriptor, a connection
//! is in no table. A worker that is told to stop in that moment, because it seemed to have
//! nothing, takes that connection with it. So a worker is *quiet* only when it owns no connection and
//! no connection is [`Unaccounted`]: open when its listeners had settled, and since then
//! neither closed nor seen with an owner. Later connections cannot be its own: its listeners were
//! empty and got nothing new.

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::WorkerId;

/// An open connection, as the kernel lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenConnection {
    /// Names the connection, and never another.
    pub cookie: u64,
    /// Names its socket among descriptors; 0 while nobody has one.
    pub inode: u64,
}

/// The connections of each worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOwners {
    /// How many open connections each worker has; one that has none is not here. A connection that
    /// several have descriptors of counts for each.
    pub open: BTreeMap<WorkerId, u64>,
    /// The cookies of the open connections that no worker has.
    pub unattributed: Vec<u64>,
}

impl ConnectionOwners {
    /// How many open connections a worker has.
    pub fn open_of(&self, worker: WorkerId) -> u64 {
        self.open.get(&worker).copied().unwrap_or(0)
    }
}

/// Finds the owners of the connections. `owners` are the workers that have a descriptor of the socket
/// with an inode. The two are read one after the other, so what is accepted in between has no owner yet:
/// it is unattributed, and never counted for the wrong worker.
pub fn attribute(
    connections: &[OpenConnection],
    owners: &BTreeMap<u64, Vec<WorkerId>>,
) -> ConnectionOwners {
    let mut counted = ConnectionOwners::default();
    for connection in connections {
        match workers_of(connection, owners) {
            [] => counted.unattributed.push(connection.cookie),
            workers => count(&mut counted.open, workers),
        }
    }
    counted
}

fn workers_of<'a>(
    connection: &OpenConnection,
    owners: &'a BTreeMap<u64, Vec<WorkerId>>,
) -> &'a [WorkerId] {
    // Inode 0 means no inode: an owner of it would get all connections that wait to be accepted.
    let known = owners
        .get(&connection.inode)
        .filter(|_| connection.inode != 0);
    known.map_or(&[], Vec::as_slice)
}

/// Adds one to each of the workers: to each once, however many processes or descriptors it has it by.
fn count(open: &mut BTreeMap<WorkerId, u64>, workers: &[WorkerId]) {
    for worker in workers.iter().collect::<BTreeSet<_>>() {
        *open.entry(*worker).or_default() += 1;
    }
}

/// The connections that may be a settled worker's although no table shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unaccounted(BTreeSet<u64>);

impl Unaccounted {
    /// All connections that are open when the worker's listeners have become empty after the flip.
    pub fn open_at_settling(cookies: impl IntoIterator<Item = u64>) -> Self {
        Self(cookies.into_iter().collect())
    }

    /// Drops those that have closed, and those that have an owner: one that had one once has left the
    /// gap for good, and is counted with its owner from then on. What stays is open and unattributed.
    pub fn observe(&mut self, counted: &ConnectionOwners) {
        let unattributed: BTreeSet<u64> = counted.unattributed.iter().copied().collect();
        self.0.retain(|cookie| unattributed.contains(cookie));
    }

    /// Whether every connection of that time has been seen with an owner, or closed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: WorkerId = WorkerId(1);
    const B: WorkerId = WorkerId(2);

    /// Connections by cookie and inode.
    fn open(connections: &[(u64, u64)]) -> Vec<OpenConnection> {
        let connection = |&(cookie, inode)| OpenConnection { cookie, inode };
        connections.iter().map(connection).collect()
    }

    fn owners(of: &[(u64, &[WorkerId])]) -> BTreeMap<u64, Vec<WorkerId>> {
        of.iter()
            .map(|(inode, workers)| (*inode, workers.to_vec()))
            .collect()
    }

    #[test]
    fn a_worker_owns_the_connections_it_has_descriptors_of() {
        let owners = owners(&[(10, &[A]), (11, &[A]), (12, &[B]), (99, &[B])]);
        let counted = attribute(&open(&[(1, 10), (2, 11), (3, 12), (4, 13)]), &owners);
        assert_eq!((counted.open_of(A), counted.open_of(B)), (2, 1));
        assert_eq!(counted.unattributed, [4]);
    }

    #[test]
    fn a_shared_connection_counts_once_for_each_worker() {
        let counted = attribute(&open(&[(1, 10)]), &owners(&[(10, &[A, B, A])]));
        assert_eq!((counted.open_of(A), counted.open_of(B)), (1, 1));
        assert!(counted.unattributed.is_empty());
    }

    #[test]
    fn a_connection_that_waits_to_be_accepted_has_no_owner() {
        let counted = attribute(&open(&[(1, 0)]), &owners(&[(0, &[A])]));
        assert_eq!(
            (counted.open_of(A), &counted.unattributed[..]),
            (0, &[1][..])
        );
    }

    #[test]
    fn without_connections_none_is_unaccounted() {
        assert!(Unaccounted::open_at_settling([]).is_empty());
    }

    /// The gap that this exists for: 2 was taken from the queue and is in no table yet.
    #[test]
    fn a_connection_between_queue_and_descriptor_keeps_a_worker_from_being_quiet() {
        let mut unaccounted = Unaccounted::open_at_settling([1, 2]);
        let between = attribute(&open(&[(1, 10), (2, 0)]), &owners(&[(10, &[B])]));
        unaccounted.observe(&between);
        assert_eq!(between.open_of(A), 0);
        assert!(!unaccounted.is_empty());
        let accepted = attribute(&open(&[(2, 11)]), &owners(&[(11, &[A])]));
        unaccounted.observe(&accepted);
        assert!(unaccounted.is_empty());
    }

    #[test]
    fn a_closed_connection_is_accounted_for() {
        let mut unaccounted = Unaccounted::open_at_settling([1]);
        unaccounted.observe(&ConnectionOwners::default());
        assert!(unaccounted.is_empty());
    }

    #[test]
    fn a_connection_that_had_an_owner_stays_accounted_for() {
        let mut unaccounted = Unaccounted::open_at_settling([1]);
        let owned = attribute(&open(&[(1, 10)]), &owners(&[(10, &[A])]));
        unaccounted.observe(&owned);
        let disowned = attribute(&open(&[(1, 10)]), &owners(&[]));
        unaccounted.observe(&disowned);
        assert!(unaccounted.is_empty());
    }

    #[test]
    fn a_later_connection_is_not_unaccounted() {
        let mut unaccounted = Unaccounted::open_at_settling([1]);
        let counted = attribute(&open(&[(2, 0)]), &owners(&[]));
        unaccounted.observe(&counted);
        assert!(unaccounted.is_empty());
    }
}

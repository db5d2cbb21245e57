//! Which worker has which listener, as /proc tells it at this moment.
//!
//! Our duplicates keep alive what a worker has let go of, so what we hold says nothing about what a worker has:
//! it has a listener while a process of its tree has a descriptor of it. Where the descriptors of a process may not be
//! read (it is another user's, or not dumpable), what it does not show is unknown, and not let go of.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::fleet::WorkerId;

/// Who has which of the listeners that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owners {
    /// By the listener's inode.
    of: BTreeMap<u64, BTreeSet<WorkerId>>,
    /// Workers with a process that hides its descriptors.
    hidden: BTreeSet<WorkerId>,
}

/// Whether a worker has a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// One of its processes has a descriptor of it.
    Held,
    /// None has.
    LetGo,
    /// None shows it, and one shows nothing.
    Unknown,
}

impl Owners {
    /// Whether a worker has the listener with this inode.
    pub(crate) fn ownership(&self, worker: WorkerId, inode: u64) -> Ownership {
        let holders = self.of.get(&inode);
        if holders.is_some_and(|holders| holders.contains(&worker)) {
            Ownership::Held
        } else if self.hidden.contains(&worker) {
            Ownership::Unknown
        } else {
            Ownership::LetGo
        }
    }
}

/// Looks who has the listeners with these inodes. `trees`: the workers, and the living processes of each; `sockets`:
/// the inodes of all sockets of a process ([`socket_inodes`](crate::sys::procfs::socket_inodes)).
///
/// A process that ends meanwhile has nothing. One that is being made may be missing: who concludes from a listener that
/// was let go of looks twice.
pub(crate) fn owners(
    inodes: &BTreeSet<u64>,
    trees: impl IntoIterator<Item = (WorkerId, Vec<i32>)>,
    sockets: impl Fn(i32) -> io::Result<Vec<u64>>,
) -> Owners {
    let mut found = Owners::default();
    for (worker, processes) in trees {
        for pid in processes {
            match sockets(pid) {
                Ok(all) => {
                    for inode in all.into_iter().filter(|inode| inodes.contains(inode)) {
                        found.of.entry(inode).or_default().insert(worker);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => {
                    found.hidden.insert(worker);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENER: u64 = 70;
    const OTHER: u64 = 71;

    /// Process 1 has the listener, 2 has another socket, 3 hides, 4 has ended.
    fn sockets(pid: i32) -> io::Result<Vec<u64>> {
        match pid {
            1 => Ok(vec![9, LISTENER, LISTENER]),
            2 => Ok(vec![9, OTHER]),
            3 => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    #[track_caller]
    fn expect(processes: &[i32], ownership: Ownership) {
        let worker = WorkerId(5);
        let trees = [(worker, processes.to_vec()), (WorkerId(6), vec![2])];
        let found = owners(&BTreeSet::from([LISTENER]), trees, sockets);
        assert_eq!(found.ownership(worker, LISTENER), ownership);
        let other = found.ownership(WorkerId(6), LISTENER);
        assert_eq!(other, Ownership::LetGo, "another worker's is not its own");
    }

    #[test]
    fn any_process_of_a_worker_may_have_its_listener() {
        expect(&[1], Ownership::Held);
        expect(&[2, 4, 1], Ownership::Held);
    }

    #[test]
    fn a_worker_whose_processes_have_ended_or_closed_it_has_let_go() {
        expect(&[2], Ownership::LetGo);
        expect(&[4], Ownership::LetGo);
        expect(&[], Ownership::LetGo);
    }

    #[test]
    fn what_is_hidden_is_unknown_unless_another_process_shows_it() {
        expect(&[3, 2], Ownership::Unknown);
        expect(&[3, 1], Ownership::Held);
    }
}

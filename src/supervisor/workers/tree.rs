//! The processes of a worker.

use std::collections::BTreeMap;

use super::Workers;
use crate::fleet::WorkerId;
use crate::sys::procfs;

impl Workers {
    /// The threads of all processes of a worker.
    pub(in crate::supervisor) fn threads(&self, worker: WorkerId) -> Vec<i32> {
        self.pid(worker)
            .map(procfs::tree_threads)
            .unwrap_or_default()
    }

    /// Which workers have which sockets, by inode, over all their processes.
    pub(in crate::supervisor) fn socket_owners(&self) -> BTreeMap<u64, Vec<WorkerId>> {
        let mut owners: BTreeMap<u64, Vec<WorkerId>> = BTreeMap::new();
        for (worker, pid) in self.pids() {
            for inode in procfs::tree_sockets(pid).into_keys() {
                owners.entry(inode).or_default().push(worker);
            }
        }
        owners
    }

    /// The processes of a worker: the first, its descendants, and what else is of its group, as a child does not cease
    /// to be the worker's when its parent ends. Those that have ended and were not reaped yet are not among them.
    pub(in crate::supervisor) fn tree(&self, worker: WorkerId) -> Vec<i32> {
        let Some(first) = self.pid(worker) else {
            return Vec::new();
        };
        let mut tree = procfs::descendants(first);
        let orphans = procfs::children(self.spawner.supervisor).into_iter();
        for orphan in orphans.filter(|pid| procfs::process_group(*pid) == Some(first)) {
            if !tree.contains(&orphan) {
                tree.extend(procfs::descendants(orphan));
            }
        }
        tree.retain(|pid| !procfs::has_ended(*pid));
        tree
    }
}

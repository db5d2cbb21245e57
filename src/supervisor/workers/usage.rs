//! What a worker's processes use.

use std::collections::BTreeMap;

use super::Workers;
use crate::fleet::WorkerId;
use crate::sys::procfs::{self, ProcessUsage};

impl Workers {
    /// What the processes of these workers use, summed up: of what they share, each counts its own.
    pub(in crate::supervisor) fn usage(
        &self,
        workers: &[WorkerId],
    ) -> BTreeMap<WorkerId, ProcessUsage> {
        let orphans = self.orphans();
        let usage = |worker: &WorkerId| {
            let first = self.pid(*worker)?;
            let mut tree = procfs::descendants(first);
            for orphan in orphans.get(&first).into_iter().flatten() {
                tree.extend(procfs::descendants(*orphan));
            }
            tree.sort_unstable();
            tree.dedup();
            let mut all = tree.into_iter().filter_map(procfs::process_usage);
            let first = all.next()?;
            let sum = all.fold(first, |sum, one| ProcessUsage {
                rss: sum.rss.saturating_add(one.rss),
                cpu: sum.cpu.saturating_add(one.cpu),
            });
            Some((*worker, sum))
        };
        workers.iter().filter_map(usage).collect()
    }

    /// Processes whose parents have ended, by their groups. Once for all workers: the list has every worker in it.
    fn orphans(&self) -> BTreeMap<i32, Vec<i32>> {
        let mut orphans: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        let children = procfs::children(self.spawner.supervisor).into_iter();
        for child in children.filter(|pid| !self.by_pid.contains_key(pid)) {
            if let Some(group) = procfs::process_group(child) {
                orphans.entry(group).or_default().push(child);
            }
        }
        orphans
    }
}

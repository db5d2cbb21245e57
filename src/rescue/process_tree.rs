//! The processes of a worker, and where its sockets are among them.

use std::collections::{BTreeMap, BTreeSet};

use crate::sys::procfs;
use crate::wire::rescue::Descriptor;

#[derive(Debug)]
pub(super) struct ProcessTree {
    root: Root,
    /// All processes of the worker that were ever seen.
    seen: BTreeSet<i32>,
}

/// The worker's first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    /// Of the worker only a listener is known.
    Unknown,
    Running(i32),
    /// The pid may be another process's by now: nothing is looked for under it.
    Exited,
}

impl ProcessTree {
    pub(super) fn new() -> Self {
        Self {
            root: Root::Unknown,
            seen: BTreeSet::new(),
        }
    }

    pub(super) fn set_root(&mut self, pid: i32) {
        if self.root != Root::Exited {
            self.root = Root::Running(pid);
        }
    }

    pub(super) fn root_exited(&mut self) {
        self.root = Root::Exited;
    }

    pub(super) fn include(&mut self, pid: i32) {
        self.seen.insert(pid);
    }

    /// Where each socket of the worker is, by inode, after a full look at all its processes.
    pub(super) fn sockets(&mut self) -> BTreeMap<u64, Descriptor> {
        if let Root::Running(pid) = self.root {
            self.seen.extend(procfs::descendants(pid));
            self.seen.extend(procfs::members_of_group(pid));
        }
        // The duplicates that the rescuer holds say nothing.
        let others = |pid: &&i32| i32::try_from(std::process::id()) != Ok(**pid);
        let of_one = |pid: &i32| {
            let (pid, sockets) = (*pid, procfs::socket_descriptors(*pid).unwrap_or_default());
            sockets
                .into_iter()
                .map(move |(number, inode)| (inode, Descriptor { pid, number, inode }))
        };
        self.seen.iter().filter(others).flat_map(of_one).collect()
    }
}

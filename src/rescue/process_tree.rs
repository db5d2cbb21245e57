//! The processes of a worker, and where its sockets are among them.

use std::cell::RefCell;
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

    /// All processes of the worker, as far as they are known.
    pub(super) fn members(&mut self) -> Vec<i32> {
        if let Root::Running(pid) = self.root {
            self.seen.extend(procfs::descendants(pid));
        }
        self.seen.iter().copied().collect()
    }

    /// Where each socket of the worker is, by inode, after a full look at all its processes.
    pub(super) fn sockets(&mut self) -> BTreeMap<u64, Descriptor> {
        let mut found = BTreeMap::new();
        let seen = RefCell::new(std::mem::take(&mut self.seen));
        let root = self.root;
        procfs::visit_family(
            || {
                let mut seen = seen.borrow_mut();
                seen.extend(root.family());
                seen.iter().copied().collect()
            },
            |pid| found.extend(sockets_of(pid)),
        );
        self.seen = seen.into_inner();
        found
    }
}

impl Root {
    /// It and all that have come of it, as far as that is known.
    fn family(self) -> Vec<i32> {
        match self {
            Self::Running(pid) => {
                let mut family = procfs::descendants(pid);
                family.extend(procfs::members_of_group(pid));
                family
            }
            Self::Unknown | Self::Exited => Vec::new(),
        }
    }
}

/// Where one process has sockets.
fn sockets_of(pid: i32) -> Vec<(u64, Descriptor)> {
    // The duplicates that the rescuer holds say nothing.
    if i32::try_from(std::process::id()) == Ok(pid) {
        return Vec::new();
    }
    let sockets = procfs::socket_descriptors(pid).unwrap_or_default();
    let place = |(number, inode)| (inode, Descriptor { pid, number, inode });
    sockets.into_iter().map(place).collect()
}

//! The threads of a worker that sleep in reads.

use std::collections::BTreeMap;

use crate::sys::procfs;
use crate::wire::rescue::Descriptor;

/// A thread that sleeps in a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reader {
    pub(super) pid: i32,
    pub(super) thread: i32,
}

/// One look at the threads of each process, made when the process is first asked about.
#[derive(Debug)]
pub(super) struct Readers<'a> {
    /// All processes of the worker: several may have a connection, and any of them may read.
    family: &'a [i32],
    by_process: BTreeMap<i32, BTreeMap<u64, i32>>,
}

impl<'a> Readers<'a> {
    pub(super) fn new(family: &'a [i32]) -> Self {
        Self {
            family,
            by_process: BTreeMap::new(),
        }
    }

    /// The thread that sleeps in a read of this socket: most of the time of the process where the socket was
    /// found.
    pub(super) fn of(&mut self, place: Descriptor) -> Option<Reader> {
        let family = self.family;
        let others = family.iter().copied().filter(|pid| *pid != place.pid);
        let mut pids = std::iter::once(place.pid).chain(others);
        pids.find_map(|pid| {
            let thread = self.of_process(pid).get(&place.inode).copied()?;
            Some(Reader { pid, thread })
        })
    }

    fn of_process(&mut self, pid: i32) -> &BTreeMap<u64, i32> {
        let readers = self.by_process.entry(pid);
        readers.or_insert_with(|| procfs::readers(pid))
    }
}

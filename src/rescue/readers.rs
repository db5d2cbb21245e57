//! The threads of a worker that sleep in reads.

use std::collections::BTreeMap;

use crate::sys::procfs;
use crate::wire::rescue::Descriptor;

/// One look at the threads of each process, made when the process is first asked about.
#[derive(Debug, Default)]
pub(super) struct Readers {
    by_process: BTreeMap<i32, BTreeMap<u64, i32>>,
}

impl Readers {
    /// The thread that sleeps in a read of this socket.
    pub(super) fn of(&mut self, place: Descriptor) -> Option<i32> {
        let readers = self
            .by_process
            .entry(place.pid)
            .or_insert_with(|| procfs::readers(place.pid));
        readers.get(&place.inode).copied()
    }
}

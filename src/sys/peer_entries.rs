//! The entries that name peers, in memory that is shared with the kernel: [`wire::peer_names`](crate::wire::peer_names)
//! says what is in one.
//!
//! The order of events: the entry of a port is [claimed](PeerEntries::claim), which only one can do; then it is
//! [stored](PeerEntries::store), and the program sees all of it or nothing; then it is [cleared](PeerEntries::clear).

use std::io;
use std::os::fd::AsFd;

use crate::sys::bpf::SharedArray;
use crate::wire::peer_names::{ENTRIES, ENTRY_WORDS, OWNER, VERSION};

/// All entries, one a port.
#[derive(Debug)]
pub struct PeerEntries(SharedArray);

impl PeerEntries {
    /// Maps the array with this descriptor.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn map(array: &impl AsFd) -> io::Result<Self> {
        SharedArray::map(array, ENTRIES * ENTRY_WORDS).map(Self)
    }

    /// Makes a port's entry one's own; false if it is somebody's.
    pub fn claim(&self, port: u16, owner: u32) -> bool {
        self.0.claim(first(port) + OWNER, owner)
    }

    /// Stores an entry that was claimed.
    pub fn store(&self, port: u16, words: &[u32; ENTRY_WORDS]) {
        self.0.store(first(port), words);
    }

    /// Takes an entry back: first its version, so that there is none any more, then its owner, so that another may
    /// claim it.
    pub fn clear(&self, port: u16) {
        self.0.store(first(port) + VERSION, &[0]);
        self.0.store(first(port) + OWNER, &[0]);
    }

    /// Takes back all that an owner has.
    pub fn clear_all_of(&self, owner: u32) {
        for port in 0..=u16::MAX {
            if self.0.load(first(port) + OWNER) == owner {
                self.clear(port);
            }
        }
    }
}

fn first(port: u16) -> usize {
    usize::from(port) * ENTRY_WORDS
}

//! The maps of one group, and the program that reads them.
//!
//! ```text
//!  current ──► bank 0 │ bank 1 │ bank 2 │ bank 3      a count, and the keys to choose from
//!                            │
//!                            └──► sockets             the listeners, by key
//! ```
//! A flip writes a bank that is not read, and then where it begins into `current`: one word, so a packet
//! meets the choice before or the choice after, and no mixture. A bank is written again after three flips
//! more; a packet takes microseconds.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::program::{MAX_CHOICES, Maps, program};
use crate::supervisor::steering::probe_rule::PROBED;
use crate::sys::bpf::{self, LoadError, Map, Purpose, SharedArray};
use crate::sys::process;

use crate::sys::steering::AttachError;

/// Whether the program counts what it gives to whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// It has nothing to do with that.
    #[default]
    No,
    /// For each connection.
    Yes,
}

/// A count has 64 bits, of which the lower ones come first on all that we run on.
const WORDS_OF_COUNT: usize = 2;

fn shared(counts: &Map) -> io::Result<SharedArray> {
    SharedArray::map(counts, MAX_LISTENERS as usize * WORDS_OF_COUNT)
}

const BANKS: u32 = 4;
const BANK_LEN: u32 = 1 + MAX_CHOICES;

/// How many listeners a group can have at a time.
pub const MAX_LISTENERS: u32 = PROBED;

/// The maps and the program of one group. They go when this is dropped and the group has no member left.
#[derive(Debug)]
pub struct GroupMaps {
    sockets: Map,
    current: Map,
    banks: Map,
    /// How many connections each key was given, if that is counted. The map is the program's.
    counts: Option<SharedArray>,
    program: OwnedFd,
    /// Which bank is chosen from.
    bank: u32,
}

impl GroupMaps {
    /// Maps without a listener, and a program for them.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub fn create(counting: Counting) -> Result<Self, LoadError> {
        match Self::create_within_limits(counting) {
            // Before Linux 5.11 they count as locked memory, of which 64 KiB are allowed by default.
            Err(LoadError::Os(error)) if error.raw_os_error() == Some(libc::EPERM) => {
                process::with_locked_memory(|| Self::create_within_limits(counting))?
            }
            created => created,
        }
    }

    fn create_within_limits(counting: Counting) -> Result<Self, LoadError> {
        let sockets = Map::sockets(MAX_LISTENERS)?;
        let current = Map::array(4, 1)?;
        let banks = Map::array(4, BANKS * BANK_LEN)?;
        let counts = match counting {
            Counting::No => None,
            Counting::Yes => Some(Map::shared(8, MAX_LISTENERS)?),
        };
        let program = bpf::load(
            Purpose::Steering,
            &program(Maps {
                sockets: sockets.number(),
                current: current.number(),
                banks: banks.number(),
                counts: counts.as_ref().map(Map::number),
            }),
        )?;
        Ok(Self {
            sockets,
            current,
            banks,
            counts: counts.map(|map| shared(&map)).transpose()?,
            program,
            bank: 0,
        })
    }

    /// How many connections a key was given, ever, modulo 2^32; none where that is not counted.
    pub fn count(&self, key: u32) -> Option<u32> {
        let counts = self.counts.as_ref()?;
        Some(counts.load(key as usize * WORDS_OF_COUNT))
    }

    /// Makes the program the choice of the group that a listener is in.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn attach(&self, listener: &impl AsFd) -> Result<(), AttachError> {
        bpf::attach(listener, &self.program)
    }

    /// A listener has this key from now on.
    ///
    /// # Errors
    /// Those of [`Map::store_socket`]; none if it has the key already.
    pub fn put(&self, key: u32, listener: &impl AsFd) -> io::Result<()> {
        // A listener that was shut down has left by itself. One that is still there cannot be put there again.
        self.sockets.remove(key)?;
        self.sockets.store_socket(key, listener)
    }

    /// Nobody has this key any more.
    ///
    /// # Errors
    /// Those of [`Map::remove`].
    pub fn take_out(&self, key: u32) -> io::Result<()> {
        self.sockets.remove(key)
    }

    /// Gives new connections to the listeners with these keys, at most [`MAX_CHOICES`].
    ///
    /// # Errors
    /// Those of [`Map::store_words`]; then all stays as it was.
    pub fn choose_from(&mut self, keys: &[u32]) -> io::Result<()> {
        let count = u32::try_from(keys.len())
            .unwrap_or(u32::MAX)
            .min(MAX_CHOICES);
        let words = [count].into_iter().chain(keys.iter().copied());
        let words: Vec<u32> = words.take(1 + count as usize).collect();
        let bank = (self.bank + 1) % BANKS;
        let first = bank * BANK_LEN;
        self.banks.store_words(first, &words)?;
        self.current.store_words(0, &[first])?;
        self.bank = bank;
        Ok(())
    }
}

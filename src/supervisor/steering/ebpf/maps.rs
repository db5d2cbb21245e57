//! The maps of one group, and the program that reads them.
//!
//! ```text
//!  current ──► bank 0 │ bank 1 │ … bank 7        a count, and the keys to choose from
//!                            │
//!                            └──► sockets        the listeners, by key
//! ```
//! A flip writes a bank that is not read, and then its number into `current`: one word, so a packet meets the
//! choice before or the choice after, and no mixture. A bank is written again after seven flips more; a
//! packet takes microseconds.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::program::{MAX_CHOICES, Maps, program};
use crate::supervisor::steering::probe_rule::PROBED;
use crate::sys::bpf::{self, LoadError, Map};
use crate::sys::steering::AttachError;

const BANKS: u32 = 8;

/// How many listeners a group can have at a time.
pub(super) const MAX_LISTENERS: u32 = PROBED;

#[derive(Debug)]
pub(super) struct GroupMaps {
    sockets: Map,
    current: Map,
    banks: Map,
    program: OwnedFd,
    /// The number in `current`.
    bank: u32,
}

impl GroupMaps {
    /// Maps without a listener, and a program for them.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub(super) fn create() -> Result<Self, LoadError> {
        let sockets = Map::sockets(MAX_LISTENERS)?;
        let current = Map::array(4, 1)?;
        let banks = Map::array(4 + 4 * MAX_CHOICES, BANKS)?;
        let program = bpf::load(&program(Maps {
            sockets: sockets.number(),
            current: current.number(),
            banks: banks.number(),
        }))?;
        Ok(Self {
            sockets,
            current,
            banks,
            program,
            bank: 0,
        })
    }

    /// Makes the program the choice of the group that a listener is in.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub(super) fn attach(&self, listener: &impl AsFd) -> Result<(), AttachError> {
        bpf::attach(listener, &self.program)
    }

    /// A listener has this key from now on.
    ///
    /// # Errors
    /// Those of [`Map::store_socket`]; none if it has the key already.
    pub(super) fn put(&self, key: u32, listener: &impl AsFd) -> io::Result<()> {
        // A listener that was shut down has left by itself. One that is still there cannot be put there again.
        self.sockets.remove(key)?;
        self.sockets.store_socket(key, listener)
    }

    /// Nobody has this key any more.
    ///
    /// # Errors
    /// Those of [`Map::remove`].
    pub(super) fn take_out(&self, key: u32) -> io::Result<()> {
        self.sockets.remove(key)
    }

    /// Gives new connections to the listeners with these keys, at most [`MAX_CHOICES`].
    ///
    /// # Errors
    /// Those of [`Map::store`]; then all stays as it was.
    pub(super) fn choose_from(&mut self, keys: &[u32]) -> io::Result<()> {
        let count = u32::try_from(keys.len())
            .unwrap_or(u32::MAX)
            .min(MAX_CHOICES);
        let mut value = count.to_ne_bytes().to_vec();
        value.extend(
            keys.iter()
                .take(count as usize)
                .flat_map(|key| key.to_ne_bytes()),
        );
        value.resize(4 + 4 * MAX_CHOICES as usize, 0);
        let bank = (self.bank + 1) % BANKS;
        self.banks.store(bank, &value)?;
        self.current.store(0, &bank.to_ne_bytes())?;
        self.bank = bank;
        Ok(())
    }
}

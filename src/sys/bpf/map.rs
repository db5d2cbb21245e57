//! Maps: what a program reads, and we write.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{address, bpf, raw};

/// A map with the keys 0, 1, 2 and so on.
#[derive(Debug)]
pub struct Map {
    descriptor: OwnedFd,
    value_len: usize,
}

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE: libc::c_int = 2;
const MAP_DELETE: libc::c_int = 3;
/// Linux 5.6.
const MAP_UPDATE_BATCH: libc::c_int = 26;

const ARRAY: u32 = 2;
const REUSEPORT_SOCKARRAY: u32 = 20;
/// The first members of `union bpf_attr` for the creation of a map.
#[derive(Default)]
#[repr(C)]
struct Creation {
    kind: u32,
    key_len: u32,
    value_len: u32,
    entries: u32,
    flags: u32,
}

/// The first members of `union bpf_attr` for what is done to an element. Addresses have 64 bits
/// everywhere.
#[derive(Default)]
#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The first members of `union bpf_attr` for what is done to several elements.
#[derive(Default)]
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

impl Map {
    /// An array of values that are `value_len` bytes long, all of them zero at first.
    ///
    /// # Errors
    /// `EPERM` without `CAP_BPF`, and before 5.11 where `RLIMIT_MEMLOCK` is too low; `ENOMEM`; `ENOSYS`.
    pub fn array(value_len: u32, entries: u32) -> io::Result<Self> {
        Self::create(ARRAY, value_len, entries)
    }

    /// An array of listeners of reuseport groups. A listener can be in one such array only, once. It
    /// leaves it by itself when it is closed or shut down.
    ///
    /// # Errors
    /// As for [`Self::array`].
    pub fn sockets(entries: u32) -> io::Result<Self> {
        Self::create(REUSEPORT_SOCKARRAY, 8, entries)
    }

    /// An array that can be mapped into memory ([`SharedArray`](super::SharedArray), `BPF_F_MMAPABLE`, Linux 5.5);
    /// all of it is zero at first.
    ///
    /// # Errors
    /// As for [`Self::array`].
    pub fn shared(value_len: u32, entries: u32) -> io::Result<Self> {
        const MAPPABLE: u32 = 1 << 10;
        Self::create_with(ARRAY, value_len, entries, MAPPABLE)
    }

    fn create(kind: u32, value_len: u32, entries: u32) -> io::Result<Self> {
        Self::create_with(kind, value_len, entries, 0)
    }

    fn create_with(kind: u32, value_len: u32, entries: u32, flags: u32) -> io::Result<Self> {
        let creation = Creation {
            flags,
            kind,
            key_len: 4,
            value_len,
            entries,
        };
        // SAFETY: the kernel only reads from the attributes, which have no address in them.
        let descriptor = unsafe { bpf(MAP_CREATE, creation) }?;
        Ok(Self {
            // SAFETY: bpf has just made this descriptor (close-on-exec, bpf(2)), and nobody else has it.
            descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) },
            value_len: value_len as usize,
        })
    }

    /// Stores words at successive keys.
    ///
    /// # Errors
    /// `E2BIG` where the map does not have the keys, `EINVAL` for a map of other values.
    pub fn store_words(&self, first: u32, words: &[u32]) -> io::Result<()> {
        if self.value_len != size_of::<u32>() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let keys: Vec<u32> = (first..).take(words.len()).collect();
        let batch = Batch {
            keys: address(keys.as_ptr()),
            values: address(words.as_ptr()),
            count: u32::try_from(keys.len()).map_err(io::Error::other)?,
            map: raw(self.descriptor.as_raw_fd()),
            ..Batch::default()
        };
        // SAFETY: the kernel reads `count` keys and as many words, which live on, and writes to the attributes.
        unsafe { bpf(MAP_UPDATE_BATCH, batch) }.map(drop)
    }

    /// Puts a listener into an array of sockets, in place of the one that is there.
    ///
    /// # Errors
    /// `EINVAL` unless it listens in a reuseport group, `EBUSY` if it is in an array already.
    pub fn store_socket(&self, key: u32, listener: &impl AsFd) -> io::Result<()> {
        if self.value_len != size_of::<u64>() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let value = u64::from(raw(listener.as_fd().as_raw_fd()));
        let element = Element {
            map: raw(self.descriptor.as_raw_fd()),
            key: address(&raw const key),
            value: address(&raw const value),
            ..Element::default()
        };
        // SAFETY: the kernel reads the four bytes of `key` and the eight of `value`, which live on.
        unsafe { bpf(MAP_UPDATE, element) }.map(drop)
    }

    /// Empties an entry of an array of sockets; one that is empty stays so.
    ///
    /// # Errors
    /// `E2BIG` for a key that the map does not have.
    pub fn remove(&self, key: u32) -> io::Result<()> {
        let element = Element {
            map: raw(self.descriptor.as_raw_fd()),
            key: address(&raw const key),
            ..Element::default()
        };
        // SAFETY: the kernel reads the four bytes of `key`, which lives on.
        match unsafe { bpf(MAP_DELETE, element) } {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            removed => removed.map(drop),
        }
    }

    /// The number by which a program names the map.
    pub fn number(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

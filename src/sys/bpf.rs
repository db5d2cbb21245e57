//! bpf(2): a program that chooses a listener of a reuseport group, and the maps that it reads.
//!
//! The order of events: maps are created, a program that names them is loaded, the kernel verifies it, and
//! [`attach`] makes it the group's. From then on whatever changes is a store into a map. All that needs
//! `CAP_BPF` (`CAP_SYS_ADMIN` before Linux 5.8), but for the attaching.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::AcceptConn;

use super::steering::AttachError;

/// One instruction of eBPF, as `struct bpf_insn` of `linux/bpf.h` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// The operation.
    pub code: u8,
    /// The destination register in the low four bits, the source register in the high four.
    pub registers: u8,
    /// Of a jump: how many instructions it skips; of a load or store: where it is from the register.
    pub offset: i16,
    /// The constant.
    pub immediate: i32,
}

/// Why the kernel does not take a program.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It may not be loaded, or there is no room.
    #[error("cannot load an eBPF program: {0}")]
    Os(#[from] io::Error),
    /// The verifier did not accept it; that is a fault of ours, or of the kernel.
    #[error("the kernel does not accept the eBPF program: {source}; its verifier says: {log}")]
    Rejected {
        /// `EACCES` or `EINVAL`.
        source: io::Error,
        /// The end of what the verifier has to say.
        log: String,
    },
}

/// A map with the keys 0, 1, 2 and so on.
#[derive(Debug)]
pub struct Map {
    descriptor: OwnedFd,
    value_len: usize,
}

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE: libc::c_int = 2;
const MAP_DELETE: libc::c_int = 3;
const PROGRAM_LOAD: libc::c_int = 5;

const ARRAY: u32 = 2;
const REUSEPORT_SOCKARRAY: u32 = 20;
const SK_REUSEPORT: u32 = 21;

/// `SO_ATTACH_REUSEPORT_EBPF` (socket(7), Linux 4.19 for programs of this type); libc has it for no
/// target that we build for in another value.
const SO_ATTACH_REUSEPORT_EBPF: libc::c_int = libc::SO_ATTACH_REUSEPORT_EBPF;

/// How much the verifier may say.
const MAX_LOG_LEN: usize = 64 * 1024;

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

/// The first members of `union bpf_attr` for the loading of a program.
#[derive(Default)]
#[repr(C)]
struct Loading {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_len: u32,
    log: u64,
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

    fn create(kind: u32, value_len: u32, entries: u32) -> io::Result<Self> {
        let creation = Creation {
            kind,
            key_len: 4,
            value_len,
            entries,
            ..Creation::default()
        };
        // SAFETY: the kernel only reads from the attributes, which have no address in them.
        let descriptor = unsafe { bpf(MAP_CREATE, &creation) }?;
        Ok(Self {
            // SAFETY: bpf has just made this descriptor (close-on-exec, bpf(2)), and nobody else has it.
            descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) },
            value_len: value_len as usize,
        })
    }

    /// Stores a value. A program that reads it meanwhile may see a part of the former one.
    ///
    /// # Errors
    /// `E2BIG` for a key that the map does not have, `EINVAL` for a value of another length.
    pub fn store(&self, key: u32, value: &[u8]) -> io::Result<()> {
        if value.len() != self.value_len {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let element = Element {
            map: raw(self.descriptor.as_raw_fd()),
            key: address(&raw const key),
            value: address(value.as_ptr()),
            ..Element::default()
        };
        // SAFETY: the kernel reads the four bytes of `key` and `value_len` bytes of `value`, which live on.
        unsafe { bpf(MAP_UPDATE, &element) }.map(drop)
    }

    /// Puts a listener into an array of sockets, in place of the one that is there.
    ///
    /// # Errors
    /// `EINVAL` unless it listens in a reuseport group, `EBUSY` if it is in an array already.
    pub fn store_socket(&self, key: u32, listener: &impl AsFd) -> io::Result<()> {
        let number = raw(listener.as_fd().as_raw_fd());
        self.store(key, &u64::from(number).to_ne_bytes())
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
        match unsafe { bpf(MAP_DELETE, &element) } {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            removed => removed.map(drop),
        }
    }

    /// The number by which a program names the map.
    pub fn number(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// Has the kernel verify a program of the type `BPF_PROG_TYPE_SK_REUSEPORT` (Linux 4.19) and take it.
///
/// # Errors
/// See [`LoadError`].
pub fn load(instructions: &[Instruction]) -> Result<OwnedFd, LoadError> {
    let mut log = vec![0_u8; MAX_LOG_LEN];
    let loading = Loading {
        kind: SK_REUSEPORT,
        count: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        instructions: address(instructions.as_ptr()),
        license: address(c"MIT".as_ptr()),
        log_level: 1,
        log_len: u32::try_from(log.len()).map_err(io::Error::other)?,
        log: address(log.as_mut_ptr()),
    };
    // SAFETY: the kernel reads `count` instructions and a string that ends in NUL, and writes at most
    // `log_len` bytes to `log`; all of them live on.
    match unsafe { bpf(PROGRAM_LOAD, &loading) } {
        // SAFETY: bpf has just made this descriptor (close-on-exec, bpf(2)), and nobody else has it.
        Ok(descriptor) => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        Err(source) => {
            let said = log.split(|byte| *byte == 0).next().unwrap_or_default();
            let said = String::from_utf8_lossy(said).trim().to_owned();
            if said.is_empty() {
                return Err(LoadError::Os(source));
            }
            let last = said.lines().rev().take(4).collect::<Vec<_>>();
            let log = last.into_iter().rev().collect::<Vec<_>>().join("; ");
            Err(LoadError::Rejected { source, log })
        }
    }
}

/// Makes a program the choice of the group that `listener` is in, in place of what chose before.
///
/// Any listening member will do. The group keeps the program, and the program its maps. No privilege is
/// needed. Replacing an eBPF program under load is safe on kernels with CVE-2026-52910 too.
///
/// # Errors
/// See [`AttachError`].
pub fn attach(listener: &impl AsFd, program: &OwnedFd) -> Result<(), AttachError> {
    if !getsockopt(listener, AcceptConn).map_err(io::Error::from)? {
        return Err(AttachError::NotListening);
    }
    let number = program.as_raw_fd();
    // SAFETY: the kernel reads an int from the address of one.
    let answer = unsafe {
        libc::setsockopt(
            listener.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_ATTACH_REUSEPORT_EBPF,
            (&raw const number).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(AttachError::Os(io::Error::last_os_error())),
    }
}

fn raw(descriptor: RawFd) -> u32 {
    descriptor.cast_unsigned()
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.addr() as u64
}

/// # Safety
/// The attributes are those of the command, and the addresses in them are good for it.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<RawFd> {
    // SAFETY: the kernel copies as many bytes of the attributes as are said; the rest is the caller's word.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(answer).map_err(io::Error::other)
}

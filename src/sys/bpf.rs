//! bpf(2): a program that chooses a listener of a reuseport group, and the maps that it reads.
//!
//! The order of events: maps are created, a program that names them is loaded, the kernel verifies it, and
//! [`attach`] makes it the group's. From then on whatever changes is a store into a map. All that needs
//! `CAP_BPF` (`CAP_SYS_ADMIN` before Linux 5.8), but for the attaching.

pub(crate) mod assembler;
mod cgroup;
mod map;
mod shared_array;

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::AcceptConn;

use super::steering::AttachError;

pub use cgroup::{CgroupLink, attach_to_cgroup};
pub use map::Map;
pub use shared_array::SharedArray;

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

const PROGRAM_LOAD: libc::c_int = 5;

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Chooses a listener of a reuseport group (`BPF_PROG_TYPE_SK_REUSEPORT`, Linux 4.19).
    Steering,
    /// Says who the peer of an IPv4 socket is (`BPF_CGROUP_INET4_GETPEERNAME`, Linux 5.8).
    PeerNameV4,
    /// Says who the peer of an IPv6 socket is (`BPF_CGROUP_INET6_GETPEERNAME`, Linux 5.8).
    PeerNameV6,
}

impl Purpose {
    fn kind(self) -> u32 {
        match self {
            Self::Steering => 21,
            Self::PeerNameV4 | Self::PeerNameV6 => 18,
        }
    }

    /// Where it is attached; 0 where the kind says that.
    fn attach_type(self) -> u32 {
        match self {
            Self::Steering => 0,
            Self::PeerNameV4 => 29,
            Self::PeerNameV6 => 30,
        }
    }
}

/// `CAP_BPF` of `linux/capability.h`. prctl(2) takes five arguments of this type.
const CAP_BPF: libc::c_ulong = 39;
const CAP_NET_ADMIN: libc::c_ulong = 12;

/// How much the verifier may say.
const MAX_LOG_LEN: usize = 64 * 1024;

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
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

/// Has the kernel verify a program and take it.
///
/// # Errors
/// See [`LoadError`].
pub fn load(purpose: Purpose, instructions: &[Instruction]) -> Result<OwnedFd, LoadError> {
    let mut log = vec![0_u8; MAX_LOG_LEN];
    let loading = Loading {
        kind: purpose.kind(),
        count: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        instructions: address(instructions.as_ptr()),
        license: address(c"MIT".as_ptr()),
        log_level: 1,
        log_len: u32::try_from(log.len()).map_err(io::Error::other)?,
        log: address(log.as_mut_ptr()),
        attach_type: purpose.attach_type(),
        ..Loading::default()
    };
    // SAFETY: the kernel reads `count` instructions and a string that ends in NUL, and writes at most
    // `log_len` bytes to `log`; all of them live on.
    match unsafe { bpf(PROGRAM_LOAD, loading) } {
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
            libc::SO_ATTACH_REUSEPORT_EBPF,
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

/// Sees to it that what we execute does not get `CAP_BPF` where it was given to us as an ambient capability
/// (capabilities(7), Linux 4.3), as `AmbientCapabilities=` of a systemd unit does; nor `CAP_NET_ADMIN`, which was
/// given with it for [`Purpose::PeerNameV4`]. We keep both ourselves.
///
/// # Errors
/// `EINVAL` where the kernel does not know `CAP_BPF` (before 5.8): then nobody has it.
pub fn keep_from_children() -> io::Result<()> {
    const IS_SET: libc::c_ulong = libc::PR_CAP_AMBIENT_IS_SET as libc::c_ulong;
    const LOWER: libc::c_ulong = libc::PR_CAP_AMBIENT_LOWER as libc::c_ulong;
    if ambient(IS_SET, CAP_BPF)? == 1 {
        ambient(LOWER, CAP_NET_ADMIN)?;
        ambient(LOWER, CAP_BPF)?;
    }
    Ok(())
}

fn ambient(operation: libc::c_ulong, capability: libc::c_ulong) -> io::Result<libc::c_int> {
    const NONE: libc::c_ulong = 0;
    // SAFETY: this prctl takes integers and touches no memory of ours.
    let answer = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, operation, capability, NONE, NONE) };
    match answer {
        0.. => Ok(answer),
        _ => Err(io::Error::last_os_error()),
    }
}

// SAFETY: whoever calls it says why the addresses in the attributes are good for the command.
unsafe fn bpf<T>(command: libc::c_int, mut attributes: T) -> io::Result<RawFd> {
    // SAFETY: the kernel reads and writes as many bytes of the attributes as are said; the rest is the caller's word.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attributes, size_of::<T>()) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(answer).map_err(io::Error::other)
}

//! Steering at the kernel's side: the program of a reuseport group, and what makes a close safe.
//!
//! The order of events: the group's first listener listens; a program is attached; [`fence`] where
//! something is to rely on no packet using the program before. For a listener that leaves: attach,
//! [`hide`] it, [`fence`], close it, attach. The hazard: a program attached to a
//! socket that does not listen gives it a group of its own. If it is not bound yet, its bind to a port
//! that others have fails with "address in use"; if it has been shut down, the others are steered as before.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::AsFd;

use nix::sys::socket::sockopt::{AcceptConn, AttachReusePortCbpf};
use nix::sys::socket::{getsockopt, setsockopt};
use socket2::{SockFilter, SockRef};

/// One instruction of classic BPF, as `struct sock_filter` of `linux/filter.h` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// How many instructions a conditional jump skips when its test holds.
    pub jt: u8,
    /// How many instructions a conditional jump skips when its test fails.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// Why a program could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The socket does not listen, or does not any more. The kernel would take the program, for a
    /// group of the socket's own, and the steering would be lost without a word.
    #[error("{ATTACH}: it does not listen; {ADVICE}")]
    NotListening,
    /// More instructions than a program can have.
    #[error("{ATTACH}: the program has {0} instructions; {ADVICE}")]
    TooLong(usize),
    /// The kernel said no. `ENOMEM`: the program is longer than `net.core.optmem_max` lets it be.
    /// `EPERM`: the listener's filters are locked (`SO_LOCK_FILTER`). `EINVAL`: the listener has no
    /// `SO_REUSEPORT`.
    #[error("{ATTACH}: {0}; {ADVICE}")]
    Os(#[from] io::Error),
}

const ATTACH: &str = "cannot attach a steering program to the listener's group";
const ADVICE: &str = "see that it still listens, or do without steering (--steering none)";

/// Makes `program` the steering of the group that `listener` is in, in place of the program before.
///
/// Any listening member will do: the program is the group's, later members get it too, and it outlives
/// the member. Replacing it is atomic for each packet. No privilege is needed
/// (`SO_ATTACH_REUSEPORT_CBPF`, socket(7); for TCP since Linux 4.6).
///
/// # Errors
/// See [`AttachError`]. The program before stays attached.
pub fn attach(listener: &impl AsFd, program: &[Instruction]) -> Result<(), AttachError> {
    if !getsockopt(listener, AcceptConn).map_err(io::Error::from)? {
        return Err(AttachError::NotListening);
    }
    let mut filter: Vec<libc::sock_filter> = program.iter().map(raw).collect();
    let len = u16::try_from(filter.len()).map_err(|_| AttachError::TooLong(filter.len()))?;
    let fprog = libc::sock_fprog {
        len,
        filter: filter.as_mut_ptr(),
    };
    let attached = setsockopt(listener, AttachReusePortCbpf, &fprog);
    attached.map_err(|errno| AttachError::Os(errno.into()))
}

fn raw(instruction: &Instruction) -> libc::sock_filter {
    let &Instruction { code, jt, jf, k } = instruction;
    libc::sock_filter { code, jt, jf, k }
}

/// Has the kernel drop what would begin a connection to this listener; what has begun goes on.
///
/// A filter sees each packet from the TCP header on, and passes what acknowledges something: a SYN does not.
/// Connections that are accepted later have the filter too, and everything but their first packet acknowledges
/// something.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` on kernels since 6.1.176, 6.12.94 and 7.1.
pub fn drop_syns(listener: &impl AsFd) -> io::Result<()> {
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const JUMP_IF_ANY_SET: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const FLAGS: u32 = 13;
    const ACK: u32 = 0x10;
    let filter = [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(JUMP_IF_ANY_SET, 0, 1, ACK),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ];
    SockRef::from(listener).attach_filter(&filter)
}

/// Makes a listener that leaves invisible to the kernel's search, though it keeps its index in the group.
///
/// Without it a close can lose a connection that the program sends elsewhere. A SYN's search walks the
/// list of listeners and asks the first that fits for its group. A closing listener is taken out of its
/// group first, then out of the list, and only then stops listening (`inet_unhash`, `tcp_set_state`):
/// found in between, it has no program any more, and takes the SYN itself. Over IPv6 the oldest is
/// found first, over IPv4 the newest.
///
/// A listener bound to a network interface fits only what comes from there, so it is bound to one that
/// does not exist (`SO_BINDTOIFINDEX`, Linux 5.1; without privilege since 5.7). What it answers goes there
/// too, so it must be empty and no target any more. The order: hide, [`fence`], close. It cannot be
/// undone without `CAP_NET_RAW`.
///
/// # Errors
///
/// `EPERM` when its worker has bound it to an interface, or on older kernels; `ENOPROTOOPT` before
/// 5.1. It can be closed all the same, but under load a close in some hundreds or thousands of the listener
/// that is found first then loses a connection.
pub fn hide(listener: &impl AsFd) -> io::Result<()> {
    SockRef::from(listener).bind_device_by_index_v4(NO_INTERFACE)
}

/// The highest index that an interface can have; they are given out from 1 on.
const NO_INTERFACE: Option<NonZeroU32> = NonZeroU32::new(i32::MAX.unsigned_abs());

/// `MEMBARRIER_CMD_GLOBAL` of `linux/membarrier.h`.
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// Whether [`fence`] will be obeyed (`MEMBARRIER_CMD_QUERY`, membarrier(2)).
///
/// # Errors
/// As for [`fence`].
pub fn check_fence() -> io::Result<()> {
    // SAFETY: membarrier takes three integers and touches no memory of ours.
    let commands = unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) };
    match commands {
        ..0 => Err(io::Error::last_os_error()),
        commands if commands & libc::c_long::from(MEMBARRIER_CMD_GLOBAL) == 0 => {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        }
        _ => Ok(()),
    }
}

/// Returns when every packet that was using a program or a group as it was before the call has been handled.
///
/// It is membarrier(2) with `MEMBARRIER_CMD_GLOBAL` (Linux 4.3, then called `MEMBARRIER_CMD_SHARED`),
/// which is `synchronize_rcu` in the kernel, and packets choose their listener inside of an RCU read
/// section. It takes milliseconds, some tens of them on a busy machine, and needs no privilege.
///
/// # Errors
///
/// `EINVAL` on kernels that run with `nohz_full`, `ENOSYS` or `EPERM` where a container's filter refuses
/// it. Wait 100 ms instead, which is not a proof but far beyond what was ever observed.
pub fn fence() -> io::Result<()> {
    // SAFETY: membarrier takes three integers and touches no memory of ours.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

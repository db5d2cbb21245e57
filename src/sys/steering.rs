//! Steering at the kernel's side: the program of a reuseport group, and the fence behind it.
//!
//! The order of events: the group's first listener listens; a program is attached; [`fence`] where
//! something is to rely on no packet using the program before. The hazard: a program attached to a
//! socket that does not listen yet gives it a group of its own, and its bind to a port that others
//! have fails with "address in use".

use crate::fleet::steering::{Instruction, Program};
use nix::sys::socket::{setsockopt, sockopt::AttachReusePortCbpf};
use std::io;
use std::os::fd::AsFd;

/// Makes `program` the steering of the group that `listener` is in, in place of the program before.
///
/// Any listening member will do: the program is the group's, later members get it too, and it outlives
/// the member. Replacing it is atomic for each packet. No privilege is needed
/// (`SO_ATTACH_REUSEPORT_CBPF`, socket(7); for TCP since Linux 4.5).
///
/// # Errors
///
/// `ENOMEM` when the program is longer than `net.core.optmem_max` lets it be, `EPERM` when the
/// listener's filters are locked (`SO_LOCK_FILTER`), `EINVAL` when the socket has no reuseport group.
/// The program before stays attached.
pub fn attach(listener: &impl AsFd, program: &Program) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> = program.instructions().iter().map(raw).collect();
    let len = u16::try_from(filter.len())
        .map_err(|_| told("it is too long", io::ErrorKind::InvalidInput))?;
    let fprog = libc::sock_fprog {
        len,
        filter: filter.as_mut_ptr(),
    };
    setsockopt(listener, AttachReusePortCbpf, &fprog)
        .map_err(|errno| told(io::Error::from(errno), io::Error::from(errno).kind()))
}

fn raw(instruction: &Instruction) -> libc::sock_filter {
    let &Instruction { code, jt, jf, k } = instruction;
    libc::sock_filter { code, jt, jf, k }
}

fn told(cause: impl std::fmt::Display, kind: io::ErrorKind) -> io::Error {
    io::Error::new(
        kind,
        format!(
            "cannot attach a steering program to the group of listeners: {cause}; --steering none does without"
        ),
    )
}

/// `MEMBARRIER_CMD_GLOBAL` of `linux/membarrier.h`.
const GLOBAL: libc::c_int = 1;

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
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

//! Which calls are trapped: the filter, and putting it on.
//!
//! The filter looks at the number first and at the architecture second, and at an argument only once
//! it is known which call it is. This order is what makes it free: for a number whose fate depends on
//! nothing else, the kernel remembers "allow" (seccomp's action cache, Linux 5.11) and does not run the
//! filter at all. One argument loaded at the top would put its price on every call.

use std::io;
use std::os::fd::OwnedFd;

use libc::{c_long, c_uint, sock_filter, sock_fprog};

use super::call::{NUMBERS, Number, PROGRAM_OPTIONS, SYS_BIND, SYS_LISTEN, Shape};
use crate::sys::pidfd;

/// The least address that is of interest: a `sockaddr_in`. The netlink sockets that every look-up of a
/// name binds have shorter ones (12), and are not worth a round trip.
const MIN_ADDRESS_LEN: u32 = 16;

/// The filter that traps `bind` and `listen`, the `setsockopt` that gives a reuseport group a program or takes it
/// away, and with `trap_v6only` also the one that makes
/// an IPv6 socket IPv6-only (wanted where the socket cannot be fetched and must be made anew, like the
/// one that it replaces). Everything else is allowed, also all of an architecture that is not known.
///
/// Short addresses are not trapped, and neither are options by way of socketcall(2), whose arguments are in memory:
/// each `setsockopt` of such a program would have to wait for us. The filter is
/// empty on an architecture of which no numbers are known, and [`install`] refuses an empty one.
pub fn build_filter(trap_v6only: bool) -> Vec<sock_filter> {
    if NUMBERS.is_empty() {
        return Vec::new();
    }
    let mut program = vec![load(offset::NUMBER)];
    for Number(arch, number, shape) in NUMBERS {
        let mut block = vec![load(offset::ARCH)];
        block.extend(when_equal(*arch, rule(*shape, trap_v6only)));
        block.push(answer(libc::SECCOMP_RET_ALLOW));
        program.extend(when_equal(*number, block));
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program
}

/// What to do with a call of this shape. It may use the accumulator, and always ends in an answer.
fn rule(shape: Shape, trap_v6only: bool) -> Vec<sock_filter> {
    let trap = answer(libc::SECCOMP_RET_USER_NOTIF);
    let allow = answer(libc::SECCOMP_RET_ALLOW);
    match shape {
        Shape::Listen => vec![trap],
        Shape::Bind => vec![
            load(offset::argument(2)),
            jump(libc::BPF_JGE, MIN_ADDRESS_LEN, 0, 1),
            trap,
            allow,
        ],
        Shape::SetOption => {
            let mut rule = vec![load(offset::argument(1))];
            rule.extend(options(libc::SOL_SOCKET, &PROGRAM_OPTIONS));
            if trap_v6only {
                rule.extend(options(libc::IPPROTO_IPV6, &[libc::IPV6_V6ONLY]));
            }
            rule.push(allow);
            rule
        }
        Shape::Socketcall => vec![
            load(offset::argument(0)),
            jump(libc::BPF_JEQ, SYS_BIND, 1, 0),
            jump(libc::BPF_JEQ, SYS_LISTEN, 0, 1),
            trap,
            allow,
        ],
    }
}

/// Traps these options of a level, which is in the accumulator, and allows its others.
fn options(level: i32, options: &[i32]) -> Vec<sock_filter> {
    let mut block = vec![load(offset::argument(2))];
    for option in options {
        let trap = answer(libc::SECCOMP_RET_USER_NOTIF);
        block.extend(when_equal(*option as u32, vec![trap]));
    }
    block.push(answer(libc::SECCOMP_RET_ALLOW));
    when_equal(level as u32, block)
}

/// Runs `block` when the accumulator is `value`, and else steps over it with the accumulator untouched.
fn when_equal(value: u32, block: Vec<sock_filter>) -> Vec<sock_filter> {
    // No block is longer than twenty instructions, so the length fits a jump.
    let mut program = vec![jump(libc::BPF_JEQ, value, 0, block.len() as u8)];
    program.extend(block);
    program
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

fn jump(condition: u32, value: u32, jt: u8, jf: u8) -> sock_filter {
    instruction(libc::BPF_JMP | condition | libc::BPF_K, value, jt, jf)
}

fn answer(action: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, action, 0, 0)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    // Classic BPF's operation codes are 16 bits wide; the constants have the C type of an integer.
    let code = code as u16;
    sock_filter { code, jt, jf, k }
}

/// Where things are in `struct seccomp_data`.
mod offset {
    pub(super) const NUMBER: u32 = 0;
    pub(super) const ARCH: u32 = 4;

    /// The low half of an argument: all that the kernel looks at in an `int`.
    pub(super) const fn argument(index: u32) -> u32 {
        let low = if cfg!(target_endian = "big") { 4 } else { 0 };
        16 + 8 * index + low
    }
}

/// Puts the filter on the calling thread and all that it will start, for ever, and gives the
/// descriptor on which the notifications arrive, close-on-exec.
///
/// A privileged caller keeps its right to run setuid programs; any other gets `no_new_privs`, without
/// which the kernel would not let it filter. A call whose notification has been received can be
/// interrupted by a fatal signal only, where the kernel has that (`WAIT_KILLABLE_RECV`, Linux 5.19).
///
/// # Errors
/// `EBUSY`: this thread is under a filter with notifications already (nested in this program itself,
/// or in a container manager that uses them). `EINVAL` or `ENOSYS`: the kernel has no notifications
/// (it is older than 5.0) or a filter around us says so. `Unsupported`: the filter is empty, because
/// the architecture's system call numbers are not known.
pub fn install(filter: &[sock_filter]) -> io::Result<OwnedFd> {
    if filter.is_empty() {
        let why = "bind and listen cannot be intercepted: this architecture's numbers for them are not known";
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    match set_filter(filter) {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            nix::sys::prctl::set_no_new_privs()?;
            set_filter(filter)
        }
        result => result,
    }
}

fn set_filter(filter: &[sock_filter]) -> io::Result<OwnedFd> {
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    match seccomp(flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, filter) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => seccomp(flags, filter),
        result => result,
    }
}

fn seccomp(flags: libc::c_ulong, filter: &[sock_filter]) -> io::Result<OwnedFd> {
    const OPERATION: c_uint = libc::SECCOMP_SET_MODE_FILTER;
    let program = sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the program points to `filter`, which outlives the call; the kernel copies it and does
    // not write to it. A filter changes what later calls of this thread may do, and no memory.
    let result: c_long =
        unsafe { libc::syscall(libc::SYS_seccomp, OPERATION, flags, &raw const program) };
    pidfd::owned(result)
}

#[cfg(test)]
mod tests;

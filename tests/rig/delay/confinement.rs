//! Less than root: how a command runs where it has no privilege, or is in a container.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use libc::{c_ulong, sock_filter, sock_fprog};

/// The kernel's overflow user, by custom `nobody`.
const NOBODY: u32 = 65534;

/// Runs `command` as nobody: no capability, no supplementary group.
///
/// The standard library drops the supplementary groups whenever root sets a user id, and the
/// change from user 0 to another drops the capabilities (capabilities(7)).
pub fn as_nobody(command: &mut Command) {
    command.gid(NOBODY).uid(NOBODY);
}

/// Refuses `command` to take another process's descriptors or to read its memory, with EPERM, as
/// container run-times do.
pub fn refuse_getfd(command: &mut Command) {
    let filter = refusal(&[libc::SYS_pidfd_getfd, libc::SYS_process_vm_readv]);
    let load = move || {
        nix::sys::prctl::set_no_new_privs()?;
        load(&filter)
    };
    // SAFETY: between fork and exec this makes two system calls and allocates nothing.
    unsafe { command.pre_exec(load) };
}

fn load(filter: &[sock_filter]) -> io::Result<()> {
    let len = u16::try_from(filter.len()).unwrap_or(u16::MAX);
    let program = sock_fprog {
        len,
        filter: filter.as_ptr().cast_mut(),
    };
    let mode = c_ulong::from(libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: the program points to `len` instructions, which the kernel copies and does not change.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, mode, 0 as c_ulong, &raw const program) };
    nix::errno::Errno::result(result)
        .map(drop)
        .map_err(io::Error::from)
}

/// A filter that answers EPERM to the calls of these numbers. Numbers of other architectures (32-bit
/// calls) are not looked at: what is to be tested does not make them.
fn refusal(calls: &[libc::c_long]) -> Vec<sock_filter> {
    let code = |code: u32| u16::try_from(code).unwrap_or(u16::MAX);
    let mut filter = vec![sock_filter {
        code: code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS),
        jt: 0,
        jf: 0,
        k: 0, // the system call's number in seccomp_data
    }];
    let equal = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
    for (index, &call) in calls.iter().enumerate() {
        // Past the other comparisons and the instruction that allows.
        let jt = u8::try_from(calls.len() - index).unwrap_or(u8::MAX);
        let k = u32::try_from(call).unwrap_or(u32::MAX);
        filter.push(sock_filter {
            code: equal,
            jt,
            jf: 0,
            k,
        });
    }
    let answer = code(libc::BPF_RET | libc::BPF_K);
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    filter.push(sock_filter {
        code: answer,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    });
    filter.push(sock_filter {
        code: answer,
        jt: 0,
        jf: 0,
        k: refuse,
    });
    filter
}

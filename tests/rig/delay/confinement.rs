//! Less than root: how a command runs where it has no privilege, or is in a container.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::ValueEnum;
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

/// What can be refused to a command, as containers' filters refuse it or older kernels do not have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Refusal {
    /// Taking another process's descriptors, and reading its memory otherwise than by /proc: Docker.
    Getfd,
    /// Asking for the sockets of a port: a kernel without inet_diag.
    SockDiag,
    /// membarrier(2): a filter that is older than it.
    Membarrier,
    /// Putting a descriptor into a process by seccomp: Linux before 5.9.
    Addfd,
    /// seccomp notifications: Linux before 5.0.
    Notifications,
}

/// A system call, which argument must have which value, and the errno that it is answered with.
struct Rule {
    call: libc::c_long,
    argument: Option<(u32, u32)>,
    errno: i32,
}

impl Refusal {
    fn rules(self) -> Vec<Rule> {
        let rule = |call, argument, errno| Rule {
            call,
            argument,
            errno,
        };
        // SECCOMP_FILTER_FLAG_NEW_LISTENER, alone and with WAIT_KILLABLE_RECV.
        let listener = |flags| rule(libc::SYS_seccomp, Some((1, flags)), libc::EINVAL);
        // _IOW('!', 3, struct seccomp_notif_addfd) of linux/seccomp.h.
        const ADDFD: u32 = 0x4018_2103;
        match self {
            Self::Getfd => vec![
                rule(libc::SYS_pidfd_getfd, None, libc::EPERM),
                rule(libc::SYS_process_vm_readv, None, libc::EPERM),
            ],
            Self::SockDiag => {
                let protocol = libc::NETLINK_SOCK_DIAG.unsigned_abs();
                vec![rule(
                    libc::SYS_socket,
                    Some((2, protocol)),
                    libc::EPROTONOSUPPORT,
                )]
            }
            Self::Membarrier => vec![rule(libc::SYS_membarrier, None, libc::EPERM)],
            Self::Addfd => vec![rule(libc::SYS_ioctl, Some((1, ADDFD)), libc::EINVAL)],
            Self::Notifications => vec![listener(8), listener(8 | 32)],
        }
    }
}

/// Has `command` run without what is refused.
pub fn refuse(command: &mut Command, refusals: &[Refusal]) {
    let rules: Vec<Rule> = refusals
        .iter()
        .flat_map(|refusal| refusal.rules())
        .collect();
    if rules.is_empty() {
        return;
    }
    let filter = filter(&rules);
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

/// A filter with these rules. Numbers of other architectures (32-bit calls) are not looked at: what is to be
/// tested does not make them. Of an argument its low half is compared, on a little-endian machine.
fn filter(rules: &[Rule]) -> Vec<sock_filter> {
    let mut filter = Vec::new();
    for rule in rules {
        let refuse = statement(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_ERRNO | rule.errno.unsigned_abs(),
        );
        filter.push(load_word(0)); // the system call's number in seccomp_data
        let call = u32::try_from(rule.call).unwrap_or(u32::MAX);
        match rule.argument {
            None => filter.extend([unless_equal(call, 1), refuse]),
            Some((index, value)) => filter.extend([
                unless_equal(call, 3),
                load_word(16 + 8 * index),
                unless_equal(value, 1),
                refuse,
            ]),
        }
    }
    filter.push(statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ALLOW,
    ));
    filter
}

fn load_word(offset: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn statement(code: u32, k: u32) -> sock_filter {
    unless(code, k, 0)
}

/// Skips so many instructions unless the word that was loaded is this one.
fn unless_equal(word: u32, skipped: u8) -> sock_filter {
    unless(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, word, skipped)
}

fn unless(code: u32, k: u32, jf: u8) -> sock_filter {
    let code = u16::try_from(code).unwrap_or(u16::MAX);
    sock_filter { code, jt: 0, jf, k }
}

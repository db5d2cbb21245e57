//! Programs on a cgroup: they run for the sockets of its processes and of those below.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{Purpose, bpf, raw};

/// Linux 5.7.
const LINK_CREATE: libc::c_int = 28;

/// The first members of `union bpf_attr` for the creation of a link.
#[derive(Default)]
#[repr(C)]
struct LinkCreation {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

/// A program's place on a cgroup, which it leaves when this is closed.
#[derive(Debug)]
pub struct CgroupLink(#[expect(dead_code, reason = "it is kept open")] OwnedFd);

/// Attaches a program beside those that are there. Needs `CAP_BPF` and `CAP_NET_ADMIN`.
///
/// # Errors
/// `EPERM`; `EINVAL` before Linux 5.7, or where the directory is none of cgroup v2.
pub fn attach_to_cgroup(
    cgroup: &File,
    purpose: Purpose,
    program: &OwnedFd,
) -> io::Result<CgroupLink> {
    let creation = LinkCreation {
        program: raw(program.as_raw_fd()),
        target: raw(cgroup.as_raw_fd()),
        attach_type: purpose.attach_type(),
        ..LinkCreation::default()
    };
    // SAFETY: the kernel only reads from the attributes, which have no address in them.
    let descriptor = unsafe { bpf(LINK_CREATE, creation) }?;
    // SAFETY: bpf has just made this descriptor (close-on-exec, bpf(2)), and nobody else has it.
    Ok(CgroupLink(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

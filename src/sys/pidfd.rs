//! Processes as descriptors, and the descriptors of processes.
//!
//! A pid may be given to another process as soon as its own has been reaped; a pidfd never is. So the
//! order is: open the pidfd, check that the process is still the one that was meant (a notification
//! that is still valid, a child that is not yet reaped), and only then use it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Opens the process `pid` (a thread group's leader) as a descriptor, which becomes readable when the
/// process ends. It is close-on-exec by itself. (pidfd_open(2), Linux 5.3.)
///
/// # Errors
/// `ESRCH`: there is no such process. `EINVAL` or `ENOENT`: `pid` is a thread, not a process; see
/// [`tgid`](crate::sys::procfs::tgid). `ENOSYS`: the kernel is older than 5.3.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers and no pointer.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    owned(result)
}

/// Duplicates descriptor `fd` of the process `pidfd` into this one, close-on-exec: the same open
/// socket, not a copy of it. (pidfd_getfd(2), Linux 5.6.)
///
/// # Errors
/// `EPERM`: the caller may not trace the process: another user, a process that is not dumpable, Yama,
/// or a container's filter. `EBADF`: the process has no such descriptor. `ESRCH`: it has ended.
/// `ENOSYS`: the kernel is older than 5.6, or a filter pretends so.
pub fn pidfd_getfd(pidfd: impl AsFd, fd: RawFd) -> io::Result<OwnedFd> {
    let pidfd = pidfd.as_fd().as_raw_fd();
    // SAFETY: takes three integers and no pointer; `pidfd` is borrowed for the whole call.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, fd, 0) };
    owned(result)
}

/// The new descriptor that a system call answered, or its error.
pub(super) fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us; nothing else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn own_pid() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn a_fetched_descriptor_is_the_same_socket() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let pidfd = pidfd_open(own_pid()).unwrap();
        let fetched = pidfd_getfd(&pidfd, far.as_raw_fd()).unwrap();
        drop(far);
        UnixStream::from(fetched).write_all(b"x").unwrap();
        let mut byte = [0];
        near.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn both_descriptors_close_on_exec() {
        let (_near, far) = UnixStream::pair().unwrap();
        let pidfd = pidfd_open(own_pid()).unwrap();
        let fetched = pidfd_getfd(&pidfd, far.as_raw_fd()).unwrap();
        for fd in [pidfd, fetched] {
            let flags = FdFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFD).unwrap());
            assert!(flags.contains(FdFlag::FD_CLOEXEC));
        }
    }

    #[test]
    fn what_does_not_exist_is_an_error() {
        let gone = pidfd_open(i32::MAX).unwrap_err();
        assert_eq!(gone.raw_os_error(), Some(libc::ESRCH));
        let pidfd = pidfd_open(own_pid()).unwrap();
        let closed = pidfd_getfd(&pidfd, 1 << 20).unwrap_err();
        assert_eq!(closed.raw_os_error(), Some(libc::EBADF));
    }
}

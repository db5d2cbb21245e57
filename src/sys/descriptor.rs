//! Descriptors by number, which a launcher prepares for its worker; their flags and owners.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Uid, dup2_raw, fchown};

/// A duplicate with a number not below `lowest`, close-on-exec.
///
/// # Errors
/// Those of fcntl(2).
pub fn duplicate_above(descriptor: &impl AsFd, lowest: RawFd) -> io::Result<OwnedFd> {
    let number = match fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(lowest)) {
        // The limit on open files is lower than that: any number will do that is not in the way.
        Err(nix::errno::Errno::EINVAL) => fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(lowest / 4))?,
        number => number?,
    };
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Makes `number` a duplicate of `descriptor` that survives exec, whatever it was before.
///
/// # Errors
/// Those of dup2(2).
pub fn replace(descriptor: OwnedFd, number: RawFd) -> io::Result<()> {
    // SAFETY: nothing in a launcher owns the low numbers, which are the worker's.
    let duplicate = unsafe { dup2_raw(&descriptor, number) }?;
    // It is the worker's, so it must not be closed here.
    let _ = ManuallyDrop::new(duplicate);
    Ok(())
}

/// Sees to it that no descriptor from `lowest` on is inherited by what is executed.
///
/// # Errors
/// /proc/self/fd cannot be read.
pub fn close_at_exec_from(lowest: RawFd) -> io::Result<()> {
    let numbers = std::fs::read_dir("/proc/self/fd")?.map(|entry| {
        let name = entry?.file_name();
        Ok(name.to_str().and_then(|name| name.parse().ok()))
    });
    let numbers: Vec<Option<RawFd>> = numbers.collect::<io::Result<_>>()?;
    for number in numbers
        .into_iter()
        .flatten()
        .filter(|number| *number >= lowest)
    {
        // SAFETY: it is borrowed for one call, which fails where the number is none any more, as that of the list is.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
    Ok(())
}

/// Whether it is a socket.
///
/// # Errors
/// Those of fstat(2).
pub fn is_socket(descriptor: &impl AsFd) -> io::Result<bool> {
    let mode = SFlag::from_bits_truncate(fstat(descriptor)?.st_mode);
    Ok(mode & SFlag::S_IFMT == SFlag::S_IFSOCK)
}

/// The user that its file belongs to: of a socket or a pipe, who made it.
///
/// # Errors
/// Those of fstat(2).
pub fn owner(descriptor: &impl AsFd) -> io::Result<u32> {
    Ok(fstat(descriptor)?.st_uid)
}

/// Gives its file to a user, if it is not that user's already. A socket counts as that user's then, also where the
/// kernel asks whose sockets share a port (`sockfs_setattr`, net/socket.c).
///
/// # Errors
/// Those of fchown(2); `EPERM`: it takes `CAP_CHOWN`.
pub fn give_to(descriptor: &impl AsFd, user: u32) -> io::Result<()> {
    if owner(descriptor)? != user {
        fchown(descriptor, Some(Uid::from_raw(user)), None)?;
    }
    Ok(())
}

/// Whether it is in nonblocking mode.
///
/// # Errors
/// Those of fcntl(2).
pub fn is_nonblocking(descriptor: &impl AsFd) -> io::Result<bool> {
    Ok(status_flags(descriptor)?.contains(OFlag::O_NONBLOCK))
}

/// Sets or clears nonblocking mode, for everybody who has the same open file.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_nonblocking(descriptor: &impl AsFd, nonblocking: bool) -> io::Result<()> {
    let mut flags = status_flags(descriptor)?;
    flags.set(OFlag::O_NONBLOCK, nonblocking);
    fcntl(descriptor, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

fn status_flags(descriptor: &impl AsFd) -> io::Result<OFlag> {
    Ok(OFlag::from_bits_retain(fcntl(
        descriptor.as_fd(),
        FcntlArg::F_GETFL,
    )?))
}

/// The number, for the log and for a poll.
pub fn number(descriptor: &impl AsFd) -> RawFd {
    descriptor.as_fd().as_raw_fd()
}

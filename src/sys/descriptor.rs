//! Descriptors by number: what only a launcher needs, which prepares what a worker inherits.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::dup2_raw;

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

/// Whether it is a socket.
///
/// # Errors
/// Those of fstat(2).
pub fn is_socket(descriptor: &impl AsFd) -> io::Result<bool> {
    let mode = SFlag::from_bits_truncate(fstat(descriptor)?.st_mode);
    Ok(mode & SFlag::S_IFMT == SFlag::S_IFSOCK)
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

//! Receiving a message with what comes along: descriptors, credentials.
//!
//! Not by nix's `recvmsg`: a message of which descriptors find no room is an error there, which leaks those that did.

use std::io;
use std::mem::size_of_val;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

/// Receives bytes into `buffer`, and control messages into `space`, to which the header points. Descriptors are
/// close-on-exec from birth; what finds no room is closed by the kernel.
///
/// # Errors
/// Those of recvmsg(2).
pub(super) fn receive(
    socket: &impl AsRawFd,
    buffer: &mut [u8],
    space: &mut [u64],
) -> io::Result<(usize, libc::msghdr)> {
    let mut vector = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: a msghdr is plain data, for which all zeroes is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = space.as_mut_ptr().cast();
    // The type differs between C libraries; the value is small.
    header.msg_controllen = size_of_val(space) as _;
    // SAFETY: the header names one buffer and the space for control messages, with their lengths,
    // and both outlive the call.
    let result =
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
    let count = usize::try_from(Errno::result(result)?).map_err(io::Error::other)?;
    // The buffer is the caller's again.
    header.msg_iov = std::ptr::null_mut();
    header.msg_iovlen = 0;
    Ok((count, header))
}

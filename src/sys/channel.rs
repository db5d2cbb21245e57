//! Descriptors over a Unix socket: how an executor gets listeners and sends its notifications.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};

/// The most descriptors in one message (`SCM_MAX_FD`, Linux 2.6.38).
pub const MOST: usize = 253;

/// Sends bytes, of which there must be at least one, and descriptors.
///
/// # Errors
/// Those of sendmsg(2).
pub fn send(socket: &impl AsRawFd, bytes: &[u8], descriptors: &[RawFd]) -> io::Result<()> {
    let message = [IoSlice::new(bytes)];
    let rights = [ControlMessage::ScmRights(descriptors)];
    let rights = if descriptors.is_empty() {
        &[][..]
    } else {
        &rights[..]
    };
    sendmsg::<UnixAddr>(
        socket.as_raw_fd(),
        &message,
        rights,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(())
}

/// Receives bytes into `buffer` and the descriptors that came with them, close-on-exec from
/// birth. No bytes: the other side has closed.
///
/// # Errors
/// Those of recvmsg(2); `WouldBlock` on a nonblocking socket without a message.
pub fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = cmsg_space!([RawFd; MOST]);
    let mut message = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut message, Some(&mut space), flags)?;
    let mut descriptors = Vec::new();
    for control in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(rights) = control {
            // SAFETY: the kernel has just made these descriptors for us, and nobody else knows their numbers.
            descriptors.extend(
                rights
                    .into_iter()
                    .map(|right| unsafe { OwnedFd::from_raw_fd(right) }),
            );
        }
    }
    Ok((received.bytes, descriptors))
}

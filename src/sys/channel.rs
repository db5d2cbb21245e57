//! Descriptors over a Unix socket: how an executor gets listeners and sends its notifications.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    recvmsg, sendmsg, socketpair,
};

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

/// Both ends of a channel that keeps messages apart; the first end is nonblocking.
///
/// # Errors
/// Those of socketpair(2).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    super::descriptor::set_nonblocking(&ours, true)?;
    Ok((ours, theirs))
}

/// [`send`] on a nonblocking socket, which waits for room, but not longer than `patience`.
///
/// # Errors
/// Those of sendmsg(2); `TimedOut`: nobody reads.
pub fn send_patiently(
    socket: &OwnedFd,
    bytes: &[u8],
    descriptors: &[RawFd],
    patience: Duration,
) -> io::Result<()> {
    loop {
        match send(socket, bytes, descriptors) {
            // ETOOMANYREFS: so many descriptors are under way that the receiver has to take some first.
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    || error.raw_os_error() == Some(libc::ETOOMANYREFS) => {}
            result => return result,
        }
        if !wait(socket, PollFlags::POLLOUT, patience)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// Whether there is something to receive, or the other side has closed, within `patience`.
pub fn is_readable(socket: &impl AsFd, patience: Duration) -> bool {
    wait(socket, PollFlags::POLLIN, patience).unwrap_or(false)
}

/// Waits in spite of signals: children end all the time.
fn wait(socket: &impl AsFd, flags: PollFlags, patience: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + patience;
    loop {
        let mut polled = [PollFd::new(socket.as_fd(), flags)];
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut polled, timeout) {
            Err(nix::Error::EINTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
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

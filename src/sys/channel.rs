//! Descriptors over a Unix socket: how a launcher gets listeners and sends its notifications.

use std::io::{self, IoSlice};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socketpair,
};

use super::message;

/// The most descriptors in one message (`SCM_MAX_FD`, Linux 2.6.38).
pub const MAX_DESCRIPTORS: usize = 253;

/// Space for the control message that [`MAX_DESCRIPTORS`] descriptors come in, in words; the header is shorter
/// than three.
const CONTROL_WORDS: usize = 3 + (MAX_DESCRIPTORS * size_of::<RawFd>()).div_ceil(size_of::<u64>());

/// Sends bytes, of which there must be at least one, and descriptors, over a socket that keeps messages apart, or has room.
///
/// # Errors
/// Those of sendmsg(2).
pub fn send(socket: &impl AsRawFd, bytes: &[u8], descriptors: &[RawFd]) -> io::Result<()> {
    send_some(socket, bytes, descriptors).map(|_| ())
}

/// Sends as many of these bytes as there is room for; how many that were. The descriptors go with the first.
///
/// # Errors
/// Those of sendmsg(2); `WouldBlock` on a nonblocking socket without room.
pub fn send_some(socket: &impl AsRawFd, bytes: &[u8], descriptors: &[RawFd]) -> io::Result<usize> {
    let message = [IoSlice::new(bytes)];
    let rights = [ControlMessage::ScmRights(descriptors)];
    let rights = if descriptors.is_empty() {
        &[][..]
    } else {
        &rights[..]
    };
    let sent = sendmsg::<UnixAddr>(
        socket.as_raw_fd(),
        &message,
        rights,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(sent)
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

/// Whether there is something to receive, or the other side has closed, within `timeout`.
pub fn is_readable(socket: &impl AsFd, timeout: Duration) -> bool {
    wait(socket, PollFlags::POLLIN, timeout).unwrap_or(false)
}

/// Waits in spite of signals: children end all the time.
fn wait(socket: &impl AsFd, flags: PollFlags, timeout: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + timeout;
    loop {
        let mut polled = [PollFd::new(socket.as_fd(), flags)];
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut polled, timeout) {
            Err(Errno::EINTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

/// Receives bytes into `buffer` and the descriptors that came with them, close-on-exec from
/// birth. No bytes: the other side has closed. Where this process may have no more descriptors, the
/// last ones of the message are lost, and only those (unix(7), `MSG_CTRUNC`).
///
/// # Errors
/// Those of recvmsg(2); `WouldBlock` on a nonblocking socket without a message.
pub fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [0_u64; CONTROL_WORDS];
    let (count, header) = message::receive(socket, buffer, &mut space)?;
    Ok((count, descriptors_in(&header)))
}

fn descriptors_in(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut found = Vec::new();
    // SAFETY: the kernel has filled in the header, whose space for control messages is alive.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: it is null or points to a control message in that space, which is aligned for it.
    while let Some(control) = unsafe { at.as_ref() } {
        if (control.cmsg_level, control.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: this computes a length, and nothing else.
            let empty = unsafe { libc::CMSG_LEN(0) } as usize;
            // The type differs between C libraries.
            #[allow(clippy::unnecessary_cast)]
            let length = control.cmsg_len as usize;
            let count = length.saturating_sub(empty) / size_of::<RawFd>();
            // SAFETY: `at` is a control message.
            let data: *const RawFd = unsafe { libc::CMSG_DATA(at) }.cast();
            for index in 0..count {
                // SAFETY: so many descriptors are there by the message's length; the kernel has just
                // made them for us, and nobody else knows their numbers.
                found.push(unsafe { OwnedFd::from_raw_fd(data.add(index).read_unaligned()) });
            }
        }
        // SAFETY: as for the first one.
        at = unsafe { libc::CMSG_NXTHDR(header, at) };
    }
    found
}

//! Datagrams of sd_notify(3), sent and received.

use std::io;
use std::mem::size_of;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use super::message;

/// Space for one control message with credentials, in words: a header, which is shorter than three, and three
/// numbers.
const CONTROL_WORDS: usize = 3 + size_of::<libc::ucred>().div_ceil(size_of::<u64>());

/// Sends one datagram to the socket that `NOTIFY_SOCKET` names, which may be abstract (`@…`).
///
/// # Errors
/// Those of sendto(2).
pub fn send(target: &Path, message: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    let bytes = target.as_os_str().as_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(target)?,
    };
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message, &address)?;
    Ok(())
}

/// Receives one datagram and the pid of its sender.
///
/// Descriptors that come along are closed: there is room for the credentials alone, which the kernel writes first
/// (`scm_recv_unix`, net/unix/af_unix.c; before 6.9 `scm_recv`, include/net/scm.h), and what finds no room it closes
/// (`scm_detach_fds`, net/core/scm.c). That is the answer to `BARRIER=1`, and others must not stay with us.
///
/// # Errors
/// Those of recvmsg(2); `WouldBlock` when there is none.
pub fn receive(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<(usize, Option<i32>)> {
    let mut space = [0_u64; CONTROL_WORDS];
    let (count, header) = message::receive(socket, buffer, &mut space)?;
    Ok((count, sender_in(&header)))
}

fn sender_in(header: &libc::msghdr) -> Option<i32> {
    // SAFETY: the kernel has filled in the header, whose space for control messages is alive.
    let at = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: it is null or points to a control message in that space, which is aligned for it.
    let control = unsafe { at.as_ref() }?;
    if (control.cmsg_level, control.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) {
        return None;
    }
    // SAFETY: `at` is a control message; by its type, a ucred is in it.
    let data: *const libc::ucred = unsafe { libc::CMSG_DATA(at) }.cast();
    // SAFETY: as above; the space has room for all of it.
    Some(unsafe { data.read_unaligned() }.pid)
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg, setsockopt, sockopt};

    use super::*;

    #[test]
    fn descriptors_that_come_along_are_closed_and_the_sender_is_known() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        setsockopt(&ours, sockopt::PassCred, &true).unwrap();
        for count in [0, 1, 200] {
            let (mut end, other) = UnixStream::pair().unwrap();
            let descriptors = vec![other.as_raw_fd(); count];
            let rights = [ControlMessage::ScmRights(&descriptors)];
            let rights = if count == 0 { &[][..] } else { &rights[..] };
            let message = [IoSlice::new(b"BARRIER=1")];
            let to = theirs.as_raw_fd();
            sendmsg::<UnixAddr>(to, &message, rights, MsgFlags::empty(), None).unwrap();
            drop(other);
            let mut bytes = [0; 64];
            let (length, sender) = receive(&ours, &mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"BARRIER=1");
            assert_eq!(sender, i32::try_from(std::process::id()).ok());
            // All duplicates of the other end are closed.
            assert_eq!(end.read(&mut bytes).unwrap(), 0);
        }
    }
}

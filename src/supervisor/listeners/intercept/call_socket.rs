//! The socket of a call: the worker's own where it can be fetched, and else what /proc says of it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::PendingCall;
use super::state::InterceptState;
use crate::sys::listener::Kind;
use crate::sys::procfs::SocketKind;
use crate::sys::{listener, pidfd, procfs};

/// The socket of a call.
pub(super) enum CallSocket {
    /// The worker's own socket, fetched.
    Fetched(OwnedFd),
    /// A TCP socket, as /proc says, that cannot be fetched.
    Unfetchable,
}

impl CallSocket {
    pub(super) fn inode(&self, pid: i32, fd: i32) -> Option<u64> {
        match self {
            Self::Fetched(socket) => listener::inode(socket).ok(),
            Self::Unfetchable => procfs::socket_inode_of(pid, fd),
        }
    }
}

impl PendingCall<'_> {
    /// The socket behind a descriptor of the worker; none if it is not one of TCP.
    pub(super) fn call_socket(&self, fd: i32) -> io::Result<Option<CallSocket>> {
        match pidfd::pidfd_open(self.pid).and_then(|process| pidfd::pidfd_getfd(&process, fd)) {
            Ok(socket) => {
                let kind = listener::kind(&socket).unwrap_or(Kind::Other);
                Ok((kind != Kind::Other).then_some(CallSocket::Fetched(socket)))
            }
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(None),
            Err(_) => Ok(match procfs::socket_kind(self.pid, fd)? {
                SocketKind::Other => None,
                _ => Some(CallSocket::Unfetchable),
            }),
        }
    }

    pub(super) fn v6_only(
        &self,
        state: &InterceptState,
        call_socket: &CallSocket,
        fd: i32,
        address: &SocketAddr,
    ) -> bool {
        match call_socket {
            _ if address.is_ipv4() => false,
            CallSocket::Fetched(socket) => listener::is_v6_only(socket).unwrap_or(false),
            CallSocket::Unfetchable => state
                .v6_only
                .get(&(self.pid, fd))
                .copied()
                .unwrap_or_else(procfs::v6_only_by_default),
        }
    }
}

//! The socket of a call: the worker's own where it can be fetched, and else what /proc says of it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::Waiting;
use super::state::InterceptState;
use crate::sys::listener::Kind;
use crate::sys::procfs::SocketKind;
use crate::sys::{listener, pidfd, procfs};

/// The socket of a call.
pub(super) enum Subject {
    /// Fetched: the worker's own.
    Own(OwnedFd),
    /// It cannot be fetched, but /proc says that it is one of TCP.
    Unseen,
}

impl Subject {
    pub(super) fn inode(&self, pid: i32, fd: i32) -> Option<u64> {
        match self {
            Self::Own(socket) => listener::inode(socket).ok(),
            Self::Unseen => procfs::socket_inode_of(pid, fd),
        }
    }
}

impl Waiting<'_> {
    /// The socket behind a descriptor of the worker; none if it is not one of TCP.
    pub(super) fn subject(&self, fd: i32) -> io::Result<Option<Subject>> {
        match pidfd::pidfd_open(self.pid).and_then(|process| pidfd::pidfd_getfd(&process, fd)) {
            Ok(socket) => {
                let kind = listener::kind(&socket).unwrap_or(Kind::Other);
                Ok((kind != Kind::Other).then_some(Subject::Own(socket)))
            }
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(None),
            Err(_) => Ok(match procfs::socket_kind(self.pid, fd)? {
                SocketKind::Other => None,
                _ => Some(Subject::Unseen),
            }),
        }
    }

    pub(super) fn v6_only(
        &self,
        state: &InterceptState,
        subject: &Subject,
        fd: i32,
        address: &SocketAddr,
    ) -> bool {
        match subject {
            _ if address.is_ipv4() => false,
            Subject::Own(socket) => listener::is_v6_only(socket).unwrap_or(false),
            Subject::Unseen => state
                .v6_only
                .get(&(self.pid, fd))
                .copied()
                .unwrap_or_else(procfs::v6_only_by_default),
        }
    }
}

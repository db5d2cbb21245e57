//! The client's end of a connection that was given to a worker, and that the worker may still have.
//!
//! The hazard is `O_NONBLOCK`, which is everybody's who has the socket: a worker that reads in
//! blocking mode would see errors that it never heard of. So it stays as it is, and each call says
//! for itself that it does not wait.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{SockRef, TcpKeepalive};

use crate::sys::tcp;

#[derive(Debug)]
pub(super) struct Client(OwnedFd);

impl Client {
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        SockRef::from(&self.0).peer_addr().ok()?.as_socket()
    }

    pub(super) fn local(&self) -> Option<SocketAddr> {
        SockRef::from(&self.0).local_addr().ok()?.as_socket()
    }

    pub(super) fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        SockRef::from(&self.0).shutdown(how)
    }

    /// Has the kernel ask a client that says nothing for so long whether it is still there. Without
    /// it, one that vanishes is found out when its time is up.
    pub(super) fn set_keepalive(&self, silence: Duration) {
        let _ = SockRef::from(&self.0).set_tcp_keepalive(&TcpKeepalive::new().with_time(silence));
    }

    /// Has the last close of the socket be a reset: an end would look like the end of the answer.
    pub(super) fn end_by_reset(&self) {
        let _ = SockRef::from(&self.0).set_linger(Some(Duration::ZERO));
    }
}

impl From<OwnedFd> for Client {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        tcp::receive(&self.0, buffer)
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        tcp::send(&self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Client {
    fn register(&mut self, registry: &Registry, token: Token, wish: Interest) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).register(registry, token, wish)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, wish: Interest) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).reregister(registry, token, wish)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).deregister(registry)
    }
}

//! The client's end of a connection that was given to a worker, and that the worker may still have.
//!
//! The hazard is `O_NONBLOCK`, which is everybody's who has the socket: a worker that reads in
//! blocking mode would see errors that it never heard of. So it stays as it is, and each call says
//! for itself that it does not wait.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{SockRef, TcpKeepalive};

use super::routes::{Ends, Routes};
use crate::sys::tcp;
use crate::wire::http::ClientLines;

#[derive(Debug)]
pub(super) struct Client(OwnedFd);

impl Client {
    /// The ends of a connection for its requests; none: they must not be passed on, or it is broken.
    pub(super) fn ends(&self, routes: &Routes) -> Option<Ends> {
        ends(&self.0, routes)
    }

    /// The header lines that name it to the server.
    pub(super) fn lines(&self, routes: &Routes) -> ClientLines {
        let peer = SockRef::from(&self.0).peer_addr();
        let peer = peer.ok().and_then(|peer| peer.as_socket());
        let named = peer.zip(self.ends(routes));
        named.map_or_else(ClientLines::default, |(peer, ends)| {
            routes.client_lines(peer, ends)
        })
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

/// The ends of a connection for the requests that come by `socket`; none: they must not be passed on, or it is
/// broken.
pub(super) fn ends(socket: &OwnedFd, routes: &Routes) -> Option<Ends> {
    let socket = SockRef::from(socket);
    let client = socket.peer_addr().ok()?.as_socket()?;
    let local = socket.local_addr().ok()?.as_socket()?;
    routes.ends(client, local)
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

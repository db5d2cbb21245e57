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

use super::evidence::Evidence;
use super::request_tracker::ResponseDue;
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

    /// The address on which it came in; none: it is broken.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        SockRef::from(&self.0).local_addr().ok()?.as_socket()
    }

    /// What these bytes, which are unread, show of the address on which it came in. The worker has answered all
    /// that it has read.
    pub(super) fn evidence(&self, unread: &[u8]) -> Option<(SocketAddr, Evidence)> {
        let counters = tcp::counters(self).ok()?;
        let evidence = Evidence::of(unread, &counters, ResponseDue::No)?;
        Some((self.local()?, evidence))
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

    /// How long bytes take to the client and back.
    pub(super) fn round_trip(&self) -> Duration {
        let micros = tcp::counters(self).map_or(0, |counters| counters.round_trip);
        Duration::from_micros(micros.into())
    }

    /// Whether the kernel had to acknowledge the last request by itself.
    pub(super) fn is_answer_due(&self) -> bool {
        tcp::counters(self).is_ok_and(|counters| counters.unread == 0 && !counters.is_interactive)
    }

    /// Reads and drops what comes; whether the client has closed.
    pub(super) fn drop_input(&mut self, scratch: &mut [u8]) -> bool {
        loop {
            match self.read(scratch) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return true,
            }
        }
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

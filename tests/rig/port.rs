//! A port of the kernel's choice that stays ours until the server has it.
//!
//! "Bind port 0, read the port, close" leaves a gap in which another test may be given the same
//! port. Here the socket stays bound. It sets `SO_REUSEADDR` and `SO_REUSEPORT` and never listens,
//! and next to such a socket every server that sets one of the two may bind and listen: a
//! reuseport group has only listening sockets as members, and address reuse is refused only next
//! to a listening one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};

/// A reserved port; free again when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    socket: Socket,
}

impl Reservation {
    pub fn new() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        let any = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        socket.bind(&any.into())?;
        Ok(Self { socket })
    }

    pub fn port(&self) -> u16 {
        let address = self
            .socket
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket());
        address.map_or(0, |address| address.port())
    }
}

//! Connecting from an address of one's choice, without waiting.

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

/// Begins to connect to `target` from the address of `source`, with any port, without waiting: the socket becomes
/// writable when the connection is made or has failed.
///
/// The port is chosen at connect(2) and not before (`IP_BIND_ADDRESS_NO_PORT`, Linux 4.2), so one address has
/// its ports once for each target.
///
/// # Errors
/// Those of socket(2), bind(2) and connect(2); `AddrNotAvailable`: the address is not this host's.
pub fn connect_from(source: SocketAddr, target: SocketAddr) -> io::Result<OwnedFd> {
    let socket = new(source)?;
    choose_port_late(&socket)?;
    socket.bind(&SockAddr::from(source))?;
    connect(&socket, target)?;
    Ok(socket.into())
}

/// A socket that has its port before it is [connected](connect).
///
/// # Errors
/// Those of socket(2) and bind(2).
pub fn bind(source: SocketAddr) -> io::Result<OwnedFd> {
    let socket = new(source)?;
    socket.bind(&SockAddr::from(source))?;
    Ok(socket.into())
}

fn new(source: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(source);
    Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))
}

/// The port that a socket has.
///
/// # Errors
/// Those of getsockname(2).
pub fn port(socket: &impl AsFd) -> io::Result<u16> {
    let address = SockRef::from(socket).local_addr()?.as_socket();
    Ok(address.map_or(0, |address| address.port()))
}

/// Begins to connect, without waiting.
///
/// # Errors
/// Those of connect(2).
pub fn connect(socket: &impl AsFd, target: SocketAddr) -> io::Result<()> {
    match SockRef::from(socket).connect(&target.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        connected => connected,
    }
}

/// The option is one of IP for sockets of both families.
fn choose_port_late(socket: &Socket) -> io::Result<()> {
    let yes: libc::c_int = 1;
    // SAFETY: the kernel reads an int from the address of one.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const yes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    Errno::result(answer).map(drop).map_err(io::Error::from)
}

//! Listening sockets: making them, and asking what they are.
//!
//! Both `SO_REUSEADDR` and `SO_REUSEPORT` are always set: without the second, two workers cannot
//! share a port; without the first, connections in TIME_WAIT of a server that had only the first
//! keep the port busy for a minute (socket(7), and the rules of `inet_csk_get_port`).

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::fleet::Endpoint;
use crate::wire::diag::TcpState;

/// The accept queue's length that is asked for; the kernel cuts it to `net.core.somaxconn`.
pub const BACKLOG: i32 = 4096;

/// A stream socket for `address` that no one else has, not yet bound.
///
/// # Errors
/// Those of socket(2) and setsockopt(2).
pub fn create(address: &SocketAddr, v6_only: bool) -> io::Result<OwnedFd> {
    let socket = Socket::new(
        Domain::for_address(*address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    Ok(socket.into())
}

/// Whether a socket of IPv6 can be made and bound: the kernel may be without, or be told to be.
pub fn has_v6() -> bool {
    let socket = create(&SocketAddr::from(([0_u16; 8], 0)), false);
    let any = SocketAddr::from(([0_u16; 8], 0));
    socket.is_ok_and(|socket| SockRef::from(&socket).bind(&any.into()).is_ok())
}

/// Binds a socket so that others of the same user may share its port.
///
/// # Errors
/// Those of setsockopt(2) and bind(2).
pub fn bind_shared(socket: &impl AsFd, address: &SocketAddr) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&(*address).into())
}

/// Makes a bound socket listen; on one that listens already, changes its backlog.
///
/// # Errors
/// Those of listen(2).
pub fn listen(socket: &impl AsFd, backlog: i32) -> io::Result<()> {
    SockRef::from(socket).listen(backlog)
}

/// A new listener of an endpoint's group.
///
/// # Errors
/// Those of socket(2), bind(2) and listen(2).
pub fn open(endpoint: &Endpoint) -> io::Result<OwnedFd> {
    let socket = create(&endpoint.address, endpoint.v6_only)?;
    bind_shared(&socket, &endpoint.address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Which protocol a socket speaks, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// Multipath TCP. Its listeners cannot join a reuseport group that is steered.
    Mptcp,
    /// Anything else.
    Other,
}

/// What kind of socket this is.
///
/// # Errors
/// Those of getsockopt(2): it is no socket.
pub fn kind(socket: &impl AsFd) -> io::Result<Kind> {
    let socket = SockRef::from(socket);
    let is_stream = socket.r#type()? == Type::STREAM;
    let domain = socket.domain()?;
    if !is_stream || (domain != Domain::IPV4 && domain != Domain::IPV6) {
        return Ok(Kind::Other);
    }
    Ok(match socket.protocol()? {
        Some(protocol) if protocol == Protocol::TCP => Kind::Tcp,
        Some(protocol) if protocol == Protocol::MPTCP => Kind::Mptcp,
        _ => Kind::Other,
    })
}

/// The endpoint that a socket is bound to; none if it is not bound to a port.
///
/// # Errors
/// Those of getsockname(2) and getsockopt(2).
pub fn endpoint(socket: &impl AsFd) -> io::Result<Option<Endpoint>> {
    let Some(address) = SockRef::from(socket).local_addr()?.as_socket() else {
        return Ok(None);
    };
    let v6_only = is_v6_only(socket)?;
    Ok((address.port() != 0).then_some(Endpoint { address, v6_only }))
}

/// Whether others may bind the socket's port too (`SO_REUSEPORT`).
///
/// # Errors
/// Those of getsockopt(2).
pub fn shares_port(socket: &impl AsFd) -> io::Result<bool> {
    SockRef::from(socket).reuse_port()
}

/// `IPV6_V6ONLY` of an IPv6 socket; false for another.
///
/// # Errors
/// Those of getsockopt(2).
pub fn is_v6_only(socket: &impl AsFd) -> io::Result<bool> {
    let socket = SockRef::from(socket);
    if socket.domain()? == Domain::IPV6 {
        socket.only_v6()
    } else {
        Ok(false)
    }
}

/// Whether it still listens: a worker that shuts its listener down takes it out of its group at
/// once, whoever else has a descriptor.
pub fn is_listening(socket: &impl AsFd) -> bool {
    SockRef::from(socket).is_listener().unwrap_or(false)
}

/// The accept queue: how many connections wait in it, and how many may.
///
/// # Errors
/// Those of getsockopt(2).
pub fn accept_queue_len(socket: &impl AsFd) -> io::Result<(u32, u32)> {
    let info = tcp_info(socket)?;
    // For a listener the kernel puts these two numbers there (tcp_get_info, Linux 2.6.18).
    Ok((info.tcpi_unacked, info.tcpi_sacked))
}

/// The state of a connection of ours.
///
/// # Errors
/// Those of getsockopt(2).
pub fn state(socket: &impl AsFd) -> io::Result<TcpState> {
    Ok(TcpState(tcp_info(socket)?.tcpi_state))
}

/// The socket's inode: the number by which /proc names it.
///
/// # Errors
/// Those of fstat(2).
pub fn inode(socket: &impl AsFd) -> io::Result<u64> {
    Ok(nix::sys::stat::fstat(socket)?.st_ino)
}

fn tcp_info(socket: &impl AsFd) -> io::Result<libc::tcp_info> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the buffer is as long as `length` says, and all-zero bytes are a valid tcp_info, so it may be filled in part.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut length,
        )
    };
    nix::errno::Errno::result(result)?;
    // SAFETY: it was zeroed, and the kernel wrote only plain numbers into it.
    Ok(unsafe { info.assume_init() })
}

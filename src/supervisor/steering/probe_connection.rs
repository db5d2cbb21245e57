//! A connection of our own to one given listener, through the shared port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::time::Duration;

use log::debug;
use socket2::{Domain, Socket, Type};

use super::probe_rule::PROBE_HOPS;
use crate::fleet::Endpoint;

/// A connection that has begun and that only the listener can get which one of the source ports names.
#[derive(Debug)]
pub(in crate::supervisor) struct ProbeConnection {
    pub(in crate::supervisor) socket: Socket,
    /// The server's end of the connection, and ours.
    pub(in crate::supervisor) server: SocketAddr,
    pub(in crate::supervisor) source: SocketAddr,
}

impl ProbeConnection {
    /// Begins to connect from one of these ports of loopback, without waiting.
    ///
    /// The ports are few, and those of all supervisors of this host. So each may be shared by connections to other
    /// servers (`SO_REUSEADDR`, socket(7)), and one that is taken all the same is passed over.
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and connect(2), from the last port; any: there is no port.
    pub(in crate::supervisor) fn begin(endpoint: &Endpoint, ports: &[u16]) -> io::Result<Self> {
        let server = reachable(endpoint);
        let mut refused = io::Error::other("no source port reaches this listener");
        for port in ports {
            match Self::begin_from(*port, server) {
                Err(error) if is_taken(&error) => refused = error,
                begun => return begun,
            }
        }
        Err(refused)
    }

    /// Says that nothing more comes from us.
    pub(in crate::supervisor) fn close_our_side(&self) {
        // Where the other side has reset it, there is nobody to say it to.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Has the connection reset when it is closed: what we close first would keep its port for a minute.
    pub(in crate::supervisor) fn reset(&self) {
        if let Err(error) = self.socket.set_linger(Some(Duration::ZERO)) {
            debug!("cannot close a connection of ours by a reset: {error}");
        }
    }

    fn begin_from(port: u16, server: SocketAddr) -> io::Result<Self> {
        let domain = Domain::for_address(server);
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), None)?;
        socket.set_reuse_address(true)?;
        let loopback: IpAddr = if server.is_ipv4() {
            socket.set_ttl_v4(PROBE_HOPS)?;
            Ipv4Addr::LOCALHOST.into()
        } else {
            socket.set_unicast_hops_v6(PROBE_HOPS)?;
            Ipv6Addr::LOCALHOST.into()
        };
        socket.bind(&SocketAddr::new(loopback, port).into())?;
        let source = match port {
            0 => socket.local_addr()?.as_socket(),
            _ => Some(SocketAddr::new(loopback, port)),
        };
        let source = source.ok_or(io::ErrorKind::AddrNotAvailable)?;
        match socket.connect(&server.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        Ok(Self {
            socket,
            server,
            source,
        })
    }
}

/// Whether a port is somebody else's, or still that of a former connection to the same server.
pub(in crate::supervisor) fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
    )
}

/// An address by which we reach the endpoint from this machine.
fn reachable(endpoint: &Endpoint) -> SocketAddr {
    let ip = match endpoint.address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let mut address = endpoint.address;
    address.set_ip(ip);
    address
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn server() -> (TcpListener, Endpoint) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint {
            address: listener.local_addr().unwrap(),
            v6_only: false,
        };
        (listener, endpoint)
    }

    /// One of another supervisor, or of a server that has closed it.
    #[test]
    fn a_port_is_shared_by_connections_to_other_servers() {
        let servers = [server(), server()];
        let first = ProbeConnection::begin(&servers[0].1, &[0]).unwrap();
        let port = first.source.port();
        let second = ProbeConnection::begin(&servers[1].1, &[port]).unwrap();
        assert_eq!(second.source, first.source);
        let taken = ProbeConnection::begin(&servers[0].1, &[port]).unwrap_err();
        assert!(is_taken(&taken), "{taken}");
        let other = ProbeConnection::begin(&servers[0].1, &[port, 0]).unwrap();
        assert_ne!(other.source, first.source);
    }
}

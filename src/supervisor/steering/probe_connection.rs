//! A connection of our own to one given listener, through the shared port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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
    /// # Errors
    /// Those of socket(2), bind(2) and connect(2); any: there is no port.
    pub(in crate::supervisor) fn begin(endpoint: &Endpoint, ports: &[u16]) -> io::Result<Self> {
        let server = reachable(endpoint);
        let domain = Domain::for_address(server);
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), None)?;
        let source = bind_source(&socket, ports)?;
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

/// Makes the socket's connection come from one of these ports of loopback, as a probe.
fn bind_source(socket: &Socket, ports: &[u16]) -> io::Result<SocketAddr> {
    let loopback: IpAddr = if socket.domain()? == Domain::IPV4 {
        socket.set_ttl_v4(PROBE_HOPS)?;
        Ipv4Addr::LOCALHOST.into()
    } else {
        socket.set_unicast_hops_v6(PROBE_HOPS)?;
        Ipv6Addr::LOCALHOST.into()
    };
    let mut refused = io::Error::other("no source port reaches this listener");
    for port in ports {
        match socket.bind(&SocketAddr::new(loopback, *port).into()) {
            Ok(()) => {
                let source = socket.local_addr()?.as_socket();
                return source.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into());
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
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

//! Where connections come from, and how many there can be.
//!
//! Who closes a connection first keeps its pair of addresses busy for a minute (TIME_WAIT; tcp(7)).
//! The kernel hands out some 28,000 ports for each source address (`ip_local_port_range`), so from
//! one address a load of one request a connection would run dry within seconds where the server
//! leaves the closing to us, and what it then measures is its own search for a port. A loopback
//! target can be called from every address of 127.0.0.0/8: the connections take turns at some.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// Source addresses for a loopback target: 127.0.0.2 and up.
const ADDRESSES: u8 = 64;

/// Descriptors that a program has besides the load's.
const SPARE: u64 = 64;

pub(super) struct Sources {
    target: SocketAddr,
    /// Whether the target is one that many addresses can call. Of IPv6 there is only ::1.
    many: bool,
    turn: u8,
}

impl Sources {
    pub(super) fn new(target: SocketAddr) -> Self {
        let many = matches!(target.ip(), IpAddr::V4(address) if address.is_loopback());
        Self {
            target,
            many,
            turn: 0,
        }
    }

    /// Begins to connect. An address whose ports are all busy is passed over.
    pub(super) fn connect(&mut self) -> io::Result<TcpStream> {
        let mut connected = self.connect_once();
        for _ in 1..ADDRESSES {
            match &connected {
                Err(error) if self.many && is_exhausted(error) => connected = self.connect_once(),
                _ => break,
            }
        }
        connected
    }

    fn connect_once(&mut self) -> io::Result<TcpStream> {
        let socket = Socket::new(
            Domain::for_address(self.target),
            Type::STREAM.nonblocking(),
            None,
        )?;
        if self.many {
            socket.bind(&SocketAddr::from((self.next_address(), 0)).into())?;
        }
        match socket.connect(&self.target.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }

    fn next_address(&mut self) -> Ipv4Addr {
        self.turn = (self.turn + 1) % ADDRESSES;
        Ipv4Addr::new(127, 0, 0, 2 + self.turn)
    }
}

/// Whether there was no port left, at bind or at connect.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable
    )
}

/// Raises the soft limit of descriptors to the hard one if `connections` might not fit. It stays so,
/// also for programs that are started later.
///
/// # Errors
/// When the hard limit is too low as well.
pub(super) fn make_room(connections: usize) -> io::Result<()> {
    let wanted = connections as u64 + SPARE;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if hard < wanted {
        return Err(io::Error::other(format!(
            "cannot open {connections} connections: this process may have {hard} descriptors; \
             raise its hard limit (ulimit -Hn)"
        )));
    }
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

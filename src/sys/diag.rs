//! Which TCP sockets a port has, from the kernel's sock_diag(7): no privilege, and no need to look into
//! any process. Where that is not to be had (it is two modules, `inet_diag` and `tcp_diag`, and containers
//! may forbid it), /proc/net/tcp tells the same, more slowly.
//!
//! It sees the calling thread's network namespace. Finding the sockets costs a walk over the kernel's
//! whole table of connections, whatever the port; so it is for the moments that matter, not for a loop.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, sendto,
    socket,
};

use super::procfs;
use crate::wire::diag::{
    Connection, End, Family, Message, States, TcpState, parse, request, request_one,
};

/// More than the kernel puts in one datagram of a dump (32 KiB; netlink(7)).
const MAX_REPLY_LEN: usize = 64 * 1024;

/// Why the kernel's sockets are not known.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// The system said no: a filter around us, a kernel without `inet_diag`, no descriptor left.
    #[error("cannot ask the kernel for the TCP sockets of a port (sock_diag): {0}")]
    Os(#[from] io::Error),
    /// The answer was cut off, or is of a kind that is not known.
    #[error("cannot understand what the kernel says of the TCP sockets of a port (sock_diag)")]
    NotUnderstood,
}

impl From<nix::Error> for DiagError {
    fn from(errno: nix::Error) -> Self {
        Self::Os(errno.into())
    }
}

/// All sockets with local port `port` in one of `states`, of both address families. Orphans are left
/// out: no process has them, and none will. What opens or closes meanwhile may be missing.
///
/// # Errors
/// See [`DiagError`]; neither way is open.
pub fn connections(port: u16, states: States) -> Result<Vec<Connection>, DiagError> {
    connections_by_netlink(port, states).or_else(|error| {
        let read =
            procfs::connections(|found| found.local.port() == port && states.has(found.state));
        let read = read.map(without_orphans);
        read.map_err(|_| error)
    })
}

/// The connections to `port`, of whatever host, that a process of this host has closed first, as far as the kernel
/// remembers them. What ends meanwhile may be missing.
///
/// # Errors
/// As for [`connections`].
pub fn closed_clients(port: u16) -> Result<Vec<Connection>, DiagError> {
    dump_both(States::CLOSED_FIRST, (End::Remote, port)).or_else(|error| {
        let is_closed = |found: &Connection| States::CLOSED_FIRST.has(found.state);
        let read = procfs::connections(|found| found.remote.port() == port && is_closed(found));
        read.map_err(|_| error)
    })
}

/// The same, by sock_diag alone.
///
/// # Errors
/// See [`DiagError`].
pub fn connections_by_netlink(port: u16, states: States) -> Result<Vec<Connection>, DiagError> {
    dump_both(states, (End::Local, port)).map(without_orphans)
}

fn without_orphans(mut found: Vec<Connection>) -> Vec<Connection> {
    found.retain(|connection| !connection.is_orphan());
    found
}

/// The sockets of both families.
fn dump_both(states: States, port: (End, u16)) -> Result<Vec<Connection>, DiagError> {
    let socket = open()?;
    let mut found = Vec::new();
    for (sequence, family) in [(1, Family::V4), (2, Family::V6)] {
        let request = request(family, states, port, sequence);
        dump(&socket, &request, sequence, &mut found)?;
    }
    Ok(found)
}

/// This host's end of one connection, by its two addresses; none where there is none, or where its
/// handshake is not done. Costs the same however many connections there are.
///
/// # Errors
/// As for [`connections`].
pub fn connection(local: SocketAddr, remote: SocketAddr) -> Result<Option<Connection>, DiagError> {
    connection_by_netlink(local, remote).or_else(|error| {
        let ends = (canonical(local), canonical(remote));
        let read =
            procfs::connections(|found| (found.local, found.remote) == ends).map(without_orphans);
        read.map(|found| found.into_iter().next())
            .map_err(|_| error)
    })
}

/// An IPv4 address that is written as one of IPv6, in IPv4: so the kernel's answers have it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn connection_by_netlink(
    local: SocketAddr,
    remote: SocketAddr,
) -> Result<Option<Connection>, DiagError> {
    let socket = open()?;
    let family = if local.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    let reply = ask_one(&socket, &request_one(family, local, remote, 1), 1);
    let found = match reply {
        // There is no such connection, or there is nobody to ask: a kernel without tcp_diag says the same. Listing the
        // listeners of no port tells one from the other, and costs no walk over connections.
        Err(DiagError::Os(error)) if error.raw_os_error() == Some(libc::ENOENT) => {
            connections_by_netlink(0, States::LISTENING)?;
            None
        }
        found => found?,
    };
    // Where there is no connection, the kernel answers with the listener that would get it.
    Ok(found.filter(|connection| connection.state != TcpState::LISTEN))
}

/// Sends a request for one socket and reads its answer, which is one message.
fn ask_one(
    socket: &OwnedFd,
    request: &[u8],
    sequence: u32,
) -> Result<Option<Connection>, DiagError> {
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), request, &kernel, MsgFlags::empty())?;
    let mut buffer = vec![0; MAX_REPLY_LEN];
    let mut messages = parse(receive(socket, &mut buffer)?, sequence).into_iter();
    match messages.next() {
        Some(Message::Connection(connection)) => Ok(Some(connection)),
        Some(Message::Failed(errno)) => Err(io::Error::from_raw_os_error(errno).into()),
        Some(Message::Done) | None => Ok(None),
        Some(Message::Other | Message::Malformed) => Err(DiagError::NotUnderstood),
    }
}

fn open() -> Result<OwnedFd, DiagError> {
    let protocol = SockProtocol::NetlinkSockDiag;
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        protocol,
    )?;
    Ok(socket)
}

/// Sends one request and reads its answer to the end.
fn dump(
    socket: &OwnedFd,
    request: &[u8],
    sequence: u32,
    found: &mut Vec<Connection>,
) -> Result<(), DiagError> {
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), request, &kernel, MsgFlags::empty())?;
    let mut buffer = vec![0; MAX_REPLY_LEN];
    loop {
        for message in parse(receive(socket, &mut buffer)?, sequence) {
            match message {
                Message::Connection(connection) => found.push(connection),
                Message::Done => return Ok(()),
                Message::Failed(errno) => return Err(io::Error::from_raw_os_error(errno).into()),
                Message::Other => {}
                Message::Malformed => return Err(DiagError::NotUnderstood),
            }
        }
    }
}

/// The next datagram from the kernel. It does not wait long: the kernel makes up the next part of the
/// answer while it hands out this one.
fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> Result<&'a [u8], DiagError> {
    loop {
        let (length, sender) = match recvfrom::<NetlinkAddr>(socket.as_raw_fd(), buffer) {
            Err(nix::Error::EINTR) => continue,
            result => result?,
        };
        // Any process may send to this socket, but only the kernel has the address 0.
        if sender.is_some_and(|sender| sender.pid() == 0) {
            return buffer.get(..length).ok_or(DiagError::NotUnderstood);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::procfs::socket_inodes;
    use crate::wire::diag::TcpState;
    use std::io::Read;
    use std::io::Write as _;
    use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    /// The server's side of the connection with this client.
    fn of(client: &TcpStream, states: States) -> Vec<Connection> {
        let (local, remote) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
        let found = connections(local.port(), states).unwrap();
        let is_it = |c: &Connection| canonical(remote) == c.remote;
        found.into_iter().filter(is_it).collect()
    }

    fn canonical(address: SocketAddr) -> SocketAddr {
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    fn serve(address: &str) -> Option<(TcpListener, TcpStream)> {
        let listener = TcpListener::bind(address).ok()?;
        let port = listener.local_addr().unwrap().port();
        let client =
            TcpStream::connect(("127.0.0.1", port)).or_else(|_| TcpStream::connect(("::1", port)));
        Some((listener, client.unwrap()))
    }

    /// What `look` sees, once the kernel has handled the packets that lead to it.
    fn eventually<T>(look: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(seen) = look() {
                return seen;
            }
        }
        panic!("it did not come to be in time");
    }

    #[test]
    fn one_connection_is_found_by_its_addresses() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let Some((listener, client)) = serve(address) else {
                continue;
            };
            let ends = (client.peer_addr().unwrap(), client.local_addr().unwrap());
            let found = || connection(ends.0, ends.1).unwrap();
            assert_eq!(found().unwrap().inode, 0, "{address}: nobody has accepted");
            let server = listener.accept().unwrap().0;
            let inode = crate::sys::listener::inode(&server).unwrap();
            assert_eq!(found().unwrap().inode, inode, "{address}");
            let nowhere = SocketAddr::new(ends.1.ip(), 1);
            assert_eq!(connection(ends.0, nowhere).unwrap(), None, "{address}");
        }
    }

    #[test]
    fn a_connection_is_followed_through_its_life() {
        let (listener, mut client) = serve("127.0.0.1:0").unwrap();
        let waiting = eventually(|| of(&client, States::OPEN).pop());
        assert_eq!((waiting.inode, waiting.state), (0, TcpState::ESTABLISHED));
        let server = listener.accept().unwrap().0;
        let accepted = of(&client, States::OPEN)[0];
        assert_eq!(accepted.cookie, waiting.cookie);
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(socket_inodes(own).unwrap().contains(&accepted.inode));
        assert_eq!(
            socket2::SockRef::from(&server).cookie().unwrap(),
            accepted.cookie
        );
        server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        // It may still be reading: not an orphan.
        assert_eq!(of(&client, States::OPEN)[0].inode, accepted.inode);
        drop(server);
        // A child that another test has just forked has it too until it executes its program.
        eventually(|| of(&client, States::OPEN).is_empty().then_some(()));
    }

    #[test]
    fn what_the_client_has_ended_is_open() {
        let (listener, client) = serve("127.0.0.1:0").unwrap();
        let mut server = listener.accept().unwrap().0;
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        assert_eq!(of(&client, States::OPEN)[0].state, TcpState::CLOSE_WAIT);
    }

    #[test]
    fn what_was_closed_is_remembered() {
        let (listener, mut client) = serve("127.0.0.1:0").unwrap();
        drop(listener.accept().unwrap());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        let port = listener.local_addr().unwrap().port();
        drop(client);
        let closed = eventually(|| connections(port, States::CLOSED_RECENTLY).unwrap().pop());
        assert_eq!(
            (closed.state, closed.local.port()),
            (TcpState::TIME_WAIT, port)
        );
    }

    /// Nobody has accepted it, and then somebody has, and closes it too.
    #[test]
    fn a_client_that_hangs_up_is_seen_from_then_on() {
        let fin_timeout = procfs::fin_timeout();
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let Some((listener, client)) = serve(address) else {
                continue;
            };
            let ends = (client.local_addr().unwrap(), client.peer_addr().unwrap());
            let of_client = || {
                let found = closed_clients(ends.1.port()).unwrap();
                let ends = (canonical(ends.0), canonical(ends.1));
                let mut found = found.into_iter();
                found.find(|it| (it.local, it.remote) == ends)
            };
            assert_eq!(of_client(), None, "{address}");
            let before = Instant::now();
            drop(client);
            let ago = |found: Connection| found.closed_first_before(fin_timeout);
            // The kernel's clock ticks every 10 ms, or more often.
            let most = || before.elapsed() + Duration::from_millis(10);
            assert!(eventually(|| ago(of_client()?)) <= most(), "{address}");
            drop(listener.accept().unwrap());
            let closed = eventually(|| of_client().filter(|it| it.state == TcpState::TIME_WAIT));
            assert!(ago(closed).unwrap() <= most(), "{address}: {closed:?}");
        }
    }

    #[test]
    fn a_listener_tells_its_queue_and_its_cookie() {
        let (listener, _client) = serve("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let with_a_queue = || {
            let found = connections(address.port(), States::LISTENING).unwrap();
            assert_eq!(found.len(), 1);
            found.into_iter().find(|c| c.receive_queue == 1)
        };
        let found = eventually(with_a_queue);
        assert_eq!(found.local, address);
        assert_eq!(
            socket2::SockRef::from(&listener).cookie().unwrap(),
            found.cookie
        );
    }

    #[test]
    fn a_socket_of_both_families_has_plain_addresses() {
        let Some((listener, client)) = serve("[::]:0") else {
            drop(writeln!(
                std::io::stderr(),
                "skipped: a_socket_of_both_families_has_plain_addresses needs IPv6"
            ));
            return;
        };
        let _server = listener.accept().unwrap();
        let found = of(&client, States::OPEN);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].local, client.peer_addr().unwrap());
    }

    #[test]
    fn a_long_answer_is_read_to_its_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |_| {
            (
                TcpStream::connect(address).unwrap(),
                listener.accept().unwrap(),
            )
        };
        let held: Vec<_> = (0..400).map(connect).collect();
        let found = connections(address.port(), States::OPEN | States::LISTENING).unwrap();
        assert_eq!(found.len(), held.len() + 1);
        assert!(found.iter().all(|c| c.local == address));
    }
}

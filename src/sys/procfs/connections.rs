//! The sockets of a network namespace, from its tables in /proc.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use crate::wire::diag::Connection;
use crate::wire::proc_net::parse_connection;

/// The TCP sockets in the calling thread's network namespace that are wanted. What opens or closes meanwhile may be missing. The kernel prints all sockets, whatever is
/// wanted.
///
/// # Errors
/// Those of reading /proc/thread-self/net/tcp and tcp6; a machine without IPv6 has no second file, and that is
/// no error.
pub fn connections(is_wanted: impl Fn(&Connection) -> bool) -> io::Result<Vec<Connection>> {
    let mut found = Vec::new();
    read(
        File::open("/proc/thread-self/net/tcp")?,
        &is_wanted,
        &mut found,
    )?;
    match File::open("/proc/thread-self/net/tcp6") {
        Ok(table) => read(table, &is_wanted, &mut found)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

fn read(
    table: File,
    is_wanted: impl Fn(&Connection) -> bool,
    found: &mut Vec<Connection>,
) -> io::Result<()> {
    let mut lines = BufReader::with_capacity(64 * 1024, table);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let socket = parse_connection(&line);
        found.extend(socket.filter(&is_wanted));
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::diag::connections_by_netlink;
    use crate::wire::diag::{States, TcpState};
    use std::net::{TcpListener, TcpStream};

    /// All but the cookie, and how many connections may wait.
    fn facts(mut found: Vec<Connection>) -> Vec<Connection> {
        for socket in &mut found {
            socket.cookie = 0;
            if socket.state == TcpState::LISTEN {
                socket.send_queue = 0;
            }
        }
        found.sort_by_key(|socket| (socket.state, socket.remote));
        found
    }

    #[test]
    fn the_tables_tell_what_the_kernel_tells() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let loopback = if address == "[::1]:0" {
                "::1"
            } else {
                "127.0.0.1"
            };
            let clients = [(); 2].map(|()| TcpStream::connect((loopback, port)).unwrap());
            let accepted = listener.accept().unwrap().0;
            let all = States::OPEN | States::LISTENING;
            let is_wanted = |socket: &Connection| {
                socket.local.port() == port && all.has(socket.state) && !socket.is_orphan()
            };
            let read = connections(is_wanted);
            let read = facts(read.unwrap());
            assert_eq!(read.len(), 3, "{address}: {read:?}");
            assert_eq!(
                read,
                facts(connections_by_netlink(port, all).unwrap()),
                "{address}"
            );
            drop((clients, accepted));
        }
    }
}

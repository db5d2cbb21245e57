//! The LISTEN lines of a network namespace, each with the references of its socket.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

use crate::wire::proc_net::{Line, ListenLine, parse_line};

/// The listeners with these inodes, in the network namespace of process `pid` or of the calling
/// thread. One that is missing listens no more.
///
/// Each file has the listeners first, and reading stops when all are found, or at the first line that
/// is no listener's: the cost does not grow with the number of connections. A machine without IPv6
/// has no second file, and that is no error.
///
/// # Errors
/// Those of reading /proc/PID/net/tcp and tcp6; `NotFound` when the process is gone.
pub fn listeners(pid: Option<i32>, wanted: &BTreeSet<u64>) -> io::Result<Vec<ListenLine>> {
    // Not /proc/self: that is the first thread, and a thread may have moved to another namespace.
    let process = pid.map_or_else(|| "thread-self".to_owned(), |pid| pid.to_string());
    let mut wanted = wanted.clone();
    let mut found = listeners_in(File::open(format!("/proc/{process}/net/tcp"))?, &mut wanted)?;
    if wanted.is_empty() {
        return Ok(found);
    }
    match File::open(format!("/proc/{process}/net/tcp6")) {
        Ok(file) => found.extend(listeners_in(file, &mut wanted)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

/// Those of the LISTEN lines at the beginning of a table that are wanted; they are taken out of
/// `wanted`.
fn listeners_in(table: impl io::Read, wanted: &mut BTreeSet<u64>) -> io::Result<Vec<ListenLine>> {
    // The kernel makes up lines until it has as many bytes as were asked for. Past the listeners it
    // would look through the whole table of connections for one more line, which takes milliseconds
    // even when that is empty; so no more than a line is asked for at a time.
    const LESS_THAN_A_LINE: usize = 128;
    let mut lines = BufReader::with_capacity(LESS_THAN_A_LINE, table);
    let mut found = Vec::new();
    let mut line = Vec::new();
    while !wanted.is_empty() && lines.read_until(b'\n', &mut line)? > 0 {
        match parse_line(&line) {
            Line::Listen(listen) if wanted.remove(&listen.inode) => found.push(listen),
            Line::Listen(_) | Line::Header | Line::Malformed => {}
            Line::Other => break,
        }
        line.clear();
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::procfs::{holder_of, own_pid, socket_inode_of, socket_inodes};
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;
    use std::time::{Duration, Instant};

    fn inode_of(listener: &TcpListener) -> u64 {
        socket_inode_of(own_pid(), listener.as_raw_fd()).unwrap()
    }

    fn line_of(inode: u64) -> Option<ListenLine> {
        listeners(None, &BTreeSet::from([inode])).unwrap().pop()
    }

    #[test]
    fn the_references_count_what_was_not_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inode = inode_of(&listener);
        assert_eq!(line_of(inode).unwrap().references, 1);
        let clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());
        let line = line_of(inode).unwrap();
        assert_eq!(line.address, address);
        assert_eq!(line.references, 4);
        assert!(socket_inodes(own_pid()).unwrap().contains(&line.inode));
        assert!(holder_of(line.inode).is_none_or(|(pid, _)| pid != own_pid()));
        let accepted = [(); 3].map(|()| listener.accept().unwrap());
        assert!(line_of(inode).unwrap().is_empty());
        drop((clients, accepted, listener));
        // A process that another test is starting has a duplicate until it executes its program.
        let until = Instant::now() + Duration::from_secs(30);
        while line_of(inode).is_some() {
            assert!(Instant::now() < until, "the listener is still there");
            std::thread::yield_now();
        }
    }

    #[test]
    fn listeners_of_ipv6_and_of_another_process_are_found() {
        let Ok(listener) = TcpListener::bind("[::1]:0") else {
            drop(writeln!(
                std::io::stderr(),
                "skipped: listeners_of_ipv6_and_of_another_process_are_found needs IPv6"
            ));
            return;
        };
        let address = listener.local_addr().unwrap();
        let lines = listeners(Some(own_pid()), &BTreeSet::from([inode_of(&listener)])).unwrap();
        assert_eq!(lines.first().unwrap().address, address);
    }

    #[test]
    fn reading_stops_at_the_first_other_state() {
        let lines = "  sl  local\n 0: 00000000:0001 00000000:0000 0A 0:0 0:0 0 7 0 11 1\n 1: 00000000:0001 00000000:0000 01 0:0 0:0 0 7 0 12 1\n";
        let far = "2: 00000000:0002 00000000:0000 0A 0:0 0:0 0 7 0 13 1\n".repeat(10);
        let mut wanted = BTreeSet::from([11, 13]);
        let found = listeners_in((lines.to_owned() + &far).as_bytes(), &mut wanted).unwrap();
        assert_eq!(
            found.iter().map(|line| line.inode).collect::<Vec<_>>(),
            [11]
        );
        assert_eq!(wanted, BTreeSet::from([13]));
    }
}

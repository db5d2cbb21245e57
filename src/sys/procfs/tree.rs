//! The sockets of a process and all its descendants.

use std::collections::BTreeMap;

use super::descriptors::socket_descriptors;
use super::family::descendants;

/// Where a process has a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAt {
    /// The process.
    pub pid: i32,
    /// The descriptor's number in it.
    pub number: i32,
}

/// The sockets that process `pid` and its descendants have descriptors of, by inode, each with the first
/// place where it was found. Processes that end meanwhile or that may not be looked at have none.
pub fn tree_sockets(pid: i32) -> BTreeMap<u64, SocketAt> {
    let mut found = BTreeMap::new();
    for pid in descendants(pid) {
        for (number, inode) in socket_descriptors(pid).unwrap_or_default() {
            found.entry(inode).or_insert(SocketAt { pid, number });
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::listener::inode;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_socket_is_found_where_it_was_first() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _again = listener.try_clone().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let found = tree_sockets(pid);
        let at = found.get(&inode(&listener).unwrap()).unwrap();
        assert_eq!((at.pid, at.number), (pid, listener.as_raw_fd()));
    }
}

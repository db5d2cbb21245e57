//! The sockets of a process and all its descendants.

use std::collections::{BTreeMap, BTreeSet};

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
    visit_family(
        || descendants(pid),
        |pid| {
            for (number, inode) in socket_descriptors(pid).unwrap_or_default() {
                found.entry(inode).or_insert(SocketAt { pid, number });
            }
        },
    );
    found
}

/// Visits all members of a family that has children while it is looked at.
///
/// A server may fork for each connection: the parent closes it when the child has it. If the child was born after
/// the list was made, and the parent has closed before it is visited, neither has the connection. So the family is
/// listed again after the visits, until nobody in the list is new.
pub fn visit_family(list: impl Fn() -> Vec<i32>, mut visit: impl FnMut(i32)) {
    let mut visited = BTreeSet::new();
    loop {
        let mut new = list();
        new.retain(|pid| visited.insert(*pid));
        if new.is_empty() {
            return;
        }
        new.into_iter().for_each(&mut visit);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::listener::inode;
    use std::cell::RefCell;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_socket_is_found_where_it_was_first() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let again = listener.try_clone().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let found = tree_sockets(pid);
        let at = found.get(&inode(&listener).unwrap()).unwrap();
        // The copy may have the lower number: other threads close descriptors meanwhile.
        let lowest = listener.as_raw_fd().min(again.as_raw_fd());
        assert_eq!((at.pid, at.number), (pid, lowest));
    }

    #[test]
    fn what_is_passed_on_to_a_child_meanwhile_is_found() {
        let family = RefCell::new(vec![1]);
        let mut with = Vec::new();
        visit_family(
            || family.borrow().clone(),
            |pid| {
                // Each passes it on to a child just before it is visited; the third keeps it.
                if pid < 3 {
                    family.borrow_mut().push(pid + 1);
                } else {
                    with.push(pid);
                }
            },
        );
        assert_eq!(with, [3]);
    }
}

//! Duplicates of other processes' sockets.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::sys::{listener, pidfd};
use crate::wire::rescue::Descriptor;

#[derive(Debug, Default)]
pub(super) struct Fetched {
    /// How many of the wanted ones were looked at: not all, if no more descriptors can be had.
    pub(super) looked: usize,
    pub(super) connections: Vec<Descriptor>,
    pub(super) sockets: Vec<OwnedFd>,
}

/// Fetches what has not been closed meanwhile, by a process that has not ended meanwhile.
///
/// # Errors
/// Those of pidfd_open(2) and pidfd_getfd(2), but for what these two leave out.
pub(super) fn fetch(wanted: &[Descriptor]) -> io::Result<Fetched> {
    let mut processes: BTreeMap<i32, OwnedFd> = BTreeMap::new();
    let mut fetched = Fetched::default();
    for descriptor in wanted {
        match fetch_one(&mut processes, descriptor) {
            Ok(Some(socket)) => {
                fetched.connections.push(*descriptor);
                fetched.sockets.push(socket);
            }
            Ok(None) => {}
            Err(error) => match error.raw_os_error() {
                Some(libc::EBADF | libc::ESRCH) => {}
                Some(libc::EMFILE | libc::ENFILE) => return Ok(fetched),
                _ => return Err(error),
            },
        }
        fetched.looked += 1;
    }
    Ok(fetched)
}

fn fetch_one(
    processes: &mut BTreeMap<i32, OwnedFd>,
    wanted: &Descriptor,
) -> io::Result<Option<OwnedFd>> {
    let process = match processes.entry(wanted.pid) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => unknown.insert(pidfd::pidfd_open(wanted.pid)?),
    };
    let duplicate = pidfd::pidfd_getfd(process.as_fd(), wanted.number)?;
    // The number may have been given to another socket meanwhile.
    let is_it = listener::inode(&duplicate)? == wanted.inode;
    Ok(is_it.then_some(duplicate))
}

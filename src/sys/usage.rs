//! Who has a socket, and who waits for it with epoll, as /proc tells it.
//!
//! A server that was given a listening socket and uses epoll calls nothing that a filter could stop
//! at; but its epoll instance names the socket, and so does /proc/PID/fdinfo (proc(5); the inode is
//! there since Linux 4.13).

use std::fs;
use std::path::Path;

use super::procfs::{descendants, socket_inodes};

/// Whether a process or one of its descendants has a descriptor of the socket, as far as can be
/// seen.
pub fn is_held_by(pid: i32, inode: u64) -> bool {
    let holds = |pid: i32| socket_inodes(pid).is_ok_and(|inodes| inodes.contains(&inode));
    descendants(pid).into_iter().any(holds)
}

/// Whether a process or one of its descendants has an epoll instance that waits for the socket with
/// this inode. False too where that cannot be seen.
pub fn is_awaited_by(pid: i32, inode: u64) -> bool {
    descendants(pid).into_iter().any(|pid| {
        instances(pid)
            .iter()
            .any(|(_, instance)| awaits(instance, inode))
    })
}

/// What /proc says of each epoll instance of a process, and the instance's descriptor there.
pub(super) fn instances(pid: i32) -> Vec<(i32, String)> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let is_epoll = |path: &Path| {
        fs::read_link(path).is_ok_and(|target| target.as_os_str() == "anon_inode:[eventpoll]")
    };
    let text = |path: &Path| {
        let number = path.file_name()?.to_str()?;
        let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
        Some((number.parse().ok()?, text))
    };
    descriptors
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_epoll(path))
        .filter_map(|path| text(&path))
        .collect()
}

/// A target is a line like `tfd: 5 events: 19 data: 5  pos:0 ino:1c2f sdev:8`.
fn awaits(instance: &str, inode: u64) -> bool {
    let targets = instance.lines().filter(|line| line.starts_with("tfd:"));
    targets
        .flat_map(str::split_ascii_whitespace)
        .filter_map(|word| word.strip_prefix("ino:"))
        .any(|number| u64::from_str_radix(number, 16) == Ok(inode))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::listener::inode;

    #[test]
    fn a_target_is_known_by_its_inode() {
        let text = "pos:\t0\nflags:\t02\nino:\t1c2f\ntfd:        5 events:       19 data:   5  pos:0 ino:1c30 sdev:8\n";
        assert!(awaits(text, 0x1c30));
        assert!(!awaits(text, 0x1c2f), "that is the instance's own");
    }

    #[test]
    fn this_process_waits_for_what_it_has_registered() {
        let poll = mio::Poll::new().unwrap();
        let mut listener = mio::net::TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let inode = inode(&listener).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!is_awaited_by(own, inode));
        poll.registry()
            .register(&mut listener, mio::Token(0), mio::Interest::READABLE)
            .unwrap();
        assert!(is_awaited_by(own, inode));
    }
}

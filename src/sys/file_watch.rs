//! Hears when a file is removed, renamed or replaced: inotify(7).
//!
//! The files themselves are watched, not their directory, where others may come and go all the time. A file that is
//! still open gives `IN_ATTRIB` when it is removed, for its link count changes (`vfs_unlink`, fs/namei.c).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Files that are watched.
#[derive(Debug)]
pub struct FileWatch(Inotify);

impl FileWatch {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// Those of inotify_init1(2): a user may have 128 of them, usually.
    pub fn new() -> io::Result<Self> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        Ok(Self(Inotify::init(flags)?))
    }

    /// Watches this file, too. One that is watched already is watched once.
    ///
    /// # Errors
    /// Those of inotify_add_watch(2).
    pub fn add(&self, path: &Path) -> io::Result<()> {
        let gone = AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_DONT_FOLLOW;
        self.0.add_watch(path, gone)?;
        Ok(())
    }

    /// Takes what was heard.
    pub fn clear(&self) {
        // Each read takes as many events as fit; an error says that there are no more.
        while self.0.read_events().is_ok() {}
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn has_heard(watch: &FileWatch) -> bool {
        let mut polled = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO).unwrap() > 0
    }

    #[test]
    fn a_socket_that_is_removed_renamed_or_replaced_is_heard_of_and_its_neighbours_are_not() {
        let removed: fn(&Path, &Path) = |path, _| fs::remove_file(path).unwrap();
        let renamed: fn(&Path, &Path) = |path, other| fs::rename(path, other).unwrap();
        let replaced: fn(&Path, &Path) = |path, other| {
            fs::write(other, "").unwrap();
            fs::rename(other, path).unwrap();
        };
        for act in [removed, renamed, replaced] {
            let directory = tempfile::tempdir().unwrap();
            let (path, other) = (directory.path().join("s"), directory.path().join("o"));
            let _socket = UnixListener::bind(&path).unwrap();
            let watch = FileWatch::new().unwrap();
            watch.add(&path).unwrap();
            fs::write(&other, "").unwrap();
            fs::remove_file(&other).unwrap();
            assert!(!has_heard(&watch));
            act(&path, &other);
            assert!(has_heard(&watch));
            watch.clear();
            assert!(!has_heard(&watch));
        }
    }
}

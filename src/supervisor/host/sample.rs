//! A process of ours that does nothing, to be looked into as workers are.
//!
//! What may be done to another process is decided by who both are, by security modules (Yama) and by containers'
//! filters. Doing it to ourselves would show none of that but the last.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use log::debug;

use crate::sys::{pidfd, process, procfs};

/// Its `argv[0]`.
pub const NAME: &str = "reuseport-run-sample";

/// Waits until nobody has the other end of standard input any more.
pub fn run() -> u8 {
    // Whatever is read or fails: it ends.
    let _ = io::stdin().read(&mut [0]);
    0
}

/// The process; ended when this is dropped.
#[derive(Debug)]
pub(super) struct Sample {
    pid: i32,
    _channel: UnixStream,
}

impl Sample {
    /// # Errors
    /// Those of socketpair(2), fork(2) and execve(2).
    pub(super) fn start() -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let pid = process::spawn(process::Spawn {
            name: NAME,
            arguments: Vec::new(),
            environment: Vec::new(),
            input: theirs.into(),
            output: None,
            errors: None,
        })?;
        Ok(Self {
            pid,
            _channel: ours,
        })
    }

    /// Fetches its standard input.
    ///
    /// # Errors
    /// Those of pidfd_open(2) and pidfd_getfd(2).
    pub(super) fn fetch_descriptor(&self) -> io::Result<OwnedFd> {
        let process = pidfd::pidfd_open(self.pid)?;
        pidfd::pidfd_getfd(&process, 0)
    }

    /// Reads where nothing is: whoever may read it is told just that.
    ///
    /// # Errors
    /// It may not be read.
    pub(super) fn read_memory(&self) -> io::Result<()> {
        match procfs::read_memory(self.pid, 0, &mut [0]) {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::EFAULT | libc::EIO)) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        if let Err(error) = process::end(self.pid) {
            debug!("cannot end a process that was looked into: {error}");
        }
    }
}

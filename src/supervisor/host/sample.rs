//! A process of ours that does nothing, to be looked into as workers are.
//!
//! It is of the user that workers are. What may be done to another process is decided by who both are, by security modules (Yama) and by containers'
//! filters. Doing it to ourselves would show none of that but the last. Until the process has really executed its
//! program it shares our memory, and doing it to the process would be doing it to ourselves: vfork(2) lets the
//! parent go on a moment before the memory is exchanged (`exec_mmap` in the kernel's fs/exec.c; seen on 6.1). So
//! the process says when it runs.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use log::debug;

use crate::config::Identity;
use crate::launcher;
use crate::sys::{pidfd, process, procfs};

/// How long it may take until it runs, on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Its `argv[0]`.
pub const NAME: &str = "reuseport-run-sample";

/// Says on standard input, which is a channel, that it runs, and waits until nobody has the other end any more.
pub fn run() -> u8 {
    let identity = std::env::args_os().nth(1);
    let identity = identity.map(|text| serde_json::from_slice(text.as_encoded_bytes()));
    let taken = match identity {
        Some(Ok(identity)) => launcher::take_on_to_stay(&identity),
        Some(Err(error)) => Err(error.to_string()),
        None => Ok(()),
    };
    let channel = io::stdin().as_fd().try_clone_to_owned();
    let ended = taken
        .map_err(io::Error::other)
        .and_then(|()| report_and_wait(channel?.into()));
    match ended {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn report_and_wait(mut channel: UnixStream) -> io::Result<()> {
    channel.write_all(&[0])?;
    channel.read(&mut [0]).map(drop)
}

/// The process; ended when this is dropped.
#[derive(Debug)]
pub(super) struct Sample {
    pid: i32,
    _channel: UnixStream,
}

impl Sample {
    /// Starts it and waits until it runs.
    ///
    /// # Errors
    /// Those of socketpair(2), fork(2) and execve(2); it ends before it runs.
    pub(super) fn start(user: Option<&Identity>) -> io::Result<Self> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let user = user.map(serde_json::to_string).transpose()?;
        let pid = process::spawn(process::Spawn {
            name: NAME,
            arguments: user.into_iter().map(OsString::from).collect(),
            environment: Vec::new(),
            input: theirs.into(),
            output: None,
            errors: None,
        })?;
        // From here on it is ended, whatever happens.
        let sample = Self {
            pid,
            _channel: ours.try_clone()?,
        };
        ours.set_read_timeout(Some(START_TIMEOUT))?;
        ours.read_exact(&mut [0])?;
        Ok(sample)
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

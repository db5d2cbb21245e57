//! Our standard output and error.
//!
//! They are not made nonblocking, as they are shared with who started us. A pipe or terminal that
//! poll(2) calls writable takes [`MAX_WRITE_LEN`] bytes without blocking (pipe(7)).

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::descriptor;

/// `PIPE_BUF`.
pub(crate) const MAX_WRITE_LEN: usize = 4096;

/// Our standard output or error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Output = 0,
    Errors = 1,
}

impl Stream {
    fn number(self) -> i32 {
        match self {
            Self::Output => 1,
            Self::Errors => 2,
        }
    }

    pub(crate) fn descriptor(self) -> BorrowedFd<'static> {
        static OUTPUT: LazyLock<io::Stdout> = LazyLock::new(io::stdout);
        static ERRORS: LazyLock<io::Stderr> = LazyLock::new(io::stderr);
        match self {
            Self::Output => OUTPUT.as_fd(),
            Self::Errors => ERRORS.as_fd(),
        }
    }

    /// Whether it takes something, now or within that time.
    pub(crate) fn is_writable(self, timeout: Duration) -> bool {
        let mut polled = [PollFd::new(self.descriptor(), PollFlags::POLLOUT)];
        let poll_timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        // An error condition counts as writable: the write will say what it is.
        poll(&mut polled, poll_timeout).is_ok_and(|ready| ready > 0)
    }
}

/// Makes a file our standard output and error. Our children inherit neither: what they write goes
/// through us, so that all of it follows when the file is opened again.
pub(crate) fn redirect_to(path: &Path) -> io::Result<()> {
    let file: OwnedFd = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?
        .into();
    descriptor::replace(file.try_clone()?, Stream::Output.number())?;
    descriptor::replace(file, Stream::Errors.number())
}

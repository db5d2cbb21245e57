//! Another socket takes the place of the worker's, under the same descriptor.

use std::io;
use std::os::fd::BorrowedFd;

use super::Waiting;
use super::subject::Subject;
use crate::fleet::ListenerId;
use crate::sys::{descriptor, procfs, seccomp};

impl Waiting<'_> {
    /// Puts a listener of the queue in the place of the worker's socket.
    pub(crate) fn share(
        &self,
        fd: i32,
        listener: ListenerId,
        socket: BorrowedFd<'_>,
        instead_of: &Subject,
    ) -> io::Result<()> {
        if !self.fleet.is_in_use(listener, self.worker) {
            return self.put_in_place(fd, socket, instead_of);
        }
        let flags = procfs::fd_flags(self.pid, fd);
        self.place(fd, socket, flags.is_ok_and(|flags| flags.close_on_exec))
    }

    /// Puts a socket in the place of the worker's, with the worker's flags.
    pub(crate) fn put_in_place(
        &self,
        fd: i32,
        socket: BorrowedFd<'_>,
        instead_of: &Subject,
    ) -> io::Result<()> {
        let flags = procfs::fd_flags(self.pid, fd);
        let nonblocking = match instead_of {
            Subject::Own(own) => descriptor::is_nonblocking(own)?,
            Subject::Unseen => flags.as_ref().is_ok_and(|flags| flags.nonblocking),
        };
        descriptor::set_nonblocking(&socket, nonblocking)?;
        self.place(fd, socket, flags.is_ok_and(|flags| flags.close_on_exec))
    }

    fn place(&self, fd: i32, socket: BorrowedFd<'_>, close_on_exec: bool) -> io::Result<()> {
        seccomp::place(self.calls, self.id, socket, fd, close_on_exec)?;
        Ok(())
    }
}

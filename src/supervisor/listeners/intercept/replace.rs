//! Another socket takes the place of the worker's, under the same descriptor.

use std::io;
use std::os::fd::BorrowedFd;

use log::warn;

use super::PendingCall;
use super::call_socket::CallSocket;
use super::state::InterceptState;
use crate::fleet::ListenerId;
use crate::supervisor::listeners::Listeners;
use crate::sys::epoll::{self, Registration};
use crate::sys::{descriptor, pidfd, procfs, seccomp};

impl PendingCall<'_> {
    /// Puts a listener of the worker's set in the place of its socket.
    ///
    /// Where another worker of its generation listens on it already, the socket is as their program wants it, and must not be
    /// changed back to what a socket is at bind. `O_NONBLOCK` belongs to the open file, not to the
    /// descriptor, and a worker that finds its listener blocking all of a sudden hangs in accept(2), for
    /// another took the connection.
    ///
    /// # Errors
    /// Those of [`Self::replace_socket`]; `NotFound`: the listener has been closed.
    pub(super) fn share(
        &self,
        state: &InterceptState,
        listeners: &Listeners,
        fd: i32,
        listener: ListenerId,
        replaced: &CallSocket,
    ) -> io::Result<()> {
        let socket = listeners.socket(listener).ok_or(io::ErrorKind::NotFound)?;
        if !listeners.is_used_by_others(listener, self.worker, state.generation) {
            return self.replace_socket(fd, socket, replaced);
        }
        let flags = procfs::fd_flags(self.pid, fd);
        self.add_fd(fd, socket, flags.is_ok_and(|flags| flags.close_on_exec))
    }

    /// Puts a socket in the place of the worker's, with the worker's flags.
    pub(super) fn replace_socket(
        &self,
        fd: i32,
        socket: BorrowedFd<'_>,
        replaced: &CallSocket,
    ) -> io::Result<()> {
        let flags = procfs::fd_flags(self.pid, fd);
        let nonblocking = match replaced {
            CallSocket::Fetched(own) => descriptor::is_nonblocking(own)?,
            CallSocket::Unfetchable => flags.as_ref().is_ok_and(|flags| flags.nonblocking),
        };
        descriptor::set_nonblocking(&socket, nonblocking)?;
        self.add_fd(fd, socket, flags.is_ok_and(|flags| flags.close_on_exec))
    }

    fn add_fd(&self, fd: i32, socket: BorrowedFd<'_>, close_on_exec: bool) -> io::Result<()> {
        // Before: with the worker's own socket they are gone.
        let awaited = epoll::registrations(self.pid, fd);
        seccomp::add_fd(self.calls, self.id, socket, fd, close_on_exec)?;
        for registration in awaited {
            if let Err(error) = self.await_again(fd, socket, registration) {
                warn!(
                    "worker {} (pid {}): a listener has taken the place of a socket that the worker waits for with epoll, \
                     and epoll cannot be told: {error}; the worker may never accept from it; use --listen ADDR",
                    self.worker, self.pid
                );
            }
        }
        Ok(())
    }

    /// Some servers wait for a socket with epoll before they bind it.
    fn await_again(
        &self,
        fd: i32,
        socket: BorrowedFd<'_>,
        registration: Registration,
    ) -> io::Result<()> {
        let process = pidfd::pidfd_open(self.pid)?;
        let instance = pidfd::pidfd_getfd(&process, registration.instance)?;
        epoll::register(instance, socket, fd, registration)
    }
}

//! A worker gives the reuseport group of its listener a steering program of its own, or takes the supervisor's away.
//!
//! The hazard: a group has one program, whoever attached it. With the worker's in the place of the supervisor's, new
//! connections go to old workers too, also when these have been told to stop, and each reload loses some. So such a
//! call is answered with success, and nothing is done. It is not refused: most servers would not start then, and what
//! they want by it (a connection served on the CPU on which it came) is a matter of speed.

use std::os::fd::AsFd as _;

use super::call_socket::CallSocket;
use super::state::InterceptState;
use super::{Answer, PendingCall};
use crate::supervisor::listeners::Listeners;
use crate::supervisor::repeated::RepeatedWarning;
use crate::sys::listener;

impl PendingCall<'_> {
    pub(super) fn set_program(
        &self,
        state: &InterceptState,
        listeners: &Listeners,
        refused: &mut RepeatedWarning,
        fd: i32,
    ) -> Answer {
        let Ok(Some(socket)) = self.call_socket(fd) else {
            return Answer::Pass;
        };
        let is_steered = self.is_managed(state, listeners, fd, &socket) || may_become_so(&socket);
        if !self.is_pending() {
            return Answer::None;
        }
        if !is_steered {
            return Answer::Pass;
        }
        refused.warn(format!(
            "worker {}: a BPF program of its own (SO_ATTACH_REUSEPORT_CBPF or EBPF) is not attached: it would take the place \
             of the supervisor's, and a reload would lose connections; which worker gets a new connection is decided as \
             for other servers (--steering)",
            self.worker
        ));
        Answer::Result(Ok(()))
    }

    fn is_managed(
        &self,
        state: &InterceptState,
        listeners: &Listeners,
        fd: i32,
        socket: &CallSocket,
    ) -> bool {
        let inode = socket.inode(self.pid, fd);
        inode.is_some_and(|it| state.bound.contains(&it) || listeners.by_inode(it).is_some())
    }
}

/// Whether the socket is not bound yet. Its program would be that of the group which it opens.
fn may_become_so(socket: &CallSocket) -> bool {
    match socket {
        CallSocket::Fetched(socket) => {
            matches!(listener::endpoint(&socket.as_fd()), Ok(None))
        }
        // Nothing tells. Where it opens a group, the supervisor replaces its program at the first change.
        CallSocket::Unfetchable => false,
    }
}

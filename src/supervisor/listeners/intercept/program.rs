//! A worker gives its listener's group a BPF program of its own, or takes the program away (`SO_ATTACH_REUSEPORT_CBPF`,
//! `SO_ATTACH_REUSEPORT_EBPF`, `SO_DETACH_REUSEPORT_BPF`).
//!
//! The hazard: a group has one program, for all its members. The worker's would take the place of the one that steers,
//! and choose among the listeners of all generations, so that a reload loses what it sends to those that leave. So the
//! call is answered with success and not made, where the socket is one that we manage. A server that is told of an error
//! gives up, or does without; told that it is done, it serves, and the log says what is so.
//!
//! The call may come before bind(2). Then the kernel makes a group of its own for the socket, and another group's port
//! is "in use" for it (`inet_csk_bind_conflict`, `reuseport_cb_ok`; Linux 4.6): no worker of a later generation could be
//! bound. Whether the socket will be one of ours is not known yet. One of TCP that has `SO_REUSEPORT` nearly always
//! will, so it counts as one; for one that is then bound to port 0, the kernel's own choice is made.

use std::io;

use log::warn;

use super::call_socket::CallSocket;
use super::state::InterceptState;
use super::{Answer, PendingCall};
use crate::config::Steering;
use crate::fleet::Generation;
use crate::supervisor::listeners::Listeners;
use crate::sys::listener;

/// Whose program a group has.
#[derive(Debug, Default)]
pub(crate) enum Programs {
    /// Ours.
    #[default]
    Ours,
    /// Ours, and the log says that this generation wanted one of its own: all its workers do.
    OursInstead(Generation),
    /// The server's, if it has one: nothing is steered, as was asked for.
    Servers,
}

impl Programs {
    /// What `--steering` says. Where steering was wanted and cannot be, the server's program is not let in either: on a
    /// kernel that may crash when a program is replaced under load, each new worker would replace it.
    pub(crate) fn wanted(steering: Steering) -> Self {
        match steering {
            Steering::Auto | Steering::Ebpf | Steering::Cbpf => Self::Ours,
            Steering::None => Self::Servers,
        }
    }

    /// Whether a worker of this generation is the first that wants a program of its own.
    fn is_first_of(&mut self, generation: Generation) -> bool {
        match self {
            Self::Servers => false,
            Self::OursInstead(said) if *said == generation => false,
            Self::Ours | Self::OursInstead(_) => {
                *self = Self::OursInstead(generation);
                true
            }
        }
    }
}

impl PendingCall<'_> {
    /// Deals with a call that sets or removes the program of the group that a socket is in.
    pub(super) fn set_program(
        &self,
        state: &mut InterceptState,
        listeners: &Listeners,
        programs: &mut Programs,
        fd: i32,
    ) -> Answer {
        if matches!(programs, Programs::Servers) {
            return Answer::Pass;
        }
        match self.is_ours_to_steer(state, listeners, fd) {
            Ok(false) => return Answer::Pass,
            Err(error) => return self.cannot_see(state, &error),
            Ok(true) => {}
        }
        if !self.is_pending() {
            return Answer::None;
        }
        if programs.is_first_of(state.generation) {
            self.say_who_steers();
        }
        Answer::Result(Ok(()))
    }

    /// Whether a socket is one that we manage, or will be when it is bound.
    fn is_ours_to_steer(
        &self,
        state: &InterceptState,
        listeners: &Listeners,
        fd: i32,
    ) -> io::Result<bool> {
        let Some(call_socket) = self.call_socket(fd)? else {
            return Ok(false);
        };
        let inode = call_socket.inode(self.pid, fd);
        let is_managed =
            |inode| state.bound.contains(&inode) || listeners.by_inode(inode).is_some();
        if inode.is_some_and(is_managed) {
            return Ok(true);
        }
        match call_socket {
            CallSocket::Fetched(socket) => {
                Ok(listener::shares_port(&socket)? && listener::endpoint(&socket)?.is_none())
            }
            // At bind another socket takes its place, and its group goes with it.
            CallSocket::Unfetchable => Ok(false),
        }
    }

    fn say_who_steers(&self) {
        warn!(
            "worker {} (pid {}): wants to choose by a BPF program of its own which listener gets a connection \
             (SO_ATTACH_REUSEPORT_CBPF or _EBPF, SO_DETACH_REUSEPORT_BPF); that is answered with success and not done, \
             for it would replace the program that steers, and reloads would lose requests; so the supervisor spreads \
             connections over the workers, and the server's own choice is not made; --steering none leaves it to the \
             server",
            self.worker, self.pid
        );
    }
}

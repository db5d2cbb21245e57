//! A worker listens: on what we have bound for it, or on the listener that its set has by now.

use std::io;
use std::os::fd::OwnedFd;

use super::call_socket::CallSocket;
use super::state::InterceptState;
use super::{Change, Membership, PendingCall};
use crate::supervisor::listeners::Listeners;
use crate::sys::{listener, procfs};

impl PendingCall<'_> {
    /// Makes the socket listen if it is one that we have bound; none if it is not ours to manage.
    pub(super) fn listen(
        &self,
        state: &mut InterceptState,
        listeners: &mut Listeners,
        fd: i32,
        backlog: i32,
    ) -> io::Result<Option<Change>> {
        let Ok(Some(socket)) = self.bound_socket(state, listeners, fd) else {
            return Ok(None);
        };
        let inode = listener::inode(&socket)?;
        let known = listeners.by_inode(inode);
        if !(state.bound.contains(&inode) || known.is_some()) || !self.is_pending() {
            return Ok(None);
        }
        let Some(endpoint) = listener::endpoint(&socket)? else {
            return Ok(None);
        };
        let shared = known.or_else(|| state.replacement_to_listen(listeners, &endpoint));
        let (listener, membership) = match shared {
            Some(id) => {
                if known.is_none() {
                    self.share(state, listeners, fd, id, &CallSocket::Fetched(socket))?;
                    state.bound.extend(listeners.inode(id));
                }
                let membership = match listeners.listen_again(id, backlog)? {
                    true => Membership::Joined,
                    false => Membership::Kept,
                };
                (id, membership)
            }
            None => {
                listener::listen(&socket, backlog)?;
                let id = listeners.add(socket, endpoint, state.set)?;
                (id, Membership::Joined)
            }
        };
        state.own_listeners.insert(listener);
        state.listened.insert(listener);
        listeners.used_by(listener, self.worker, state.generation);
        Ok(Some(Change::Listened {
            listener,
            endpoint,
            membership,
        }))
    }

    /// The socket to listen on: fetched, or one that we made or put in place.
    fn bound_socket(
        &self,
        state: &mut InterceptState,
        listeners: &Listeners,
        fd: i32,
    ) -> io::Result<Option<OwnedFd>> {
        match self.call_socket(fd)? {
            Some(CallSocket::Fetched(socket)) => Ok(Some(socket)),
            Some(CallSocket::Unfetchable) => self.socket_of_ours(state, listeners, fd),
            None => Ok(None),
        }
    }

    /// The socket of ours that is behind a descriptor that we cannot fetch.
    fn socket_of_ours(
        &self,
        state: &mut InterceptState,
        listeners: &Listeners,
        fd: i32,
    ) -> io::Result<Option<OwnedFd>> {
        let Some(inode) = procfs::socket_inode_of(self.pid, fd) else {
            return Ok(None);
        };
        if let Some(made) = state.made.remove(&inode) {
            return Ok(Some(made));
        }
        let known = listeners
            .by_inode(inode)
            .and_then(|id| listeners.socket(id));
        known.map(|socket| socket.try_clone_to_owned()).transpose()
    }
}

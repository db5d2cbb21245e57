//! A worker listens: on what we have bound for it, or on the listener that its queue has by now.

use std::io;
use std::os::fd::OwnedFd;

use super::Waiting;
use super::subject::Subject;
use crate::fleet::{Endpoint, ListenerId};
use crate::supervisor::listeners::Groups;
use crate::supervisor::listeners::intercept::state::Desk;
use crate::sys::{listener, procfs};

impl Waiting<'_> {
    /// Makes the socket listen if it is one that we have bound; none if it is not ours to manage.
    pub(crate) fn listen(
        &self,
        desk: &mut Desk,
        groups: &mut Groups,
        fd: i32,
        backlog: i32,
    ) -> io::Result<Option<(ListenerId, Endpoint)>> {
        let Ok(Some(socket)) = self.bound_socket(desk, groups, fd) else {
            return Ok(None);
        };
        let inode = listener::inode(&socket)?;
        let known = groups.by_inode(inode);
        if !(desk.bound.contains(&inode) || known.is_some()) || !self.still_waits() {
            return Ok(None);
        }
        let Some(endpoint) = listener::endpoint(&socket)? else {
            return Ok(None);
        };
        let shared = known.or_else(|| desk.replacement(groups, &endpoint));
        let id = match (shared, shared.and_then(|id| groups.socket(id))) {
            (Some(id), Some(listener)) => {
                if known.is_none() {
                    self.share(fd, id, listener, &Subject::Own(socket))?;
                    desk.bound.extend(groups.inode(id));
                }
                groups.listen_again(id, backlog)?;
                id
            }
            _ => {
                listener::listen(&socket, backlog)?;
                groups.join(socket, endpoint, desk.queue)?
            }
        };
        desk.placed.insert(id);
        Ok(Some((id, endpoint)))
    }

    /// The socket to listen on: fetched, or one that we made or put in place.
    fn bound_socket(
        &self,
        desk: &mut Desk,
        groups: &Groups,
        fd: i32,
    ) -> io::Result<Option<OwnedFd>> {
        match self.subject(fd)? {
            Some(Subject::Own(socket)) => Ok(Some(socket)),
            Some(Subject::Unseen) => self.socket_of_ours(desk, groups, fd),
            None => Ok(None),
        }
    }

    /// The socket of ours that is behind a descriptor that we cannot fetch.
    fn socket_of_ours(
        &self,
        desk: &mut Desk,
        groups: &Groups,
        fd: i32,
    ) -> io::Result<Option<OwnedFd>> {
        let Some(inode) = procfs::socket_inode_of(self.pid, fd) else {
            return Ok(None);
        };
        if let Some(made) = desk.made.remove(&inode) {
            return Ok(Some(made));
        }
        let known = groups.by_inode(inode).and_then(|id| groups.socket(id));
        known.map(|socket| socket.try_clone_to_owned()).transpose()
    }
}

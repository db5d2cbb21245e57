//! A worker binds: to the address that it asks for, or it gets a listener of its set.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};

use log::warn;
use socket2::SockRef;

use super::call_socket::CallSocket;
use super::state::{InterceptState, Visibility};
use super::{Answer, Change, PendingCall};
use crate::fleet::Endpoint;
use crate::supervisor::listeners::Listeners;
use crate::supervisor::listeners::port_conflict::{self, cannot_listen};
use crate::sys::descriptor;
use crate::sys::listener::{self, Kind};

impl InterceptState {
    /// What a worker gets that asks for a bound socket, in place of binding one.
    pub(super) fn bind_for(
        &mut self,
        listeners: &Listeners,
        endpoint: Endpoint,
        is_fetchable: bool,
    ) -> io::Result<(OwnedFd, Option<Change>)> {
        if let Some(listener) = self.replacement(listeners, &endpoint) {
            let socket = listeners.socket(listener).ok_or(io::ErrorKind::NotFound)?;
            self.bound.extend(listeners.inode(listener));
            let shared = Change::Shared { listener, endpoint };
            return Ok((socket.try_clone_to_owned()?, Some(shared)));
        }
        let made = listener::create(&endpoint.address, endpoint.v6_only)?;
        if endpoint.address.port() == 0 {
            // Each has one of its own, as without us.
            SockRef::from(&made).bind(&endpoint.address.into())?;
            return Ok((made, None));
        }
        port_conflict::refuse(listeners, &endpoint)?;
        listener::bind_shared(&made, &endpoint.address)?;
        let inode = listener::inode(&made)?;
        self.bound.insert(inode);
        if !is_fetchable {
            self.made.insert(inode, made.try_clone()?);
        }
        Ok((made, None))
    }
}

impl PendingCall<'_> {
    pub(super) fn bind(
        &self,
        state: &mut InterceptState,
        listeners: &mut Listeners,
        fd: i32,
        address: u64,
        length: u32,
    ) -> (Answer, Option<Change>) {
        let address = match self.read_address(address, length) {
            Ok(Some(address)) if address.port() != 0 => address,
            Ok(_) => return (Answer::Pass, None),
            Err(error) => return (self.cannot_see(state, &error), None),
        };
        let call_socket = match self.call_socket(fd) {
            Ok(Some(call_socket)) => call_socket,
            Ok(None) => return (Answer::Pass, None),
            Err(error) => return (self.cannot_see(state, &error), None),
        };
        if !self.is_pending() {
            return (Answer::None, None);
        }
        match self.bind_socket(state, listeners, fd, address, call_socket) {
            Ok(shared) => (Answer::Result(Ok(())), shared),
            Err(error) => {
                warn!(
                    "worker {}: {}",
                    self.worker,
                    cannot_listen(&address, &error)
                );
                (Answer::Result(Err(error)), None)
            }
        }
    }

    fn bind_socket(
        &self,
        state: &mut InterceptState,
        listeners: &Listeners,
        fd: i32,
        address: SocketAddr,
        call_socket: CallSocket,
    ) -> io::Result<Option<Change>> {
        let endpoint = Endpoint {
            address,
            v6_only: self.v6_only(state, &call_socket, fd, &address),
        };
        let own_inode = call_socket.inode(self.pid, fd);
        if own_inode.is_some_and(|inode| state.bound.contains(&inode)) {
            return Ok(None);
        }
        if let Some(listener) = state.replacement(listeners, &endpoint) {
            self.share(state, listeners, fd, listener, &call_socket)?;
            state.bound.extend(listeners.inode(listener));
            return Ok(Some(Change::Shared { listener, endpoint }));
        }
        port_conflict::refuse(listeners, &endpoint)?;
        let inode = match call_socket {
            CallSocket::Fetched(socket) if listener::kind(&socket)? == Kind::Tcp => {
                listener::bind_shared(&socket, &address)?;
                own_inode
            }
            // A listener of Multipath TCP cannot be steered, and one that we cannot fetch cannot be
            // bound: a plain socket of ours takes its place.
            call_socket => {
                let made = listener::create(&address, endpoint.v6_only)?;
                // Listeners of one user only share a port, and others of its group may be the worker's own.
                if let CallSocket::Fetched(own) = &call_socket {
                    descriptor::give_to(&made, descriptor::owner(own)?)?;
                }
                listener::bind_shared(&made, &address)?;
                self.replace_socket(fd, made.as_fd(), &call_socket)?;
                let inode = listener::inode(&made)?;
                if matches!(call_socket, CallSocket::Unfetchable) {
                    state.made.insert(inode, made);
                }
                Some(inode)
            }
        };
        state.bound.extend(inode);
        Ok(None)
    }

    /// A worker that hides from us binds as it would without us, and so only the first succeeds.
    pub(super) fn cannot_see(&self, state: &mut InterceptState, error: &io::Error) -> Answer {
        if std::mem::replace(&mut state.visibility, Visibility::Hidden) == Visibility::Visible {
            warn!(
                "worker {} (pid {}): cannot look at what it binds: {error}; it hides from us (not dumpable, or ptrace is \
                 restricted); run reuseport-run as its user, or use --listen ADDR",
                self.worker, self.pid
            );
        }
        Answer::Pass
    }
}

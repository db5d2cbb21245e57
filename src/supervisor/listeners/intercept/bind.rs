//! A worker binds: to the address that it asks for, or it gets the listener that its queue has.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use log::warn;

use super::subject::Subject;
use super::{Answer, Waiting};
use crate::fleet::{Endpoint, Event};
use crate::supervisor::listeners::Groups;
use crate::supervisor::listeners::intercept::state::Desk;
use crate::supervisor::listeners::port_conflict::{cannot_listen, refuse_stranger};
use crate::sys::listener::{self, Kind};

impl Waiting<'_> {
    pub(crate) fn bind(
        &self,
        desk: &mut Desk,
        groups: &mut Groups,
        fd: i32,
        address: u64,
        length: u32,
    ) -> (Answer, Option<Event>) {
        let address = match self.read_address(address, length) {
            Ok(Some(address)) if address.port() != 0 => address,
            Ok(_) => return (Answer::Pass, None),
            Err(error) => return (self.cannot_see(desk, &error), None),
        };
        let subject = match self.subject(fd) {
            Ok(Some(subject)) => subject,
            Ok(None) => return (Answer::Pass, None),
            Err(error) => return (self.cannot_see(desk, &error), None),
        };
        if !self.still_waits() {
            return (Answer::None, None);
        }
        match self.bind_socket(desk, groups, fd, address, subject) {
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
        desk: &mut Desk,
        groups: &Groups,
        fd: i32,
        address: SocketAddr,
        subject: Subject,
    ) -> io::Result<Option<Event>> {
        let endpoint = Endpoint {
            address,
            v6_only: self.v6_only(desk, &subject, fd, &address),
        };
        let own_inode = subject.inode(self.pid, fd);
        if own_inode.is_some_and(|inode| desk.bound.contains(&inode)) {
            return Ok(None);
        }
        if let Some(listener) = desk.replacement(groups, &endpoint)
            && let Some(socket) = groups.socket(listener)
        {
            self.share(fd, listener, socket, &subject)?;
            desk.bound.extend(groups.inode(listener));
            return Ok(Some(Event::Shared {
                worker: self.worker,
                listener,
                endpoint,
            }));
        }
        refuse_stranger(groups, &endpoint)?;
        let inode = match subject {
            Subject::Own(socket) if listener::kind(&socket)? == Kind::Tcp => {
                listener::bind_shared(&socket, &address)?;
                own_inode
            }
            // A listener of Multipath TCP cannot be steered, and one that we cannot fetch cannot be
            // bound: a plain socket of ours takes its place.
            subject => {
                let made = listener::create(&address, endpoint.v6_only)?;
                listener::bind_shared(&made, &address)?;
                self.put_in_place(fd, made.as_fd(), &subject)?;
                let inode = listener::inode(&made)?;
                if matches!(subject, Subject::Unseen) {
                    desk.made.insert(inode, made);
                }
                Some(inode)
            }
        };
        desk.bound.extend(inode);
        Ok(None)
    }

    /// A worker that hides from us binds as it would without us, and so only the first succeeds.
    fn cannot_see(&self, desk: &mut Desk, error: &io::Error) -> Answer {
        if !std::mem::replace(&mut desk.is_blind, true) {
            warn!(
                "worker {} (pid {}): cannot look at what it binds: {error}; it hides from us (not dumpable, or ptrace is \
                 restricted); run reuseport-run as its user, or use --listen ADDR",
                self.worker, self.pid
            );
        }
        Answer::Pass
    }
}

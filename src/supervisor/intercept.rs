//! A worker calls bind or listen, and we do it for it, on the same socket.
//!
//! The worker waits while we fetch its socket, read the address, and check that it still waits:
//! only then is what we read its own. Since we then act on the socket and not on the worker's
//! descriptor, nothing that its other threads do in between can make us act on something else.
//!
//! Where fetching is refused (seccomp profiles of containers, a process that is not dumpable), we
//! make the socket ourselves and put it in the place of the worker's: that needs only the
//! notification.
//!
//! A signal may interrupt a call that waits and start it again; so a second bind of a socket that
//! we have bound is answered with 0.
//!
//! Where the worker's queue has a listener already, that takes the place of the worker's socket: at
//! bind, so that all that the worker does to it later is done to what it will accept from; at listen
//! at the latest, for two workers of a queue may both have bound before one of them listens. What
//! they then do to the one socket they do all: options, listen(2) again with another backlog and
//! `O_NONBLOCK` are the socket's or the open file's, and they run the same program.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use log::{debug, warn};

use super::Supervisor;
use super::desk::Desk;
use super::groups::Groups;
use super::stranger::{cannot_listen, refuse_stranger};
use crate::fleet::{Endpoint, Event, Fleet, ListenerId, WorkerId};
use crate::sys::listener::Kind;
use crate::sys::procfs::SocketKind;
use crate::sys::seccomp::{self, Call};
use crate::sys::{descriptor, listener, pidfd, procfs};
use crate::wire::address::socket_address;

/// What to tell the kernel to tell the worker.
enum Answer {
    /// The call's result is this.
    Result(io::Result<()>),
    /// The kernel shall do it as if we were not there.
    Pass,
    /// Nobody waits any more.
    None,
}

/// One call that waits.
struct Waiting<'a> {
    calls: BorrowedFd<'a>,
    id: u64,
    pid: i32,
    worker: WorkerId,
    fleet: &'a Fleet,
}

/// The socket of a call.
enum Subject {
    /// Fetched: the worker's own.
    Own(OwnedFd),
    /// It cannot be fetched, but /proc says that it is one of TCP.
    Unseen,
}

impl Supervisor {
    /// Answers all calls that wait.
    pub(super) fn calls_ready(&mut self, worker: WorkerId) {
        loop {
            let Some(child) = self.children.get_mut(worker) else {
                return;
            };
            let Some((calls, _)) = &child.calls else {
                return;
            };
            let calls = calls.as_fd();
            match seccomp::receive(calls) {
                Ok(Some(notification)) => {
                    let waiting = Waiting {
                        calls,
                        id: notification.id,
                        pid: procfs::tgid(notification.thread).unwrap_or(notification.thread),
                        worker,
                        fleet: &self.fleet,
                    };
                    let event = waiting.serve(&mut child.desk, &mut self.groups, notification.call);
                    self.inbox.extend(event);
                }
                Ok(None) => return,
                Err(error) => {
                    debug!("worker {worker}: no more calls: {error}");
                    return child.close_calls(&mut self.sources);
                }
            }
        }
    }
}

/// 32-bit x86 programs have one system call for all that is about sockets.
fn resolved(pid: i32, call: Call) -> Call {
    let Call::Socketcall {
        which,
        arguments_address,
    } = call
    else {
        return call;
    };
    let mut bytes = [0; 12];
    match procfs::read_memory(pid, arguments_address, &mut bytes) {
        Ok(12) => {
            let word = |at: usize| {
                u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
            };
            seccomp::decode_socketcall(which, [word(0), word(4), word(8)])
        }
        _ => Call::Other,
    }
}

impl Waiting<'_> {
    /// Deals with the call; that it got a listener, or listens, is an event.
    fn serve(&self, desk: &mut Desk, groups: &mut Groups, call: Call) -> Option<Event> {
        let (answer, event) = match resolved(self.pid, call) {
            Call::Bind {
                fd,
                address,
                length,
            } => self.bind(desk, groups, fd, address, length),
            Call::Listen { fd, backlog } => match self.listen(desk, groups, fd, backlog) {
                Ok(Some((listener, endpoint))) => {
                    let event = Event::Listened {
                        worker: self.worker,
                        listener,
                        endpoint,
                    };
                    (Answer::Result(Ok(())), Some(event))
                }
                Ok(None) => (Answer::Pass, None),
                Err(error) => (Answer::Result(Err(error)), None),
            },
            Call::SetV6Only {
                fd, value_address, ..
            } => {
                self.note_v6_only(desk, fd, value_address);
                (Answer::Pass, None)
            }
            Call::Socketcall { .. } | Call::Other => (Answer::Pass, None),
        };
        self.answer(answer);
        event
    }

    fn answer(&self, answer: Answer) {
        let sent = match answer {
            Answer::Result(Ok(())) => seccomp::answer(self.calls, self.id, Ok(0)),
            Answer::Result(Err(error)) => seccomp::answer(
                self.calls,
                self.id,
                Err(error.raw_os_error().unwrap_or(libc::EIO)),
            ),
            Answer::Pass => seccomp::pass(self.calls, self.id),
            Answer::None => return,
        };
        if let Err(error) = sent {
            warn!(
                "worker {}: cannot answer its bind or listen: {error}",
                self.worker
            );
        }
    }

    fn still_waits(&self) -> bool {
        seccomp::still_valid(self.calls, self.id)
    }

    fn bind(
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

    /// Puts a listener of the queue in the place of the worker's socket.
    fn share(
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
    fn put_in_place(
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

    /// Makes the socket listen if it is one that we have bound; none if it is not ours to manage.
    fn listen(
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

    /// The socket behind a descriptor of the worker; none if it is not one of TCP.
    fn subject(&self, fd: i32) -> io::Result<Option<Subject>> {
        match pidfd::pidfd_open(self.pid).and_then(|process| pidfd::pidfd_getfd(&process, fd)) {
            Ok(socket) => {
                let kind = listener::kind(&socket).unwrap_or(Kind::Other);
                Ok((kind != Kind::Other).then_some(Subject::Own(socket)))
            }
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(None),
            Err(_) => Ok(match procfs::socket_kind(self.pid, fd)? {
                SocketKind::Other => None,
                _ => Some(Subject::Unseen),
            }),
        }
    }

    fn read_address(&self, address: u64, length: u32) -> io::Result<Option<SocketAddr>> {
        let mut bytes = [0; 28];
        let wanted = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let read = procfs::read_memory(self.pid, address, &mut bytes[..wanted])?;
        Ok(socket_address(&bytes[..read]))
    }

    fn note_v6_only(&self, desk: &mut Desk, fd: i32, address: u64) {
        let mut value = [0; 4];
        if procfs::read_memory(self.pid, address, &mut value).is_ok() {
            desk.v6_only.insert((self.pid, fd), value != [0; 4]);
        }
    }

    fn v6_only(&self, desk: &Desk, subject: &Subject, fd: i32, address: &SocketAddr) -> bool {
        match subject {
            _ if address.is_ipv4() => false,
            Subject::Own(socket) => listener::is_v6_only(socket).unwrap_or(false),
            Subject::Unseen => desk
                .v6_only
                .get(&(self.pid, fd))
                .copied()
                .unwrap_or_else(procfs::v6_only_by_default),
        }
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

impl Subject {
    fn inode(&self, pid: i32, fd: i32) -> Option<u64> {
        match self {
            Self::Own(socket) => listener::inode(socket).ok(),
            Self::Unseen => procfs::socket_inode_of(pid, fd),
        }
    }
}

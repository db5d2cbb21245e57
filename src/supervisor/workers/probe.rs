//! Asking one worker, through the shared port, whether it is ready.
//!
//! A rule in the steering program sends the probe's source to that worker's listener, before it
//! gets anything else. There are two probes. The HTTP probe asks for a path. The accept probe is
//! for a worker that was given a listening socket: nothing tells that it has begun to use it, but
//! that a connection which can only be its own has been accepted.
//!
//! Where workers share a queue, any of them may accept. So the accept probe counts for the worker
//! that has the connection then, and before that for one whose epoll instance waits for the
//! listener, for the kernel may wake the same sibling every time. The HTTP probe asks the queue:
//! whoever answers, the worker that is probed listens on it too.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use log::debug;
use mio::{Interest, Token};
use socket2::{Domain, Socket, Type};

use crate::config::Readiness;
use crate::fleet::{Endpoint, Event, ListenerId, WorkerId};
use crate::supervisor::Supervisor;
use crate::sys::{listener, usage};

/// How long a worker may take to answer an HTTP probe before it is asked again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of an answer is read; its status line is at its beginning.
const LONGEST_HEAD: usize = 16 * 1024;

/// A probe that is under way.
#[derive(Debug)]
pub(crate) struct Probe {
    listener: ListenerId,
    source: SocketAddr,
    socket: Socket,
    since: Instant,
    /// What is being asked; none for an accept probe.
    question: Option<Question>,
}

#[derive(Debug)]
struct Question {
    token: Token,
    unsent: Vec<u8>,
    answer: Vec<u8>,
}

impl Supervisor {
    /// Begins a probe, or sees how the one that is under way is doing.
    pub(crate) fn probe(&mut self, worker: WorkerId) -> Vec<Event> {
        if let Some(listener) = self.awaited_listener(worker) {
            self.end_probe(worker);
            return self.uses(worker, listener);
        }
        let Some(probe) = self.probes.get(&worker) else {
            if let Err(error) = self.begin_probe(worker) {
                debug!("worker {worker}: cannot probe: {error}");
                self.end_probe(worker);
            }
            return Vec::new();
        };
        if probe.question.is_some() {
            if probe.since.elapsed() > PATIENCE {
                self.end_probe(worker);
            }
            return Vec::new();
        }
        let Some(is_own) = self.is_own(worker, probe) else {
            return Vec::new();
        };
        let listener = probe.listener;
        self.end_probe(worker);
        if is_own {
            self.uses(worker, listener)
        } else {
            Vec::new()
        }
    }

    fn uses(&self, worker: WorkerId, listener: ListenerId) -> Vec<Event> {
        let endpoint = self.groups.endpoint(listener);
        endpoint
            .map(|endpoint| Event::Listened {
                worker,
                listener,
                endpoint,
            })
            .into_iter()
            .collect()
    }

    /// Whether it is this worker that has accepted the probe; none while nobody has.
    fn is_own(&self, worker: WorkerId, probe: &Probe) -> Option<bool> {
        if !listener::is_established(&probe.socket).unwrap_or(false) {
            return None;
        }
        if !self.fleet.is_shared(probe.listener, worker) {
            return (self.pending_on(probe.listener) == 0).then_some(true);
        }
        // Siblings are probed too, and one that has accepted its probe waits for us to say
        // something: that the queue is empty is not to be waited for.
        let open = self.open_connections().ok()?;
        match open.iter().find(|it| it.remote == probe.source) {
            Some(waiting) if waiting.inode == 0 => None,
            Some(accepted) => {
                let pid = self.children.get(worker)?.pid;
                Some(usage::is_held_by(pid, accepted.inode))
            }
            None => Some(false),
        }
    }

    /// The shared listener that a worker has not been known to use and waits for.
    fn awaited_listener(&self, worker: WorkerId) -> Option<ListenerId> {
        let listener = self.unused_shared(worker)?;
        let inode = self.groups.inode(listener)?;
        let pid = self.children.get(worker)?.pid;
        usage::is_awaited_by(pid, inode).then_some(listener)
    }

    fn unused_shared(&self, worker: WorkerId) -> Option<ListenerId> {
        let listener = self.fleet.unused_listener(worker)?;
        self.fleet.is_shared(listener, worker).then_some(listener)
    }

    fn begin_probe(&mut self, worker: WorkerId) -> io::Result<()> {
        let request = match &self.config.ready {
            // First it must be known to use what it was given: a sibling would answer for it.
            Readiness::Http(path) if self.unused_shared(worker).is_none() => Some(path.clone()),
            _ => None,
        };
        let listener = match &request {
            Some(_) => self.listeners_of(worker).first().copied(),
            None => self.fleet.unused_listener(worker),
        };
        let Some((listener, endpoint)) =
            listener.and_then(|id| Some((id, self.groups.endpoint(id)?)))
        else {
            return Ok(());
        };
        let target = reachable(&endpoint);
        let socket = Socket::new(
            Domain::for_address(target),
            Type::STREAM.nonblocking(),
            None,
        )?;
        socket.bind(&SocketAddr::new(target.ip(), 0).into())?;
        let source = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        self.groups.probe_from(listener, source.ip(), source.port());
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let question = match request {
            Some(path) => Some(self.ask(worker, &socket, &path, &endpoint)?),
            None => None,
        };
        self.probes.insert(
            worker,
            Probe {
                listener,
                source,
                socket,
                since: Instant::now(),
                question,
            },
        );
        Ok(())
    }

    fn ask(
        &mut self,
        worker: WorkerId,
        socket: &Socket,
        path: &str,
        endpoint: &Endpoint,
    ) -> io::Result<Question> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = self.sources.add(
            socket,
            crate::supervisor::sources::Source::Probe(worker),
            interest,
        )?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {endpoint}\r\nUser-Agent: reuseport-run\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        Ok(Question {
            token,
            unsent: request.into_bytes(),
            answer: Vec::new(),
        })
    }

    pub(crate) fn probe_ready(&mut self, worker: WorkerId) {
        let Some(probe) = self.probes.get_mut(&worker) else {
            return;
        };
        let Some(question) = &mut probe.question else {
            return;
        };
        match question.advance(&probe.socket) {
            Ok(None) => {}
            Ok(Some(status)) => {
                debug!("worker {worker}: the probe was answered with {status}");
                self.end_probe(worker);
                if (200..400).contains(&status) {
                    self.inbox.push_back(Event::Probed { worker });
                }
            }
            Err(error) => {
                debug!("worker {worker}: the probe failed: {error}");
                self.end_probe(worker);
            }
        }
    }

    pub(crate) fn end_probe(&mut self, worker: WorkerId) {
        let Some(probe) = self.probes.remove(&worker) else {
            return;
        };
        self.groups.probe_ended(probe.source.port());
        if let Some(question) = probe.question {
            self.sources.remove(&probe.socket, question.token);
        }
    }
}

impl Question {
    /// Writes and reads what is possible; the status, when there is one.
    fn advance(&mut self, socket: &Socket) -> io::Result<Option<u16>> {
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        let mut stream = socket;
        while !self.unsent.is_empty() {
            match stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if is_not_yet(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let mut buffer = [0; 2048];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.answer.extend_from_slice(&buffer[..count]),
                Err(error) if is_not_yet(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            if let Some(status) = crate::wire::http::status(&self.answer)? {
                return Ok(Some(status));
            }
            if self.answer.len() > LONGEST_HEAD {
                return Err(io::Error::other("the answer's head is too long"));
            }
        }
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.kind() == io::ErrorKind::NotConnected
}

/// An address by which we reach the endpoint from this machine.
pub(crate) fn reachable(endpoint: &Endpoint) -> SocketAddr {
    let ip = match endpoint.address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let mut address = endpoint.address;
    address.set_ip(ip);
    address
}

//! One connection of the load, and the request under way on it.
//!
//! ```text
//!             ┌─────────── answered: the connection lives on ───────────┐
//!             ▼                                                         │
//!   ──────► idle ──── begin ────► sending ─────► receiving ─────────────┤
//!             ▲                      │ failed        │ failed           │ answered: it was the last
//!             └──────────────────────┴───────────────┘                  ▼
//!             └────────────── the server has closed ────────────── parting
//! ```
//!
//! A connection that is to be closed waits, in `parting`, for the server to do so: who closes first
//! keeps the port busy for a minute. An idle one that the server closes is let go, and nothing
//! failed: nothing was asked on it. Only when the request has been sent before the news arrived, the
//! request is lost: the keep-alive race, which a user would see, too.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::time::Instant;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::answer::{Answer, Name};
use super::outcome::Failure;
use super::sources::Sources;
use super::{Plan, Reuse};

pub(super) struct Connection {
    token: Token,
    phase: Phase,
    stream: Option<TcpStream>,
    answer: Answer,
    /// When the request under way was due.
    intended: Instant,
    /// Bytes of the request that were sent.
    sent: usize,
    /// Requests that this connection has answered.
    answered: u64,
    /// Changes whenever a deadline that was set has lost its meaning.
    serial: u64,
    /// Whether the connection was counted for its worker.
    pub(super) introduced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Sending,
    Receiving,
    Parting,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing that anybody need know.
    Waiting,
    /// The request was answered, and the next may begin.
    Answered,
    /// The request was answered, and the server has yet to close.
    AnsweredLast,
    /// The request failed, and the next may begin.
    Failed(Failure),
    /// The server has closed after the last answer: the next may begin.
    Parted,
}

/// What the connections have in common: where to, what to ask, and how.
pub(super) struct Wire {
    registry: Registry,
    sources: Sources,
    request: Vec<u8>,
    reuse: Reuse,
    /// What is read is understood at once, so one buffer is enough for all.
    buffer: Box<[u8]>,
}

impl Wire {
    pub(super) fn new(plan: &Plan, registry: Registry) -> Self {
        Self {
            registry,
            sources: Sources::new(plan.target),
            request: plan.request(),
            reuse: plan.reuse,
            buffer: vec![0; 64 * 1024].into(),
        }
    }
}

impl Connection {
    pub(super) fn new(slot: usize, now: Instant) -> Self {
        Self {
            token: Token(slot),
            phase: Phase::Idle,
            stream: None,
            answer: Answer::default(),
            intended: now,
            sent: 0,
            answered: 0,
            serial: 0,
            introduced: false,
        }
    }

    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    pub(super) fn intended(&self) -> Instant {
        self.intended
    }

    /// Who gave the answer that was the last to come.
    pub(super) fn worker(&self) -> Name {
        self.answer.worker().unwrap_or_default()
    }

    /// Begins a request that was due at `intended`, on a new connection if there is none.
    pub(super) fn begin(&mut self, intended: Instant, wire: &mut Wire) -> Progress {
        self.enter(Phase::Sending);
        self.intended = intended;
        self.sent = 0;
        self.answer.reset();
        let fresh = self.stream.is_none();
        if fresh {
            self.answered = 0;
            self.introduced = false;
            match wire.sources.connect() {
                Ok(stream) => self.stream = Some(stream),
                Err(error) => return self.fail(while_connecting(&error)),
            }
        }
        // To ask comes before epoll is told: on loopback the connection stands already, and there
        // would be news of that which nobody wants. Whatever has happened by then, epoll reports.
        let progress = self.send(wire);
        let watched = self.watch(fresh, wire);
        watched.map_or_else(|_| self.fail(Failure::Local), |()| progress)
    }

    fn watch(&mut self, fresh: bool, wire: &Wire) -> io::Result<()> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let both = Interest::READABLE | Interest::WRITABLE;
        match (fresh, self.phase) {
            (true, Phase::Sending) => wire.registry.register(stream, self.token, both),
            (true, _) => wire
                .registry
                .register(stream, self.token, Interest::READABLE),
            (false, Phase::Sending) => wire.registry.reregister(stream, self.token, both),
            (false, _) => Ok(()),
        }
    }

    /// Goes as far as is possible after `event`.
    pub(super) fn advance(&mut self, event: &Event, wire: &mut Wire) -> Progress {
        let closed = event.is_read_closed() || event.is_error();
        match self.phase {
            Phase::Idle => {
                self.look(wire);
                Progress::Waiting
            }
            Phase::Sending => match self.send(wire) {
                Progress::Waiting if self.phase == Phase::Receiving => self.receive(closed, wire),
                progress => progress,
            },
            Phase::Receiving => self.receive(closed, wire),
            Phase::Parting if closed => self.part(),
            Phase::Parting => Progress::Waiting,
        }
    }

    /// The request's or the parting's time is over.
    pub(super) fn give_up(&mut self) -> Progress {
        match self.phase {
            Phase::Parting => self.part(),
            _ => self.fail(Failure::TimeOut),
        }
    }

    /// Lets an idle connection go that the server has closed, or on which it speaks out of turn.
    ///
    /// A good client looks before it asks. The news may be there and not yet heard, the more so when
    /// a server closes hundreds at once, and that would pass for requests that the server lost.
    pub(super) fn look(&mut self, wire: &mut Wire) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let read = stream.read(&mut wire.buffer);
        if !matches!(read, Err(error) if is_pending(&error)) {
            self.stream = None;
        }
    }

    fn send(&mut self, wire: &Wire) -> Progress {
        let Some(stream) = &mut self.stream else {
            return Progress::Waiting;
        };
        while self.sent < wire.request.len() {
            match stream.write(&wire.request[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(error) if is_pending(&error) => return Progress::Waiting,
                Err(error) if self.sent == 0 && self.answered == 0 => {
                    return self.fail(while_connecting(&error));
                }
                Err(_) => return self.fail(self.loss()),
            }
        }
        self.phase = Phase::Receiving;
        Progress::Waiting
    }

    /// Reads until nothing is left. A read that does not fill the buffer has left nothing (epoll(7),
    /// of edges), except that the end of the connection may be left, which `closed` tells.
    fn receive(&mut self, closed: bool, wire: &mut Wire) -> Progress {
        loop {
            let Some(stream) = &mut self.stream else {
                return Progress::Waiting;
            };
            let length = match stream.read(&mut wire.buffer) {
                Ok(0) if self.answer.end() => return self.complete(true, wire.reuse),
                Ok(length @ 1..) => length,
                Err(error) if is_pending(&error) => return Progress::Waiting,
                Ok(0) | Err(_) => return self.fail(self.loss()),
            };
            match self.answer.take(&wire.buffer[..length]) {
                Ok(true) => return self.complete(closed, wire.reuse),
                Ok(false) if length < wire.buffer.len() && !closed => return Progress::Waiting,
                Ok(false) => {}
                Err(_) => return self.fail(Failure::BadAnswer),
            }
        }
    }

    fn complete(&mut self, closed: bool, reuse: Reuse) -> Progress {
        self.answered += 1;
        if closed {
            self.stream = None;
        } else if reuse == Reuse::Fresh || !self.answer.persistent() {
            self.enter(Phase::Parting);
            return Progress::AnsweredLast;
        }
        self.enter(Phase::Idle);
        Progress::Answered
    }

    fn fail(&mut self, failure: Failure) -> Progress {
        self.stream = None;
        self.enter(Phase::Idle);
        Progress::Failed(failure)
    }

    fn part(&mut self) -> Progress {
        self.stream = None;
        self.enter(Phase::Idle);
        Progress::Parted
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.serial += 1;
    }

    /// How a request is lost with its connection.
    fn loss(&self) -> Failure {
        match (self.answer.begun(), self.answered) {
            (true, _) => Failure::Cut,
            (false, 0) => Failure::Fresh,
            (false, _) => Failure::Reused,
        }
    }
}

fn is_pending(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// How a request failed whose connection never carried a byte of it.
fn while_connecting(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::ConnectionRefused => Failure::Refused,
        ErrorKind::TimedOut => Failure::TimeOut,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable => Failure::Connecting,
        _ => Failure::Local,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, unused_imports)] // a bench without a harness runs no tests
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    use mio::{Events, Poll};

    use super::*;

    /// Waits for news of the only connection, and passes it on if it is asked to.
    fn hear(
        poll: &mut Poll,
        connection: &mut Connection,
        wire: &mut Wire,
        pass_on: bool,
    ) -> Progress {
        let mut events = Events::with_capacity(1);
        poll.poll(&mut events, Some(Duration::from_secs(30)))
            .unwrap();
        let event = events.iter().next().expect("no news");
        if pass_on {
            connection.advance(event, wire)
        } else {
            Progress::Waiting
        }
    }

    #[test]
    fn who_looks_before_he_asks_does_not_ask_the_dead() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut poll = Poll::new().unwrap();
        let plan = Plan::new(listener.local_addr().unwrap());
        let mut wire = Wire::new(&plan, poll.registry().try_clone().unwrap());
        let mut connection = Connection::new(0, Instant::now());
        assert_eq!(
            connection.begin(Instant::now(), &mut wire),
            Progress::Waiting
        );
        let (mut server, _) = listener.accept().unwrap();
        server.read_exact(&mut vec![0; wire.request.len()]).unwrap();
        server
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        let progress = hear(&mut poll, &mut connection, &mut wire, true);
        assert_eq!(progress, Progress::Answered);
        connection.look(&mut wire);
        assert!(connection.stream.is_some(), "it lives");
        drop(server);
        hear(&mut poll, &mut connection, &mut wire, false);
        connection.look(&mut wire);
        assert!(connection.stream.is_none(), "it is dead");
    }

    /// On loopback a connection cannot be reset between its handshake and its first byte but by
    /// chance, so that only the words are tested.
    #[test]
    fn who_never_came_to_ask_says_why() {
        let class = |kind: ErrorKind| while_connecting(&kind.into());
        assert_eq!(class(ErrorKind::ConnectionRefused), Failure::Refused);
        assert_eq!(class(ErrorKind::ConnectionReset), Failure::Connecting);
        assert_eq!(class(ErrorKind::HostUnreachable), Failure::Connecting);
        assert_eq!(class(ErrorKind::TimedOut), Failure::TimeOut);
        assert_eq!(class(ErrorKind::AddrNotAvailable), Failure::Local);
    }
}

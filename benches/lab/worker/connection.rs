//! One connection of the event loop: bytes in, a service time, bytes out, again.
//!
//! ```text
//!  Reading ── a whole request ──► Serving ── its time has come ──► Writing ──┬──► Reading
//!     │                              └── no time: at once ──────────►        └──► closed
//!     └── client closes, or sends what is not HTTP ──► closed
//! ```
//! It is watched edge-triggered: an event says that something changed, once. So it remembers that
//! there may be more to read, and reads when it next can; it is forgotten after a short read, which
//! epoll(7) allows for streams.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::answer::Answers;
use super::request::Request;

/// So much is read at once, in bytes; requests of a benchmark are smaller.
const PIECE: usize = 2 << 10;

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    token: Token,
    input: Vec<u8>,
    phase: Phase,
    may_read: bool,
    /// From being taken until its first answer, and from each whole request until its answer.
    is_engaged: bool,
    is_last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reading,
    Serving,
    Writing {
        /// So many bytes of the answer are with the kernel.
        written: usize,
        /// Which answer it is. [`Connection::finish`] may come in its midst, and must not turn the
        /// rest of one answer into the rest of the other.
        is_last: bool,
    },
}

/// What a connection needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// An event.
    Event,
    /// That a request is served: call [`Connection::answer`] when it is.
    Service,
    /// Nothing: it is over.
    Close,
}

impl Connection {
    /// Watches a connection that was just taken.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn new(mut stream: TcpStream, token: Token, registry: &Registry) -> io::Result<Self> {
        // Writable it is from the start, and to be told so would be one turn for nothing.
        registry.register(&mut stream, token, Interest::READABLE)?;
        Ok(Self {
            stream,
            token,
            input: Vec::new(),
            phase: Phase::Reading,
            may_read: false,
            is_engaged: true,
            is_last: false,
        })
    }

    /// Whether a request of its is open. The first one counts from the start, or a worker that is
    /// given ten connections before the first byte arrives would seem idle.
    pub fn is_engaged(&self) -> bool {
        self.is_engaged
    }

    /// Whether it waits for its client.
    pub fn is_reading(&self) -> bool {
        self.phase == Phase::Reading
    }

    /// The answer to the request under way, or the next one, is the last.
    pub fn finish(&mut self) {
        self.is_last = true;
        self.may_read = true;
    }

    /// An event was reported.
    pub fn wake(&mut self, is_readable: bool) {
        self.may_read |= is_readable;
    }

    /// The request is served. `is_last`: no other will be on this connection.
    pub fn answer(&mut self, is_last: bool) {
        self.is_last |= is_last;
        self.phase = Phase::Writing {
            written: 0,
            is_last: self.is_last,
        };
    }

    /// Goes on as far as it can. An error closes the connection: nothing else can be done for it.
    pub fn advance(&mut self, answers: &Answers, registry: &Registry) -> Need {
        self.go_on(answers, registry).unwrap_or(Need::Close)
    }

    fn go_on(&mut self, answers: &Answers, registry: &Registry) -> io::Result<Need> {
        loop {
            match self.phase {
                Phase::Serving => return Ok(Need::Event),
                Phase::Writing { written, is_last } => {
                    let rest = &answers.bytes(is_last)[written..];
                    if !self.write(rest, registry)? {
                        return Ok(Need::Event);
                    }
                    if is_last {
                        return Ok(Need::Close);
                    }
                }
                Phase::Reading => match Request::read(&self.input) {
                    Request::Whole { length, is_last } => return Ok(self.begin(length, is_last)),
                    Request::Invalid => return Ok(Need::Close),
                    Request::Partial if !self.may_read => return Ok(Need::Event),
                    Request::Partial if self.read()? => {}
                    Request::Partial => return Ok(Need::Close),
                },
            }
        }
    }

    fn begin(&mut self, length: usize, is_last: bool) -> Need {
        self.input.drain(..length);
        self.is_last |= is_last;
        self.is_engaged = true;
        self.phase = Phase::Serving;
        Need::Service
    }

    /// Reads what there is; false at the end.
    fn read(&mut self) -> io::Result<bool> {
        let mut piece = [0; PIECE];
        match self.stream.read(&mut piece) {
            Ok(0) => Ok(false),
            Ok(length) => {
                self.may_read = length == PIECE;
                self.input.extend_from_slice(&piece[..length]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.may_read = false;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the rest of the answer; true when all of it is written.
    fn write(&mut self, rest: &[u8], registry: &Registry) -> io::Result<bool> {
        match self.stream.write(rest) {
            Ok(length) if length == rest.len() => {
                self.phase = Phase::Reading;
                self.is_engaged = false;
                Ok(true)
            }
            Ok(length) => {
                if let Phase::Writing { written, .. } = &mut self.phase {
                    *written += length;
                }
                self.watch_both(registry)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.watch_both(registry),
            Err(error) => Err(error),
        }
    }

    /// The socket is full: asks for an event when it has room. Always false. Asking anew reports
    /// room that came meanwhile too, so none is missed.
    fn watch_both(&mut self, registry: &Registry) -> io::Result<bool> {
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.reregister(&mut self.stream, self.token, both)?;
        Ok(false)
    }
}

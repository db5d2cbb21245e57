//! Passing the requests of one client on to a server, each over a connection of its own, and the
//! answers back.
//!
//! ```text
//!  client ──► from_client ──► head or body ──► to_server ──► server    (one per request)
//!  client ◄── to_client ◄──── head or body ◄── from_server ◄─ server
//! ```
//! Nothing is changed but `Connection`. The request says `close`, so that the server's end is the
//! answer's end; the answer says `close`, so that the client comes back on a new connection, unless
//! it has sent another request already, which must be answered here, in order.
//!
//! The owner moves bytes: it offers what it has read, and takes what is to be written, as long as
//! there is room. It connects to the server when [`Exchange::attempt`] gives another number than
//! before, and drops the former connection. After [`Exchange::ending`] nothing more is to be done
//! but to write the rest to the client.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `request` | a request on its way to the server, and when it may be sent once more |
//! | `response` | the answer on its way back, and whether it is the client's last |
//! | `tunnel` | what follows an upgrade |
//! | `ending` | how it ends |

mod ending;
mod request;
mod response;
mod tunnel;

pub use ending::{Ending, Flaw, Sent};

use super::body::Body;
use super::client_lines::ClientLines;
use super::head::RequestHead;
use super::pipe::Pipe;

/// The longest head, in bytes.
pub const MAX_HEAD_LEN: usize = 64 * 1024;

/// The most bytes that wait in one direction.
const MAX_BUFFERED: usize = 64 * 1024;

/// The requests of one client.
#[derive(Debug)]
pub struct Exchange {
    client_lines: ClientLines,
    from_client: Inbound,
    /// So much of a head has been searched for its end.
    searched: usize,
    to_server: Pipe,
    from_server: Inbound,
    to_client: Pipe,
    /// The number of the connection to a server, and whether there is one.
    attempt: u32,
    tries: Tries,
    phase: Phase,
    answered: u64,
}

/// What came from one side and was not passed on yet.
#[derive(Debug, Default)]
struct Inbound {
    bytes: Vec<u8>,
    stream: Stream,
}

/// What a side may still send.
#[derive(Clone, Copy, Debug, Default)]
enum Stream {
    #[default]
    Open,
    Ended,
}

/// How often the request at hand was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tries {
    First,
    /// Over another connection than the first time; there is no third.
    Second,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The next thing from the client is a head.
    Head,
    /// A request is being passed on, and its answer back.
    Request {
        head: RequestHead,
        body: Body,
        response: Response,
    },
    /// They speak another protocol.
    Tunnel,
    Over(Ending),
}

#[derive(Clone, Copy, Debug)]
enum Response {
    /// Its head is not there yet.
    Awaited,
    Body {
        body: Body,
        is_last: bool,
    },
}

impl Exchange {
    /// An exchange with a client of which nothing has been read, and which is named so.
    pub fn new(client_lines: ClientLines) -> Self {
        Self {
            client_lines,
            from_client: Inbound::default(),
            searched: 0,
            to_server: Pipe::default(),
            from_server: Inbound::default(),
            to_client: Pipe::default(),
            attempt: 0,
            tries: Tries::First,
            phase: Phase::Head,
            answered: 0,
        }
    }

    /// How many requests have been answered.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// How it ended; none while it goes on.
    pub fn ending(&self) -> Option<Ending> {
        match self.phase {
            Phase::Over(ending) => Some(ending),
            Phase::Head | Phase::Request { .. } | Phase::Tunnel => None,
        }
    }

    /// The number of the connection to a server that is wanted; none: none is wanted.
    pub fn attempt(&self) -> Option<u32> {
        matches!(self.phase, Phase::Request { .. } | Phase::Tunnel).then_some(self.attempt)
    }

    /// The client and the server speak to each other, in whatever they have agreed on.
    pub fn is_tunnel(&self) -> bool {
        matches!(self.phase, Phase::Tunnel)
    }

    /// Whether a request's head is awaited, of which so many bytes may be there.
    pub fn awaits_head(&self) -> bool {
        matches!(self.phase, Phase::Head)
    }

    /// Whether the rest of a request's body is awaited.
    pub fn awaits_body(&self) -> bool {
        matches!(self.phase, Phase::Request { body, .. } if !body.is_done())
    }

    /// How many bytes may be read from the client now.
    pub fn room_from_client(&self) -> usize {
        let is_open = !self.from_client.has_ended() && self.ending().is_none();
        room(is_open, &self.from_client.bytes, &self.to_server)
    }

    /// How many bytes may be read from the server now.
    pub fn room_from_server(&self) -> usize {
        let is_open = !self.from_server.has_ended() && self.attempt().is_some();
        room(is_open, &self.from_server.bytes, &self.to_client)
    }

    /// What is to be written to the client.
    pub fn to_client(&self) -> &[u8] {
        self.to_client.unsent()
    }

    /// What is to be written to the server.
    pub fn to_server(&self) -> &[u8] {
        self.to_server.unsent()
    }

    /// Whether nothing will ever follow what is to be written to the server.
    pub fn is_server_input_over(&self) -> bool {
        self.is_tunnel() && self.from_client.has_ended() && self.from_client.bytes.is_empty()
    }

    /// So many bytes were written to the client.
    pub fn was_sent_to_client(&mut self, count: usize) {
        self.to_client.was_sent(count);
        self.advance();
    }

    /// So many bytes were written to the server.
    pub fn was_sent_to_server(&mut self, count: usize) {
        self.to_server.was_sent(count);
        self.advance();
    }

    /// The client sent this.
    pub fn client_sent(&mut self, bytes: &[u8]) {
        self.from_client.bytes.extend_from_slice(bytes);
        self.advance();
    }

    /// The client will send no more.
    pub fn client_closed(&mut self) {
        self.from_client.stream = Stream::Ended;
        self.advance();
    }

    /// The server sent this.
    pub fn server_sent(&mut self, bytes: &[u8]) {
        self.from_server.bytes.extend_from_slice(bytes);
        self.advance();
    }

    /// The server will send no more.
    pub fn server_closed(&mut self) {
        self.from_server.stream = Stream::Ended;
        self.advance();
    }

    /// Does all that can be done with what is there.
    fn advance(&mut self) {
        while match self.phase {
            Phase::Head => self.advance_head(),
            Phase::Request {
                head,
                body,
                response,
            } => self.advance_request(head, body, response),
            Phase::Tunnel => self.advance_tunnel(),
            Phase::Over(_) => false,
        } {}
    }

    fn end(&mut self, ending: Ending) {
        self.phase = Phase::Over(ending);
        self.from_client.bytes = Vec::new();
        self.from_server.bytes = Vec::new();
        self.to_server.clear();
    }

    fn broken(&self, flaw: Flaw) -> Ending {
        let sent = match self.phase {
            Phase::Request {
                response: Response::Body { .. },
                ..
            } => Sent::Part,
            Phase::Request {
                response: Response::Awaited,
                ..
            }
            | Phase::Head
            | Phase::Tunnel
            | Phase::Over(_) => Sent::Nothing,
        };
        Ending::Broken { flaw, sent }
    }
}

impl Inbound {
    fn has_ended(&self) -> bool {
        match self.stream {
            Stream::Open => false,
            Stream::Ended => true,
        }
    }
}

/// What may be read of one direction, beside what was read and what waits to be written.
fn room(is_open: bool, read: &[u8], unsent: &Pipe) -> usize {
    let waiting = read.len() + unsent.unsent().len();
    if is_open {
        MAX_BUFFERED.saturating_sub(waiting)
    } else {
        0
    }
}

#[cfg(test)]
mod tests;

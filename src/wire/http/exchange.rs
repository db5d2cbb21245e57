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
//! The hazard is a request that is done twice. It is sent once more only if nothing of an answer
//! has come, and the request may be repeated or never left.

use super::beginning::{Beginning, beginning, skip_empty_lines};
use super::body::Body;
use super::head::{AnswerHead, Connection, RequestHead, head_length, rewrite};
use super::pipe::Pipe;

/// The longest head, in bytes.
pub const LONGEST_HEAD: usize = 64 * 1024;

/// The most bytes that wait in one direction.
const MOST_WAITING: usize = 64 * 1024;

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client has the last answer, or will have, when what is left to send is sent.
    Answered,
    /// The client closed while nothing was owed to it.
    ClientLeft,
    /// The client gets no more; it must not take what it has for a whole answer if `amid` one.
    Broken {
        /// Why.
        flaw: Flaw,
        /// An answer has been sent in part.
        amid: bool,
    },
}

/// Why an exchange cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// What the client sends is not a request of HTTP/1.
    NotHttp,
    /// Where the request's body ends is not clear.
    Framing,
    /// The request's head is too long.
    LongHead,
    /// No connection to the server.
    Unreachable,
    /// The server closed before the answer was complete.
    ServerClosed,
    /// What the server sends is not an answer of HTTP/1.
    BadAnswer,
}

/// The requests of one client.
#[derive(Debug)]
pub struct Exchange {
    /// Header lines that are added to each request.
    additional: Vec<u8>,
    from_client: Vec<u8>,
    /// So much of a head has been searched for its end.
    searched: usize,
    client_closed: bool,
    to_server: Pipe,
    from_server: Vec<u8>,
    server_closed: bool,
    to_client: Pipe,
    /// The number of the connection to a server, and whether there is one.
    attempt: u32,
    retried: bool,
    phase: Phase,
    answered: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The next thing from the client is a head.
    Head,
    /// A request is being passed on, and its answer back.
    Request {
        head: RequestHead,
        body: Body,
        answer: Answer,
    },
    /// They speak another protocol.
    Tunnel,
    Over(Ending),
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    /// Its head is not there yet.
    Awaited,
    Body {
        body: Body,
        is_last: bool,
    },
}

impl Exchange {
    /// An exchange with a client of which nothing has been read. `additional` header lines, each
    /// with its line end, are added to every request.
    pub fn new(additional: Vec<u8>) -> Self {
        Self {
            additional,
            from_client: Vec::new(),
            searched: 0,
            client_closed: false,
            to_server: Pipe::default(),
            from_server: Vec::new(),
            server_closed: false,
            to_client: Pipe::default(),
            attempt: 0,
            retried: false,
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
            _ => None,
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
        let waiting = self.from_client.len() + self.to_server.unsent().len();
        let is_open = !self.client_closed && self.ending().is_none();
        if is_open {
            MOST_WAITING.saturating_sub(waiting)
        } else {
            0
        }
    }

    /// How many bytes may be read from the server now.
    pub fn room_from_server(&self) -> usize {
        let waiting = self.from_server.len() + self.to_client.unsent().len();
        let is_open = !self.server_closed && self.attempt().is_some();
        if is_open {
            MOST_WAITING.saturating_sub(waiting)
        } else {
            0
        }
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
    pub fn is_server_told_all(&self) -> bool {
        self.is_tunnel() && self.client_closed && self.from_client.is_empty()
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
    pub fn hear_client(&mut self, bytes: &[u8]) {
        self.from_client.extend_from_slice(bytes);
        self.advance();
    }

    /// The client will send no more.
    pub fn client_closed(&mut self) {
        self.client_closed = true;
        self.advance();
    }

    /// The server sent this.
    pub fn hear_server(&mut self, bytes: &[u8]) {
        self.from_server.extend_from_slice(bytes);
        self.advance();
    }

    /// The server will send no more.
    pub fn server_closed(&mut self) {
        self.server_closed = true;
        self.advance();
    }

    /// The connection to the server broke, or could not be made; `reached` says which.
    pub fn server_failed(&mut self, reached: bool) {
        let Phase::Request { head, answer, .. } = self.phase else {
            return self.end(if self.is_tunnel() {
                Ending::Answered
            } else {
                self.broken(Flaw::ServerClosed)
            });
        };
        let nothing_came = matches!(answer, Answer::Awaited) && self.from_server.is_empty();
        let may_repeat = !reached || head.is_idempotent;
        if nothing_came && may_repeat && !self.retried && self.to_server.keeps() {
            self.retried = true;
            self.attempt = self.attempt.wrapping_add(1);
            self.server_closed = false;
            self.to_server.rewind();
        } else {
            let flaw = if reached {
                Flaw::ServerClosed
            } else {
                Flaw::Unreachable
            };
            self.end(self.broken(flaw));
        }
    }

    /// Does all that can be done with what is there.
    fn advance(&mut self) {
        while match self.phase {
            Phase::Head => self.advance_head(),
            Phase::Request { head, body, answer } => self.advance_request(head, body, answer),
            Phase::Tunnel => self.advance_tunnel(),
            Phase::Over(_) => false,
        } {}
    }

    fn end(&mut self, ending: Ending) {
        self.phase = Phase::Over(ending);
        self.from_client = Vec::new();
        self.from_server = Vec::new();
        self.to_server.clear();
    }

    fn broken(&self, flaw: Flaw) -> Ending {
        let amid = matches!(
            self.phase,
            Phase::Request {
                answer: Answer::Body { .. },
                ..
            }
        );
        Ending::Broken { flaw, amid }
    }

    fn advance_head(&mut self) -> bool {
        let empty = self.from_client.len() - skip_empty_lines(&self.from_client).len();
        self.from_client.drain(..empty);
        let Some(length) = head_length(&self.from_client, self.searched) else {
            self.searched = self.from_client.len();
            if let Some(ending) = self.hopeless() {
                self.end(ending);
            }
            return false;
        };
        self.searched = 0;
        match self.from_client.get(..length).map(RequestHead::parse) {
            Some(Ok(head)) => self.begin(head, length),
            Some(Err(super::HeadError::Framing)) => self.end(self.broken(Flaw::Framing)),
            _ => self.end(self.broken(Flaw::NotHttp)),
        }
        true
    }

    /// Why the bytes at hand will never be a head.
    fn hopeless(&self) -> Option<Ending> {
        if beginning(&self.from_client) == Beginning::Other {
            Some(self.broken(Flaw::NotHttp))
        } else if self.from_client.len() >= LONGEST_HEAD {
            Some(self.broken(Flaw::LongHead))
        } else {
            self.client_closed.then_some(Ending::ClientLeft)
        }
    }

    fn begin(&mut self, head: RequestHead, length: usize) {
        let connection = if head.upgrades {
            Connection::Unchanged
        } else {
            Connection::Close
        };
        let bytes = self.from_client.drain(..length);
        self.to_server.clear();
        self.to_server.keep();
        rewrite(
            bytes.as_slice(),
            connection,
            &self.additional,
            self.to_server.end(),
        );
        drop(bytes);
        self.attempt = self.attempt.wrapping_add(1);
        self.retried = false;
        self.server_closed = false;
        self.from_server.clear();
        self.phase = Phase::Request {
            head,
            body: Body::new(head.framing),
            answer: Answer::Awaited,
        };
    }

    fn advance_request(&mut self, head: RequestHead, mut body: Body, answer: Answer) -> bool {
        match body.advance(&self.from_client) {
            Ok(used) => self.pass_to_server(used),
            Err(_) => {
                self.end(self.broken(Flaw::Framing));
                return true;
            }
        }
        self.phase = Phase::Request { head, body, answer };
        if self.client_closed && !body.is_done() {
            self.end(Ending::ClientLeft);
            return true;
        }
        match answer {
            Answer::Awaited => self.advance_answer_head(head, body),
            Answer::Body {
                body: answer,
                is_last,
            } => self.advance_answer(head, body, answer, is_last),
        }
    }

    fn pass_to_server(&mut self, count: usize) {
        self.to_server
            .push(self.from_client.get(..count).unwrap_or_default());
        self.from_client.drain(..count);
        // More than this is not kept only for the case that it must be sent again.
        if self.to_server.held() > MOST_WAITING {
            self.to_server.stop_keeping();
        }
    }

    fn advance_answer_head(&mut self, head: RequestHead, body: Body) -> bool {
        let Some(length) = head_length(&self.from_server, 0) else {
            if self.from_server.len() >= LONGEST_HEAD {
                self.end(self.broken(Flaw::BadAnswer));
            } else if self.server_closed {
                self.server_failed(true);
            }
            return false;
        };
        let answer = self
            .from_server
            .get(..length)
            .map(|bytes| AnswerHead::parse(bytes, &head));
        let Some(Ok(answer)) = answer else {
            self.end(self.broken(Flaw::BadAnswer));
            return true;
        };
        self.to_server.stop_keeping();
        if answer.is_interim() {
            self.pass_to_client(length);
            return true;
        }
        if answer.status == 101 {
            return self.begin_tunnel(head, length);
        }
        self.begin_answer(head, body, answer, length);
        true
    }

    fn begin_answer(&mut self, head: RequestHead, body: Body, answer: AnswerHead, length: usize) {
        let passed = Body::new(answer.framing);
        // Anything else would be taken for the rest of a body that ends with our close.
        let has_more = body.is_done() && !skip_empty_lines(&self.from_client).is_empty();
        let is_last = !(has_more && head.persists && !passed.is_ended_by_close());
        let connection = if is_last {
            Connection::Close
        } else {
            Connection::KeepAlive
        };
        let bytes = self.from_server.get(..length).unwrap_or_default();
        rewrite(bytes, connection, b"", self.to_client.end());
        self.from_server.drain(..length);
        self.phase = Phase::Request {
            head,
            body,
            answer: Answer::Body {
                body: passed,
                is_last,
            },
        };
    }

    fn pass_to_client(&mut self, count: usize) {
        self.to_client
            .push(self.from_server.get(..count).unwrap_or_default());
        self.from_server.drain(..count);
    }

    fn advance_answer(
        &mut self,
        head: RequestHead,
        body: Body,
        mut answer: Body,
        is_last: bool,
    ) -> bool {
        let Ok(used) = answer.advance(&self.from_server) else {
            self.end(self.broken(Flaw::BadAnswer));
            return true;
        };
        self.pass_to_client(used);
        let is_whole = answer.is_done() || (answer.is_ended_by_close() && self.server_closed);
        self.phase = Phase::Request {
            head,
            body,
            answer: Answer::Body {
                body: answer,
                is_last,
            },
        };
        if is_whole {
            self.answered += 1;
            self.phase = Phase::Head;
            if is_last {
                self.end(Ending::Answered);
            }
        } else if self.server_closed {
            self.end(self.broken(Flaw::ServerClosed));
        }
        is_whole
    }

    fn begin_tunnel(&mut self, head: RequestHead, length: usize) -> bool {
        if head.upgrades {
            self.pass_to_client(length);
            self.answered += 1;
            self.phase = Phase::Tunnel;
        } else {
            self.end(self.broken(Flaw::BadAnswer));
        }
        true
    }

    fn advance_tunnel(&mut self) -> bool {
        self.to_server.push(&self.from_client);
        self.from_client.clear();
        self.pass_to_client(self.from_server.len());
        if self.server_closed {
            self.end(Ending::Answered);
        }
        false
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;

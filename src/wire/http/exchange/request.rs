//! A request, from its first byte to the server's having it.
//!
//! The hazard is a request that is done twice. It is sent once more only if nothing of an answer
//! has come, and the request may be repeated or never left.

use super::{Ending, Exchange, Flaw, MAX_BUFFERED, MAX_HEAD_LEN, Phase, Response, Stream, Tries};
use crate::wire::http::beginning::{Beginning, beginning, skip_empty_lines};
use crate::wire::http::body::Body;
use crate::wire::http::head::{Connection, HeadError, RequestHead, head_length, rewrite};

impl Exchange {
    /// The connection to the server broke, or could not be made; `reached` says which.
    pub fn server_failed(&mut self, reached: bool) {
        let Phase::Request { head, response, .. } = self.phase else {
            return self.end(if self.is_tunnel() {
                Ending::Answered
            } else {
                self.broken(Flaw::ServerClosed)
            });
        };
        let nothing_came =
            matches!(response, Response::Awaited) && self.from_server.bytes.is_empty();
        let may_repeat = !reached || head.is_idempotent;
        if nothing_came && may_repeat && self.tries == Tries::First && self.to_server.keeps() {
            self.tries = Tries::Second;
            self.attempt = self.attempt.wrapping_add(1);
            self.from_server.stream = Stream::Open;
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

    pub(super) fn advance_head(&mut self) -> bool {
        let empty = self.from_client.bytes.len() - skip_empty_lines(&self.from_client.bytes).len();
        self.from_client.bytes.drain(..empty);
        let Some(length) = head_length(&self.from_client.bytes, self.searched) else {
            self.searched = self.from_client.bytes.len();
            if let Some(ending) = self.head_failure() {
                self.end(ending);
            }
            return false;
        };
        self.searched = 0;
        match self.from_client.bytes.get(..length).map(RequestHead::parse) {
            Some(Ok(head)) => self.begin(head, length),
            Some(Err(HeadError::Framing)) => self.end(self.broken(Flaw::Framing)),
            _ => self.end(self.broken(Flaw::NotHttp)),
        }
        true
    }

    /// Why the bytes at hand will never be a head.
    fn head_failure(&self) -> Option<Ending> {
        if beginning(&self.from_client.bytes) == Beginning::Other {
            Some(self.broken(Flaw::NotHttp))
        } else if self.from_client.bytes.len() >= MAX_HEAD_LEN {
            Some(self.broken(Flaw::LongHead))
        } else {
            self.from_client.has_ended().then_some(Ending::ClientLeft)
        }
    }

    fn begin(&mut self, head: RequestHead, length: usize) {
        let connection = if head.upgrades {
            Connection::Unchanged
        } else {
            Connection::Close
        };
        let bytes = self.from_client.bytes.drain(..length);
        self.to_server.clear();
        self.to_server.keep();
        let lines = self.client_lines.for_request(bytes.as_slice());
        rewrite(bytes.as_slice(), connection, &lines, self.to_server.end());
        drop(bytes);
        self.attempt = self.attempt.wrapping_add(1);
        self.tries = Tries::First;
        self.from_server.stream = Stream::Open;
        self.from_server.bytes.clear();
        self.phase = Phase::Request {
            head,
            body: Body::new(head.framing),
            response: Response::Awaited,
        };
    }

    pub(super) fn advance_request(
        &mut self,
        head: RequestHead,
        mut body: Body,
        response: Response,
    ) -> bool {
        match body.advance(&self.from_client.bytes) {
            Ok(used) => self.pass_to_server(used),
            Err(_) => {
                self.end(self.broken(Flaw::Framing));
                return true;
            }
        }
        self.phase = Phase::Request {
            head,
            body,
            response,
        };
        if self.from_client.has_ended() && !body.is_done() {
            self.end(Ending::ClientLeft);
            return true;
        }
        match response {
            Response::Awaited => self.advance_response_head(head, body),
            Response::Body {
                body: response,
                is_last,
            } => self.advance_response(head, body, response, is_last),
        }
    }

    fn pass_to_server(&mut self, count: usize) {
        self.to_server
            .push(self.from_client.bytes.get(..count).unwrap_or_default());
        self.from_client.bytes.drain(..count);
        // More than this is not kept only for the case that it must be sent again.
        if self.to_server.held() > MAX_BUFFERED {
            self.to_server.stop_keeping();
        }
    }
}

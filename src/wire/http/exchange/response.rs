//! The answer to a request, on its way back to the client.
//!
//! Whether it is the last one is decided when its head passes, for the head says so. The hazard is
//! a client that goes on after the last one, whose request would be dropped: it is the last only if
//! nothing more of the client is here.

use super::{Ending, Exchange, Flaw, MAX_HEAD_LEN, Phase, Response};
use crate::wire::http::beginning::skip_empty_lines;
use crate::wire::http::body::Body;
use crate::wire::http::head::{Connection, RequestHead, ResponseHead, head_length, rewrite};

impl Exchange {
    pub(super) fn advance_response_head(&mut self, head: RequestHead, body: Body) -> bool {
        let Some(length) = head_length(&self.from_server.bytes, 0) else {
            if self.from_server.bytes.len() >= MAX_HEAD_LEN {
                self.end(self.broken(Flaw::BadResponse));
            } else if self.from_server.has_ended() {
                self.server_failed(true);
            }
            return false;
        };
        let response = self
            .from_server
            .bytes
            .get(..length)
            .map(|bytes| ResponseHead::parse(bytes, &head));
        let Some(Ok(response)) = response else {
            self.end(self.broken(Flaw::BadResponse));
            return true;
        };
        self.to_server.stop_keeping();
        if response.is_interim() {
            self.pass_to_client(length);
            return true;
        }
        if response.status == 101 {
            return self.begin_tunnel(head, length);
        }
        self.begin_response(head, body, response, length);
        true
    }

    fn begin_response(
        &mut self,
        head: RequestHead,
        body: Body,
        response: ResponseHead,
        length: usize,
    ) {
        let passed = Body::new(response.framing);
        // Anything else would be taken for the rest of a body that ends with our close.
        let has_more = body.is_done() && !skip_empty_lines(&self.from_client.bytes).is_empty();
        let is_last = !(has_more && head.persists && !passed.is_ended_by_close());
        let connection = if is_last {
            Connection::Close
        } else {
            Connection::KeepAlive
        };
        let bytes = self.from_server.bytes.get(..length).unwrap_or_default();
        rewrite(bytes, connection, b"", self.to_client.end());
        self.from_server.bytes.drain(..length);
        self.phase = Phase::Request {
            head,
            body,
            response: Response::Body {
                body: passed,
                is_last,
            },
        };
    }

    pub(super) fn advance_response(
        &mut self,
        head: RequestHead,
        body: Body,
        mut response: Body,
        is_last: bool,
    ) -> bool {
        let Ok(used) = response.advance(&self.from_server.bytes) else {
            self.end(self.broken(Flaw::BadResponse));
            return true;
        };
        self.pass_to_client(used);
        let is_whole =
            response.is_done() || (response.is_ended_by_close() && self.from_server.has_ended());
        self.phase = Phase::Request {
            head,
            body,
            response: Response::Body {
                body: response,
                is_last,
            },
        };
        if is_whole {
            self.answered += 1;
            self.phase = Phase::Head;
            if is_last {
                self.end(Ending::Answered);
            }
        } else if self.from_server.has_ended() {
            self.end(self.broken(Flaw::ServerClosed));
        }
        is_whole
    }

    pub(super) fn pass_to_client(&mut self, count: usize) {
        self.to_client
            .push(self.from_server.bytes.get(..count).unwrap_or_default());
        self.from_server.bytes.drain(..count);
    }
}

//! What the bytes of a connection say of the protocol: pure.
//!
//! Any client can begin with anything: a scanner greets a plain server with TLS, a monitor asks a TLS server in
//! clear text. So a beginning is a *claim*, which counts where nothing better is known. A client that goes on
//! after it had an answer speaks what the server speaks: that is a *proof*, and it counts in any case, since
//! the next generation may speak something else than the one before.
//!
//! | the endpoint is | `Claimed(Http1)` | `Claimed(Opaque)` | `Proven(Http1)` | `Proven(Opaque)` |
//! | --- | --- | --- | --- | --- |
//! | `Unknown` | `Http1` | `Opaque` | `Http1` | `Opaque` |
//! | `Http1` | `Http1` | `Http1` | `Http1` | `Opaque` |
//! | `Opaque` | `Opaque` | `Opaque` | `Http1` | `Opaque` |
//!
//! An endpoint may serve HTTP/1 and websockets. A websocket's bytes prove nothing of the endpoint, but of TLS
//! records there can be no doubt.

use super::request_tracker::ResponseDue;
use crate::sys::tcp::TcpCounters;
use crate::wire::http::{Beginning, beginning};
use crate::wire::rescue::Protocol;

/// A first line that is longer than this is judged by its beginning.
const LONG_LINE: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// A client began with it.
    Claimed(Protocol),
    /// A client went on with it after an answer.
    Proven(Protocol),
}

impl Evidence {
    /// What unread bytes say; none: nothing. What comes while an answer is due may belong to a request.
    pub(super) fn of(bytes: &[u8], counters: &TcpCounters, due: ResponseDue) -> Option<Self> {
        let has_answer = counters.written > 0;
        if has_answer && is_tls_record(bytes) {
            return Some(Self::Proven(Protocol::Opaque));
        }
        let is_first = counters.bytes_read() == 0;
        if !is_first && due != ResponseDue::No {
            return None;
        }
        match beginning(bytes) {
            Beginning::Request if !is_whole_line(bytes) => None,
            Beginning::Request if has_answer => Some(Self::Proven(Protocol::Http1)),
            Beginning::Request => Some(Self::Claimed(Protocol::Http1)),
            Beginning::Other => Some(Self::Claimed(Protocol::Opaque)),
            Beginning::Undecided => None,
        }
    }

    /// What the connection itself speaks.
    pub(super) fn protocol(self) -> Protocol {
        match self {
            Self::Claimed(protocol) | Self::Proven(protocol) => protocol,
        }
    }

    /// What an endpoint is taken to speak that was taken to speak `before`.
    pub(super) fn after(self, before: Protocol) -> Protocol {
        match (self, before) {
            (Self::Proven(protocol), _) | (Self::Claimed(protocol), Protocol::Unknown) => protocol,
            (Self::Claimed(_), Protocol::Http1 | Protocol::Opaque) => before,
        }
    }
}

fn is_whole_line(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    text.contains(&b'\n') || text.len() >= LONG_LINE
}

/// The header of a TLS record: its type, a version of SSL 3 or TLS 1, a length.
fn is_tls_record(bytes: &[u8]) -> bool {
    match bytes {
        [0x14..=0x17, 3, 0..=4, high, _, ..] => *high <= 0x48,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &[u8] = b"\x17\x03\x03\x00\x20etc";

    fn of(bytes: &[u8], read: u64, written: u64, due: ResponseDue) -> Option<Evidence> {
        let unread = u32::try_from(bytes.len()).unwrap_or(0);
        let counters = TcpCounters {
            unread,
            unsent: 0,
            received: read + u64::from(unread),
            written,
            received_ago: 0,
            sent_ago: 0,
            is_unacknowledged: false,
            is_interactive: true,
            ack_delay: 40,
            round_trip: 100,
            is_closed: false,
        };
        Evidence::of(bytes, &counters, due)
    }

    #[test]
    fn a_beginning_is_a_claim_and_what_follows_an_answer_a_proof() {
        let (http, opaque) = (Protocol::Http1, Protocol::Opaque);
        let request = b"GET / HTTP/1.1\r\n";
        let due = ResponseDue::No;
        assert_eq!(of(request, 0, 0, due), Some(Evidence::Claimed(http)));
        assert_eq!(of(request, 99, 99, due), Some(Evidence::Proven(http)));
        let hello = b"\x16\x03\x01\x02\x00\x01\x00";
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        for bytes in [&hello[..], preface, b"EHLO x\r\n", b"*1\r\n$4\r\nPING\r\n"] {
            assert_eq!(of(bytes, 0, 0, due), Some(Evidence::Claimed(opaque)));
        }
        assert_eq!(of(RECORD, 99, 99, due), Some(Evidence::Proven(opaque)));
        let frame = b"\x81\x85etc";
        assert_eq!(of(frame, 99, 99, due), Some(Evidence::Claimed(opaque)));
    }

    #[test]
    fn what_may_be_a_part_of_something_says_nothing() {
        let due = ResponseDue::Yes;
        assert_eq!(of(b"{\"an\": \"upload\"}", 99, 0, due), None);
        assert_eq!(
            of(b"GET / HTTP/1.1\r\n", 99, 9, due),
            None,
            "a body may be one"
        );
        assert_eq!(of(b"GET /", 0, 0, ResponseDue::No), None);
        assert_eq!(of(b"EHLO ex", 0, 0, ResponseDue::No), None);
        assert_eq!(of(b"", 9, 9, ResponseDue::No), None);
        let proof = Some(Evidence::Proven(Protocol::Opaque));
        assert_eq!(of(RECORD, 99, 9, ResponseDue::Unclear), proof);
    }

    #[test]
    fn a_claim_does_not_overrule_what_is_known() {
        let [unknown, http, opaque] = [Protocol::Unknown, Protocol::Http1, Protocol::Opaque];
        for protocol in [http, opaque] {
            assert_eq!(Evidence::Claimed(protocol).after(unknown), protocol);
            for before in [http, opaque] {
                assert_eq!(Evidence::Claimed(protocol).after(before), before);
                assert_eq!(Evidence::Proven(protocol).after(before), protocol);
            }
        }
    }
}

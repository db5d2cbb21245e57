//! Heads: what matters of them to somebody who passes them on, and a copy of a head in which only
//! `Connection` is another.

use super::body::Framing;

/// The most header lines.
const MAX_HEADERS: usize = 512;

/// Why a head cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It is no head of HTTP/1.
    #[error("this is not HTTP/1")]
    NotHttp,
    /// It says in two ways where its body ends, or in a way that is none: two programs could
    /// disagree on where the next message begins.
    #[error("where the body ends is not clear")]
    Framing,
}

/// What matters of a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Where its body ends.
    pub framing: Framing,
    /// HTTP/1.0, and not 1.1.
    pub is_old: bool,
    /// Its answer has no body whatever it says (HEAD).
    pub is_head: bool,
    /// It may be done twice.
    pub is_idempotent: bool,
    /// Another request may follow on the same connection.
    pub persists: bool,
    /// It asks for another protocol on this connection.
    pub upgrades: bool,
}

/// What matters of an answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status.
    pub status: u16,
    /// Where its body ends.
    pub framing: Framing,
}

/// What `Connection` is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// `close`
    Close,
    /// `keep-alive`
    KeepAlive,
    /// What it says already.
    Unchanged,
}

/// Whether a request with this method changes nothing, or nothing more when it is done twice
/// (RFC 9110, 9.2.2).
pub fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
    )
}

/// How long the head is that these bytes begin with, up to and with its empty line; none if that
/// is not there yet. Nothing before `searched` is searched again.
pub fn head_length(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    let mut newlines = (from..bytes.len()).filter(|at| bytes[*at] == b'\n');
    newlines.find_map(|at| match bytes.get(at + 1..)? {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

impl RequestHead {
    /// Reads a complete head.
    ///
    /// # Errors
    /// See [`HeadError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        let mut headers = vec![httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        complete(request.parse(bytes))?;
        let (Some(method), Some(version)) = (request.method, request.version) else {
            return Err(HeadError::NotHttp);
        };
        let headers = &*request.headers;
        let (is_old, connection) = (version == 0, |option| has_option(headers, option));
        Ok(Self {
            framing: request_framing(headers, is_old)?,
            is_old,
            is_head: method == "HEAD",
            is_idempotent: is_idempotent(method),
            persists: !connection("close") && (!is_old || connection("keep-alive")),
            upgrades: !is_old && connection("upgrade") && find(headers, "upgrade").next().is_some(),
        })
    }
}

impl ResponseHead {
    /// Reads the complete head of an answer to `request`.
    ///
    /// # Errors
    /// See [`HeadError`].
    pub fn parse(bytes: &[u8], request: &RequestHead) -> Result<Self, HeadError> {
        let mut headers = vec![httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        complete(response.parse(bytes))?;
        let status = response.code.ok_or(HeadError::NotHttp)?;
        let has_no_body = request.is_head || matches!(status, 100..=199 | 204 | 304);
        let framing = if has_no_body {
            Framing::Length(0)
        } else {
            response_framing(response.headers)?
        };
        Ok(Self { status, framing })
    }

    /// Whether another head follows for the same request.
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }
}

fn complete(parsed: httparse::Result<usize>) -> Result<(), HeadError> {
    match parsed {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        _ => Err(HeadError::NotHttp),
    }
}

fn find<'a>(headers: &'a [httparse::Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let named = headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| header.value.trim_ascii())
}

/// Whether a `Connection` line has this option.
fn has_option(headers: &[httparse::Header<'_>], option: &str) -> bool {
    let mut options =
        find(headers, "connection").flat_map(|value| value.split(|byte| *byte == b','));
    options.any(|found| found.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
}

fn request_framing(headers: &[httparse::Header<'_>], is_old: bool) -> Result<Framing, HeadError> {
    match (length(headers)?, is_chunked(headers)) {
        (None, None) => Ok(Framing::Length(0)),
        (Some(length), None) => Ok(Framing::Length(length)),
        (None, Some(true)) if !is_old => Ok(Framing::Chunked),
        _ => Err(HeadError::Framing),
    }
}

fn response_framing(headers: &[httparse::Header<'_>]) -> Result<Framing, HeadError> {
    match (length(headers)?, is_chunked(headers)) {
        (None, None | Some(false)) => Ok(Framing::UntilEnd),
        (Some(length), None) => Ok(Framing::Length(length)),
        (None, Some(true)) => Ok(Framing::Chunked),
        (Some(_), Some(_)) => Err(HeadError::Framing),
    }
}

/// `Content-Length`, which may be there several times if all say the same.
fn length(headers: &[httparse::Header<'_>]) -> Result<Option<u64>, HeadError> {
    let mut lengths = find(headers, "content-length").map(number);
    let Some(first) = lengths.next() else {
        return Ok(None);
    };
    let is_clear = first.is_some() && lengths.all(|other| other == first);
    if is_clear {
        Ok(first)
    } else {
        Err(HeadError::Framing)
    }
}

/// Digits only: `parse` would take a sign, too.
fn number(digits: &[u8]) -> Option<u64> {
    let are_digits = digits.iter().all(u8::is_ascii_digit);
    let digits = str::from_utf8(digits).ok().filter(|_| are_digits)?;
    digits.parse().ok()
}

/// Whether `chunked` is the last coding, and only the last; none without `Transfer-Encoding`.
fn is_chunked(headers: &[httparse::Header<'_>]) -> Option<bool> {
    let codings =
        find(headers, "transfer-encoding").flat_map(|value| value.split(|byte| *byte == b','));
    let chunked: Vec<bool> = codings
        .map(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
        .collect();
    let (last, others) = chunked.split_last()?;
    Some(*last && !others.contains(&true))
}

/// Adds a complete head to `into`: the same bytes, but `Connection` says something else, and
/// `additional` header lines, each with its line end, come last.
pub fn rewrite(head: &[u8], connection: Connection, additional: &[u8], into: &mut Vec<u8>) {
    let replacement: &[u8] = match connection {
        Connection::Close => b"Connection: close\r\n",
        Connection::KeepAlive => b"Connection: keep-alive\r\n",
        Connection::Unchanged => b"",
    };
    let mut is_said = connection == Connection::Unchanged;
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        if line.trim_ascii().is_empty() {
            let missing = if is_said { b"" } else { replacement };
            into.extend([missing, additional, line].concat());
            return;
        }
        if connection == Connection::Unchanged || !is_connection(line) {
            into.extend(line);
        } else if !is_said {
            into.extend(replacement);
            is_said = true;
        }
    }
}

fn is_connection(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    name.eq_ignore_ascii_case(b"connection")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(lines: &str) -> Result<RequestHead, HeadError> {
        RequestHead::parse(format!("{lines}\r\n\r\n").as_bytes())
    }

    fn framing(headers: &str) -> Result<Framing, HeadError> {
        request(&format!("POST / HTTP/1.1\r\n{headers}")).map(|head| head.framing)
    }

    fn answer(lines: &str, to: &str) -> Result<ResponseHead, HeadError> {
        let request = request(&format!("{to} / HTTP/1.1")).unwrap();
        ResponseHead::parse(format!("{lines}\r\n\r\n").as_bytes(), &request)
    }

    fn rewritten(head: &str, connection: Connection) -> String {
        let mut into = Vec::new();
        rewrite(head.as_bytes(), connection, b"", &mut into);
        String::from_utf8(into).unwrap()
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        assert_eq!(head_length(b"a\r\n\r\nb", 0), Some(5));
        assert_eq!(head_length(b"a\r\n\r\nb", 4), Some(5));
        assert_eq!(head_length(b"a\n\nb", 0), Some(3));
        assert_eq!(head_length(b"a\r\nb\r\n\r", 0), None);
    }

    #[test]
    fn a_request_says_where_its_body_ends() {
        assert_eq!(framing("A: b"), Ok(Framing::Length(0)));
        assert_eq!(framing("Content-Length: 12"), Ok(Framing::Length(12)));
        assert_eq!(
            framing("content-length: 1\r\nContent-Length: 1"),
            Ok(Framing::Length(1))
        );
        assert_eq!(framing("Transfer-Encoding: Chunked"), Ok(Framing::Chunked));
        assert_eq!(
            framing("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
            Ok(Framing::Chunked)
        );
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let unclear = [
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Content-Length: +1",
            "Content-Length: ",
            "Content-Length: 1, 1",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: chunked, gzip",
            "Transfer-Encoding: xchunked",
        ];
        for headers in unclear {
            assert_eq!(framing(headers), Err(HeadError::Framing), "{headers}");
        }
        let old = request("POST / HTTP/1.0\r\nTransfer-Encoding: chunked");
        assert_eq!(old, Err(HeadError::Framing));
        assert_eq!(framing(" folded: x"), Err(HeadError::NotHttp));
        assert_eq!(framing("Content-Length : 1"), Err(HeadError::NotHttp));
    }

    #[test]
    fn persistence_and_upgrades_are_the_clients_wish() {
        let persists = |lines| request(lines).unwrap().persists;
        assert!(persists("GET / HTTP/1.1"));
        assert!(!persists("GET / HTTP/1.1\r\nConnection: x, Close"));
        assert!(!persists("GET / HTTP/1.0"));
        assert!(persists("GET / HTTP/1.0\r\nConnection: Keep-Alive"));
        let upgrades = |lines| request(lines).unwrap().upgrades;
        assert!(upgrades(
            "GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket"
        ));
        assert!(!upgrades("GET / HTTP/1.1\r\nUpgrade: h2c"));
    }

    #[test]
    fn an_answer_says_where_its_body_ends() {
        let ends = |lines, to| answer(lines, to).unwrap().framing;
        assert_eq!(ends("HTTP/1.1 200 OK", "GET"), Framing::UntilEnd);
        assert_eq!(
            ends("HTTP/1.1 200 OK\r\nContent-Length: 3", "GET"),
            Framing::Length(3)
        );
        assert_eq!(
            ends("HTTP/1.1 200 OK\r\nContent-Length: 3", "HEAD"),
            Framing::Length(0)
        );
        assert_eq!(
            ends("HTTP/1.1 304 Not\r\nContent-Length: 3", "GET"),
            Framing::Length(0)
        );
        assert_eq!(
            ends("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked", "GET"),
            Framing::Length(0)
        );
        assert!(answer("HTTP/1.1 103 Early", "GET").unwrap().is_interim());
        assert!(
            !answer("HTTP/1.1 101 Switching", "GET")
                .unwrap()
                .is_interim()
        );
    }

    #[test]
    fn connection_is_replaced_in_its_place_or_added() {
        let with = "GET / HTTP/1.1\r\nA: 1\r\ncONNECTION: x\r\nB:  2 \r\nConnection: y\r\n\r\n";
        let close = "GET / HTTP/1.1\r\nA: 1\r\nConnection: close\r\nB:  2 \r\n\r\n";
        assert_eq!(rewritten(with, Connection::Close), close);
        assert_eq!(rewritten(with, Connection::Unchanged), with);
        let without = "GET / HTTP/1.0\r\nA: 1\r\n\r\n";
        let kept = "GET / HTTP/1.0\r\nA: 1\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(rewritten(without, Connection::KeepAlive), kept);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), searched in 0..300usize) {
            head_length(&bytes, searched);
            let _ = RequestHead::parse(&bytes);
            rewrite(&bytes, Connection::Close, b"X: y\r\n", &mut Vec::new());
        }
    }
}

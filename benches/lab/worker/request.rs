//! Where a request ends, and whether it is its connection's last.

/// The most headers, and bytes, of a request's head.
const MOST_HEADERS: usize = 64;
const LONGEST: usize = 8 << 10;

/// What stands at the beginning of the bytes that a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Nothing whole yet.
    Partial,
    /// A request of so many bytes.
    Whole {
        /// Bytes of its head; a body is not read.
        length: usize,
        /// The client wants no more, or no more can be found: it sends a body or an old version.
        is_last: bool,
    },
    /// Not HTTP/1, or too much of it.
    Invalid,
}

impl Request {
    /// Reads the first request of `bytes`.
    pub fn read(bytes: &[u8]) -> Self {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => Self::Whole {
                length,
                is_last: request.version != Some(1) || request.headers.iter().any(ends),
            },
            Ok(httparse::Status::Partial) if bytes.len() < LONGEST => Self::Partial,
            _ => Self::Invalid,
        }
    }
}

fn ends(header: &httparse::Header<'_>) -> bool {
    let is = |name| header.name.eq_ignore_ascii_case(name);
    if is("connection") {
        return header.value.trim_ascii().eq_ignore_ascii_case(b"close");
    }
    (is("content-length") && header.value != b"0") || is("transfer-encoding")
}

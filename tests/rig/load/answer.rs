//! One HTTP/1 answer, as far as it has come. The laboratory's load reads answers with this, too.
//!
//! Nothing of a body is kept, only counted. An answer whose head comes in one piece, as nearly all
//! do, costs no allocation: what came is understood where it lies, and only a torn piece (half a
//! head, half a line of a chunk's size) is set aside until the rest is there.

use std::borrow::Cow;
use std::fmt;
use std::mem::MaybeUninit;
use std::str;

use httparse::{Header, ParserConfig, Response, Status};

/// A head, or a line of a chunk's size, that is longer than this is not waited for.
pub(super) const MAX_RESPONSE_LEN: usize = 64 * 1024;

/// Headers of an answer; one with more is malformed.
const HEADERS: usize = 64;

/// Who answered, in the header `X-Worker`. It is stored in place, so that it can be taken over
/// without an allocation; a longer name is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    bytes: [u8; 40],
    length: usize,
}

impl Name {
    fn new(name: &[u8]) -> Self {
        let mut bytes = [0; 40];
        let length = name.len().min(bytes.len());
        bytes[..length].copy_from_slice(&name[..length]);
        Self { bytes, length }
    }

    pub(super) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes[..self.length])
    }
}

/// Of who did not tell.
impl Default for Name {
    fn default() -> Self {
        Self::new(b"-")
    }
}

/// Why it is no answer, or not one that says that all went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    Head(httparse::Error),
    Status(u16),
    Length,
    Coding,
    ChunkSize,
    Endless,
    Excess,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => write!(f, "the head is malformed: {error}"),
            Self::Status(status) => write!(f, "the status is {status}"),
            Self::Length => f.write_str("the content length is no number"),
            Self::Coding => f.write_str("the transfer coding is not known"),
            Self::ChunkSize => f.write_str("a chunk's size is malformed"),
            Self::Endless => f.write_str("a head or a line does not end"),
            Self::Excess => f.write_str("bytes came after the answer"),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Answer {
    /// A torn piece that came and is not yet understood.
    torn: Vec<u8>,
    begun: bool,
    head: Option<Head>,
}

#[derive(Debug)]
struct Head {
    body: Body,
    persistent: bool,
    worker: Option<Name>,
}

/// What is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// So many bytes.
    Length(u64),
    ChunkSize,
    /// So many bytes of a chunk, with the line end after it.
    Chunk(u64),
    Trailer,
    UntilEof,
    Ended,
}

impl Answer {
    /// Makes room for another.
    pub(super) fn reset(&mut self) {
        self.torn.clear();
        self.begun = false;
        self.head = None;
    }

    /// Whether a byte of it has come.
    pub(super) fn begun(&self) -> bool {
        self.begun
    }

    /// Whether the connection can carry another request.
    pub(super) fn persistent(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.persistent)
    }

    /// Who gave it, if it tells.
    pub(super) fn worker(&self) -> Option<Name> {
        self.head.as_ref()?.worker
    }

    /// Takes what came; tells whether the answer is complete. Bytes after it are malformed: nobody
    /// asked for them.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<bool, Malformed> {
        self.begun |= !bytes.is_empty();
        if self.torn.is_empty() {
            let used = self.read(bytes)?;
            self.torn.extend_from_slice(&bytes[used..]);
        } else {
            let mut torn = std::mem::take(&mut self.torn);
            torn.extend_from_slice(bytes);
            let used = self.read(&torn)?;
            torn.drain(..used);
            self.torn = torn;
        }
        let complete = self
            .head
            .as_ref()
            .is_some_and(|head| head.body == Body::Ended);
        match self.torn.len() {
            1.. if complete => Err(Malformed::Excess),
            length if length > MAX_RESPONSE_LEN => Err(Malformed::Endless),
            _ => Ok(complete),
        }
    }

    /// Takes the end of the connection; tells whether the answer is complete by that.
    pub(super) fn end(&self) -> bool {
        self.head
            .as_ref()
            .is_some_and(|head| head.body == Body::UntilEof)
    }

    /// How much of `bytes` is understood.
    fn read(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut used = 0;
        if self.head.is_none() {
            let Some((length, head)) = Head::parse(bytes)? else {
                return Ok(0);
            };
            used = length;
            self.head = Some(head);
        }
        let Some(head) = &mut self.head else {
            return Ok(used);
        };
        while let Some((taken, next)) = head.body.read(&bytes[used..])? {
            used += taken;
            head.body = next;
        }
        Ok(used)
    }
}

impl Head {
    /// The head and its length, once it is there as a whole.
    fn parse(bytes: &[u8]) -> Result<Option<(usize, Self)>, Malformed> {
        let mut response = Response::new(&mut []);
        let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS];
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            bytes,
            &mut headers,
        );
        match parsed.map_err(Malformed::Head)? {
            Status::Partial => Ok(None),
            Status::Complete(length) => Ok(Some((length, Self::new(&response)?))),
        }
    }

    fn new(response: &Response<'_, '_>) -> Result<Self, Malformed> {
        let status = response.code.unwrap_or(0);
        if !(200..300).contains(&status) {
            return Err(Malformed::Status(status));
        }
        let mut body = Body::UntilEof;
        let mut persistent = response.version == Some(1);
        let mut worker = None;
        for Header { name, value } in response.headers.iter() {
            if name.eq_ignore_ascii_case("content-length") && body != Body::ChunkSize {
                body = Body::Length(number(value)?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                body = Body::coded(value)?;
            } else if name.eq_ignore_ascii_case("connection") {
                persistent = !lists(value, b"close") && (persistent || lists(value, b"keep-alive"));
            } else if name.eq_ignore_ascii_case("x-worker") {
                worker = Some(Name::new(value.trim_ascii()));
            }
        }
        let body = if status == 204 { Body::Ended } else { body };
        Ok(Self {
            body,
            persistent: persistent && body != Body::UntilEof,
            worker,
        })
    }
}

impl Body {
    fn coded(value: &[u8]) -> Result<Self, Malformed> {
        let is_known = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
        is_known.then_some(Self::ChunkSize).ok_or(Malformed::Coding)
    }

    /// How much of `bytes` is understood, and what comes after that; none if it takes more of them.
    fn read(self, bytes: &[u8]) -> Result<Option<(usize, Self)>, Malformed> {
        Ok(match self {
            Self::Length(0) => Some((0, Self::Ended)),
            Self::Chunk(0) => Some((0, Self::ChunkSize)),
            Self::Ended => None,
            _ if bytes.is_empty() => None,
            Self::Length(left) => Some(some_of(left, bytes, Self::Length)),
            Self::Chunk(left) => Some(some_of(left, bytes, Self::Chunk)),
            Self::ChunkSize => chunk_size(bytes)?,
            Self::Trailer => trailer_line(bytes),
            Self::UntilEof => Some((bytes.len(), Self::UntilEof)),
        })
    }
}

/// Takes up to `left` of the bytes, and leaves the rest of `left` for later.
fn some_of(left: u64, bytes: &[u8], rest: fn(u64) -> Body) -> (usize, Body) {
    let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (taken, rest(left - taken as u64))
}

fn chunk_size(bytes: &[u8]) -> Result<Option<(usize, Body)>, Malformed> {
    Ok(
        match httparse::parse_chunk_size(bytes).map_err(|_| Malformed::ChunkSize)? {
            Status::Partial => None,
            Status::Complete((taken, 0)) => Some((taken, Body::Trailer)),
            Status::Complete((taken, size)) => Some((taken, Body::Chunk(size.saturating_add(2)))),
        },
    )
}

/// A blank line ends the answer.
fn trailer_line(bytes: &[u8]) -> Option<(usize, Body)> {
    let end = bytes.iter().position(|&byte| byte == b'\n')? + 1;
    let is_blank = bytes[..end].trim_ascii().is_empty();
    Some((end, if is_blank { Body::Ended } else { Body::Trailer }))
}

fn number(value: &[u8]) -> Result<u64, Malformed> {
    let text = str::from_utf8(value.trim_ascii()).map_err(|_| Malformed::Length)?;
    text.parse().map_err(|_| Malformed::Length)
}

/// Whether a list, as in `Connection: close, upgrade`, has this word in it.
fn lists(value: &[u8], word: &[u8]) -> bool {
    let mut words = value.split(|&byte| byte == b',');
    words.any(|other| other.trim_ascii().eq_ignore_ascii_case(word))
}

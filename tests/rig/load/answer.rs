//! One HTTP/1 answer, as far as it has come.

/// A body longer than this is not the name of a worker.
const NAME: usize = 64;

/// A head longer than this is not read to its end.
const LONGEST_HEAD: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Answer {
    /// What came and is not yet understood.
    pending: Vec<u8>,
    begun: bool,
    head: Option<Head>,
    name: Vec<u8>,
}

#[derive(Debug)]
struct Head {
    body: Body,
    persistent: bool,
    worker: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// So many bytes to come.
    Length(u64),
    ChunkSize,
    /// So many bytes of a chunk to come, its line end included.
    Chunk(u64),
    Trailer,
    UntilEof,
    Ended,
}

impl Answer {
    /// Whether a byte of it has come.
    pub(super) fn begun(&self) -> bool {
        self.begun
    }

    /// Whether the connection can carry another request.
    pub(super) fn persistent(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.persistent)
    }

    /// The name of the worker that answered.
    pub(super) fn worker(&self) -> Option<&str> {
        let body = || {
            let name = str::from_utf8(&self.name).ok()?.trim();
            let is_name = !name.is_empty() && !name.contains(char::is_control);
            is_name.then_some(name)
        };
        self.head.as_ref()?.worker.as_deref().or_else(body)
    }

    /// Takes what came; tells whether the answer is complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<bool, String> {
        self.begun |= !bytes.is_empty();
        self.pending.extend_from_slice(bytes);
        if self.head.is_none() {
            self.read_head()?;
        }
        self.read_body()
    }

    /// Takes the end of the connection; tells whether the answer is complete by that.
    pub(super) fn end(&self) -> bool {
        self.head
            .as_ref()
            .is_some_and(|head| matches!(head.body, Body::UntilEof | Body::Ended))
    }

    fn read_head(&mut self) -> Result<(), String> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&self.pending);
        let parsed = parsed.map_err(|error| format!("the head is malformed: {error}"))?;
        let httparse::Status::Complete(length) = parsed else {
            let fits = self.pending.len() < LONGEST_HEAD;
            return if fits {
                Ok(())
            } else {
                Err("the head does not end".into())
            };
        };
        self.head = Some(Head::from_response(&response)?);
        self.pending.drain(..length);
        Ok(())
    }

    fn read_body(&mut self) -> Result<bool, String> {
        let Some(head) = &mut self.head else {
            return Ok(false);
        };
        while let Some((taken, next)) = head.body.read(&self.pending)? {
            let room = NAME.saturating_sub(self.name.len()) + 1;
            if head.body.is_data() && self.name.len() <= NAME {
                self.name
                    .extend_from_slice(&self.pending[..taken.min(room)]);
            }
            self.pending.drain(..taken);
            head.body = next;
        }
        let ended = head.body == Body::Ended;
        if ended && !self.pending.is_empty() {
            return Err("bytes came after the answer".into());
        }
        Ok(ended)
    }
}

impl Head {
    fn from_response(response: &httparse::Response<'_, '_>) -> Result<Self, String> {
        let status = response.code.unwrap_or(0);
        if !(200..300).contains(&status) {
            return Err(format!("the status is {status}"));
        }
        let header = |name: &str| {
            let named = response
                .headers
                .iter()
                .find(|h| h.name.eq_ignore_ascii_case(name));
            named.map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
        };
        let body = Body::announced(
            status,
            header("transfer-encoding"),
            header("content-length"),
        )?;
        let connection = header("connection")
            .unwrap_or_default()
            .to_ascii_lowercase();
        let persistent = match response.version {
            Some(1) => connection != "close",
            _ => connection == "keep-alive",
        };
        let persistent = persistent && body != Body::UntilEof;
        Ok(Self {
            body,
            persistent,
            worker: header("x-worker"),
        })
    }
}

impl Body {
    fn announced(
        status: u16,
        encoding: Option<String>,
        length: Option<String>,
    ) -> Result<Self, String> {
        match (encoding, length) {
            _ if status == 204 => Ok(Self::Ended),
            (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => Ok(Self::ChunkSize),
            (Some(coding), _) => Err(format!("the transfer coding {coding} is not known")),
            (None, Some(length)) => {
                let length = length.parse();
                length
                    .map(Self::Length)
                    .map_err(|_| "the content length is no number".into())
            }
            (None, None) => Ok(Self::UntilEof),
        }
    }

    fn is_data(self) -> bool {
        matches!(self, Self::Length(_) | Self::UntilEof)
            || matches!(self, Self::Chunk(left) if left > 2)
    }

    /// How much of `pending` is understood, and what comes after that; none if it takes more.
    fn read(self, pending: &[u8]) -> Result<Option<(usize, Self)>, String> {
        match self {
            Self::Length(0) => Ok(Some((0, Self::Ended))),
            Self::Chunk(0) => Ok(Some((0, Self::ChunkSize))),
            Self::ChunkSize => chunk_size(pending),
            _ if pending.is_empty() => Ok(None),
            Self::Length(left) => {
                let taken = up_to(left, pending);
                Ok(Some((taken, Self::Length(left - taken as u64))))
            }
            Self::Chunk(left) => {
                let taken = up_to(left, pending);
                Ok(Some((taken, Self::Chunk(left - taken as u64))))
            }
            Self::Trailer => Ok(trailer_line(pending)),
            Self::UntilEof => Ok(Some((pending.len(), Self::UntilEof))),
            Self::Ended => Ok(None),
        }
    }
}

fn up_to(left: u64, pending: &[u8]) -> usize {
    usize::try_from(left).map_or(pending.len(), |left| left.min(pending.len()))
}

fn chunk_size(pending: &[u8]) -> Result<Option<(usize, Body)>, String> {
    match httparse::parse_chunk_size(pending) {
        Err(_) => Err("a chunk's size is malformed".into()),
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete((taken, 0))) => Ok(Some((taken, Body::Trailer))),
        // The line end after the data is counted in.
        Ok(httparse::Status::Complete((taken, size))) => {
            Ok(Some((taken, Body::Chunk(size.saturating_add(2)))))
        }
    }
}

fn trailer_line(pending: &[u8]) -> Option<(usize, Body)> {
    let end = pending.iter().position(|&byte| byte == b'\n')? + 1;
    let blank = pending[..end].trim_ascii().is_empty();
    Some((end, if blank { Body::Ended } else { Body::Trailer }))
}

//! Where a body ends. Bodies are passed on as they are, chunk sizes and trailers too; all that is
//! asked is how many of the bytes at hand still belong to it.
//!
//! The reader is strict: a chunk size that two programs could read differently would let one of
//! them see a request where the other sees a body.

/// The longest chunk-size line and the longest trailer section, in bytes.
const MAX_SECTION_LEN: usize = 16 * 1024;

/// How a body's end is found (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// It has so many bytes; without a body, none.
    Length(u64),
    /// The chunks say so.
    Chunked,
    /// The sender closes.
    UntilEnd,
}

/// These are no chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunks of a body are malformed")]
pub struct BadChunk;

/// A body of which some has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilEnd,
    /// In the hexadecimal digits of a chunk's size.
    Size {
        size: u64,
        digits: usize,
    },
    /// Behind the digits; what is here means nothing to us.
    Extension {
        size: u64,
        length: usize,
    },
    /// Before the newline of a size line.
    SizeEnd {
        size: u64,
    },
    Data(u64),
    /// Before the carriage return, then before the newline after a chunk's data.
    DataEnd {
        returned: bool,
    },
    /// In a trailer line, of which so many bytes were read.
    Trailer {
        line: usize,
        section: usize,
    },
    /// Before the newline of a trailer line.
    TrailerEnd {
        line: usize,
        section: usize,
    },
}

impl Body {
    /// A body of which nothing has been read.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(length) => State::Length(length),
            Framing::UntilEnd => State::UntilEnd,
            Framing::Chunked => State::Size { size: 0, digits: 0 },
        };
        Self { state }
    }

    /// Whether all of it has been read. One that ends with its sender's close never knows.
    pub fn is_done(&self) -> bool {
        self.state == State::Length(0)
    }

    /// Whether its sender's close is its end.
    pub fn is_ended_by_close(&self) -> bool {
        self.state == State::UntilEnd
    }

    /// Reads on, and says how many of the bytes belong to this body; fewer than all: it is done.
    ///
    /// # Errors
    /// [`BadChunk`]; where it ends can no longer be known.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        let mut used = 0;
        while !self.is_done() {
            let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            used += self.advance_some(rest)?;
        }
        Ok(used)
    }

    /// Reads at least one byte: a run of data, or one byte of what is around it.
    fn advance_some(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        let available = bytes.len() as u64; // usize is never wider than u64
        let (used, state) = match self.state {
            State::UntilEnd => (bytes.len(), State::UntilEnd),
            State::Length(left) => (
                least(left, bytes.len()),
                State::Length(left.saturating_sub(available)),
            ),
            State::Data(left) if left > available => (bytes.len(), State::Data(left - available)),
            State::Data(left) => (least(left, bytes.len()), State::DataEnd { returned: false }),
            state => (1, after(state, bytes.first().copied().unwrap_or(0))?),
        };
        self.state = state;
        Ok(used)
    }
}

fn least(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

/// The state after one byte of what is around the data.
fn after(state: State, byte: u8) -> Result<State, BadChunk> {
    Ok(match (state, byte) {
        (State::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 15 => {
            State::Size {
                size: size << 4 | u64::from(hexadecimal(byte)),
                digits: digits + 1,
            }
        }
        (State::Size { size, digits: 1.. }, b'\r') => State::SizeEnd { size },
        (State::Size { size, digits: 1.. }, b';' | b' ' | b'\t') => {
            State::Extension { size, length: 0 }
        }
        (State::Extension { size, .. }, b'\r') => State::SizeEnd { size },
        (State::Extension { size, length }, _) if byte != b'\n' && length < MAX_SECTION_LEN => {
            State::Extension {
                size,
                length: length + 1,
            }
        }
        (State::SizeEnd { size: 0 }, b'\n') => State::Trailer {
            line: 0,
            section: 0,
        },
        (State::SizeEnd { size }, b'\n') => State::Data(size),
        (State::DataEnd { returned: false }, b'\r') => State::DataEnd { returned: true },
        (State::DataEnd { returned: true }, b'\n') => State::Size { size: 0, digits: 0 },
        (State::Trailer { line, section }, b'\r') => State::TrailerEnd { line, section },
        (State::Trailer { line, section }, _) if byte != b'\n' && section < MAX_SECTION_LEN => {
            State::Trailer {
                line: line + 1,
                section: section + 1,
            }
        }
        (State::TrailerEnd { line: 0, .. }, b'\n') => State::Length(0),
        (State::TrailerEnd { section, .. }, b'\n') => State::Trailer {
            line: 0,
            section: section + 1,
        },
        _ => return Err(BadChunk),
    })
}

/// The value of a digit that is known to be one.
fn hexadecimal(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(framing: Framing, bytes: &[u8]) -> Result<(usize, bool), BadChunk> {
        let mut body = Body::new(framing);
        Ok((body.advance(bytes)?, body.is_done()))
    }

    #[test]
    fn a_length_is_counted() {
        assert_eq!(read(Framing::Length(0), b"x"), Ok((0, true)));
        assert_eq!(read(Framing::Length(3), b"abcd"), Ok((3, true)));
        assert_eq!(read(Framing::Length(3), b"ab"), Ok((2, false)));
        assert_eq!(read(Framing::UntilEnd, b"ab"), Ok((2, false)));
    }

    #[test]
    fn chunks_end_with_the_trailers() {
        let plain = b"3\r\nabc\r\n0\r\n\r\nX";
        assert_eq!(read(Framing::Chunked, plain), Ok((plain.len() - 1, true)));
        let rich = b"00A;x=\"y\"\r\n0123456789\r\n0 ;z\r\nSum: 1\r\nB: 2\r\n\r\n";
        assert_eq!(read(Framing::Chunked, rich), Ok((rich.len(), true)));
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let malformed: [&[u8]; 9] = [
            b"\r\n",
            b"x\r\n",
            b"-1\r\n",
            b"3\nabc",
            b"3\r\nabcd\r\n",
            b"3\r\nabc\n",
            b"0\r\n\n",
            b"1000000000000000\r\n",
            b"+3\r\nabc\r\n",
        ];
        for bytes in malformed {
            assert_eq!(read(Framing::Chunked, bytes), Err(BadChunk), "{bytes:?}");
        }
    }

    #[test]
    fn no_line_is_read_for_ever() {
        for beginning in ["1;", "0\r\na: "] {
            let bytes = [beginning.as_bytes(), &[b'a'; 2 * MAX_SECTION_LEN]].concat();
            assert_eq!(read(Framing::Chunked, &bytes), Err(BadChunk));
        }
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(chunks in prop::collection::vec(1..300usize, 0..5), cuts in prop::collection::vec(1..9usize, 0..40)) {
            let mut bytes = Vec::new();
            for length in chunks {
                bytes.extend(format!("{length:x}\r\n").bytes());
                bytes.extend(vec![b'\r'; length]);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\nT: 1\r\n\r\n");
            let mut body = Body::new(Framing::Chunked);
            let mut rest = &bytes[..];
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                prop_assert_eq!(body.advance(piece).unwrap(), piece.len());
                rest = after;
            }
            let tail = [rest, b"GET"].concat();
            prop_assert_eq!(body.advance(&tail).unwrap(), rest.len());
            prop_assert!(body.is_done());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = read(Framing::Chunked, &bytes);
        }
    }
}

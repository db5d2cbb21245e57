//! Whether unread bytes are the beginning of a request, or the middle of something else: an
//! upload, a websocket, TLS. Only the first line is looked at, since more may not be there yet.

/// So many bytes are enough for [`beginning`] to make up its mind about almost anything.
const MAX_METHOD_LEN: usize = 20;

/// What bytes are the beginning of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// A HTTP/1 request, as far as can be seen.
    Request,
    /// It may become one: there is too little yet.
    Undecided,
    /// Something else.
    Other,
}

/// What these bytes are the beginning of. Empty lines before a request are passed over, as
/// RFC 9112 (2.2) asks for: some clients send one after a body.
pub fn beginning(bytes: &[u8]) -> Beginning {
    let bytes = skip_empty_lines(bytes);
    let line_end = bytes.iter().position(|byte| *byte == b'\n');
    let line = bytes
        .get(..line_end.unwrap_or(bytes.len()))
        .unwrap_or_default();
    match (judge(line), line_end) {
        (Beginning::Request, Some(_)) if !ends_with_version(line) => Beginning::Other,
        (Beginning::Undecided, Some(_)) => Beginning::Other,
        (judgement, _) => judgement,
    }
}

/// The bytes without the line ends that they begin with.
pub(super) fn skip_empty_lines(bytes: &[u8]) -> &[u8] {
    let text = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    bytes.get(text.unwrap_or(bytes.len())..).unwrap_or_default()
}

/// Judges a first line that may not be complete.
fn judge(line: &[u8]) -> Beginning {
    let is_method = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let method = line.iter().take_while(|byte| is_method(byte)).count();
    if method > MAX_METHOD_LEN {
        return Beginning::Other;
    }
    match (line.get(method), line.get(method + 1)) {
        (None, _) => Beginning::Undecided,
        // HTTP/2 begins with `PRI *`.
        (Some(b' '), _) if method == 0 || line.starts_with(b"PRI ") => Beginning::Other,
        (Some(b' '), None) => Beginning::Undecided,
        (Some(b' '), Some(b'/' | b'*' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'[')) => {
            Beginning::Request
        }
        _ => Beginning::Other,
    }
}

fn ends_with_version(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_are_known_by_their_first_line() {
        let requests = [
            "GET / HTTP/1.1\r\nHost: x",
            "\r\nPOST /a?b HTTP/1.0\n",
            "OPTIONS * HTTP/1.1\r\n",
            "GET http://a/ HTTP/1.1\r\n",
            "M-SEARCH /x",
            "GET /not-yet-complete",
        ];
        for bytes in requests {
            assert_eq!(beginning(bytes.as_bytes()), Beginning::Request, "{bytes:?}");
        }
    }

    #[test]
    fn what_may_become_a_request_is_undecided() {
        for bytes in ["", "\r\n", "G", "GET", "GET "] {
            assert_eq!(
                beginning(bytes.as_bytes()),
                Beginning::Undecided,
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn other_things_are_told_apart() {
        let others: [&[u8]; 8] = [
            b"\x16\x03\x01\x02\x00\x01",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x81\x05hello",
            b"{\"a\": 1}",
            b"GET /\r\n",
            b"A LINE OF AN UPLOAD\r\n",
            b"GET\r\n",
            b" / HTTP/1.1\r\n",
        ];
        for bytes in others {
            assert_eq!(beginning(bytes), Beginning::Other, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn more_bytes_never_take_other_back(bytes in any::<Vec<u8>>(), more in any::<Vec<u8>>()) {
            if beginning(&bytes) == Beginning::Other {
                let all = [bytes, more].concat();
                prop_assert_eq!(beginning(&all), Beginning::Other);
            }
        }
    }
}

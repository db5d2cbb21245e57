//! The status of an answer, as far as a probe needs it.

use std::io;

/// The status of an answer whose beginning these bytes are; none while its head is not complete.
///
/// # Errors
/// `InvalidData`: this is not HTTP/1.
pub fn status(bytes: &[u8]) -> io::Result<Option<u16>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        // The status line is all that is asked for.
        Ok(_) | Err(httparse::Error::TooManyHeaders) => Ok(response.code),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_status_is_known_as_soon_as_its_line_is() {
        assert_eq!(status(b"HTTP/1.1 2").unwrap(), None);
        assert_eq!(
            status(b"HTTP/1.1 204 No Content\r\nX: ").unwrap(),
            Some(204)
        );
        assert_eq!(status(b"HTTP/1.0 503 \r\n\r\n").unwrap(), Some(503));
        assert!(status(b"SSH-2.0-OpenSSH\r\n").is_err());
    }

    #[test]
    fn many_headers_do_not_hide_the_status() {
        let answer = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(100));
        assert_eq!(status(answer.as_bytes()).unwrap(), Some(200));
    }
}

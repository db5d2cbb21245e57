//! Whether bytes are one request, all of it and nothing more, that one answer will end.

use super::body::Body;
use super::head::{RequestHead, head_length};

/// Whether these bytes are exactly one request that can be answered without another word from the
/// client. One that asks for another protocol cannot: the client goes on speaking.
pub fn is_whole(bytes: &[u8]) -> bool {
    let Some(length) = head_length(bytes, 0) else {
        return false;
    };
    let (head, rest) = bytes.split_at(length);
    let Ok(head) = RequestHead::parse(head) else {
        return false;
    };
    let mut body = Body::new(head.framing);
    !head.upgrades && body.advance(rest) == Ok(rest.len()) && body.is_done()
}

#[cfg(test)]
mod tests {
    use super::is_whole;
    use proptest::prelude::*;

    #[test]
    fn one_request_with_its_body_is_whole() {
        assert!(is_whole(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(is_whole(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"));
        assert!(is_whole(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        ));
    }

    #[test]
    fn less_more_and_a_change_of_protocol_are_not() {
        let post = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
        for length in 0..post.len() {
            assert!(!is_whole(&post[..length]), "{length} bytes");
        }
        assert!(!is_whole(b"GET / HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"));
        assert!(!is_whole(
            b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        ));
        assert!(!is_whole(
            b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        ));
        assert!(!is_whole(b"\x16\x03\x01\x02\x00\x01\r\n\r\n"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            is_whole(&bytes);
        }
    }
}

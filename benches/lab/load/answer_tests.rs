//! Answers, however they come.
#![allow(clippy::unwrap_used, unused_imports)] // a bench without a harness runs no tests

use super::answer::{Answer, MAX_RESPONSE_LEN, Malformed};

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nX-Worker: seven\r\nTransfer-Encoding: chunked\r\n\r\n\
    5\r\nhello\r\nA;note=x\r\n0123456789\r\n0\r\nTrailing: yes\r\n\r\n";

/// Whether the answer was complete with the last piece, and not before.
fn taken(pieces: &[&[u8]]) -> Result<(bool, Answer), Malformed> {
    let mut answer = Answer::default();
    let mut complete = false;
    for piece in pieces {
        assert!(!complete, "complete before its end");
        complete = answer.take(piece)?;
    }
    Ok((complete, answer))
}

#[test]
fn an_answer_is_the_same_wherever_it_is_torn() {
    let length: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx-worker:  seven \r\n\r\nhello";
    for whole in [CHUNKED, length] {
        for at in 0..=whole.len() {
            let (one, other) = whole.split_at(at);
            let pieces: &[&[u8]] = if other.is_empty() {
                &[one]
            } else {
                &[one, other]
            };
            let (complete, answer) = taken(pieces).unwrap();
            assert!(complete && answer.persistent(), "torn at {at}");
            assert_eq!(answer.worker().unwrap().text(), "seven");
        }
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert!(taken(&bytes).unwrap().0, "byte by byte");
    }
}

#[test]
fn what_is_not_there_is_waited_for() {
    for end in 0..CHUNKED.len() {
        let (complete, answer) = taken(&[&CHUNKED[..end]]).unwrap();
        assert!(!complete && !answer.end(), "complete at {end}");
    }
}

#[test]
fn without_a_length_the_end_of_the_connection_ends_it() {
    let (complete, answer) = taken(&[b"HTTP/1.0 200 OK\r\n\r\nhel", b"lo"]).unwrap();
    assert!(!complete && answer.end() && !answer.persistent());
    assert_eq!(answer.worker(), None);
}

#[test]
fn the_answer_says_whether_it_is_the_last() {
    let persistent = |version: &str, connection: &str| {
        let head = format!("HTTP/{version} 200 OK\r\nContent-Length: 0\r\n{connection}\r\n");
        let (complete, answer) = taken(&[head.as_bytes()]).unwrap();
        assert!(complete);
        answer.persistent()
    };
    assert!(persistent("1.1", ""));
    assert!(persistent("1.1", "Connection: Keep-Alive\r\n"));
    assert!(!persistent("1.1", "Connection: Close\r\n"));
    assert!(!persistent("1.1", "Connection: upgrade, close\r\n"));
    assert!(!persistent("1.0", ""));
    assert!(persistent("1.0", "Connection: keep-alive\r\n"));
}

#[test]
fn what_is_no_good_answer_is_malformed() {
    let bad: &[(&[u8], &str)] = &[
        (b"hello\r\n\r\n", "the head is malformed"),
        (
            b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
            "the status is 503",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
            "the content length is no number",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "the transfer coding is not known",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "a chunk's size is malformed",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more",
            "bytes came after the answer",
        ),
    ];
    for (bytes, reason) in bad {
        let said = taken(&[bytes]).err().unwrap().to_string();
        assert!(said.starts_with(reason), "{said}");
    }
    let mut endless = Answer::default();
    endless.take(b"HTTP/1.1 200 OK\r\n").unwrap();
    let filler = b"X: y\r\n".repeat(8);
    let mut pieces = 0..MAX_RESPONSE_LEN;
    assert!(
        pieces.any(|_| endless.take(&filler).is_err()),
        "a head without an end is waited for"
    );
}

#[test]
fn an_answer_that_was_read_leaves_no_trace() {
    let mut answer = Answer::default();
    assert_eq!(answer.take(CHUNKED), Ok(true));
    answer.reset();
    assert!(!answer.begun() && !answer.persistent());
    assert_eq!(answer.take(b"HTTP/1.1 204 No\r\n\r\n"), Ok(true));
    assert_eq!(answer.worker(), None);
}

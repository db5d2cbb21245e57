#![allow(clippy::unwrap_used)]

use super::*;
use crate::wire::http::{ClientLines, When};
use proptest::prelude::*;

/// Takes what is to be sent, in pieces of at most `most` bytes.
fn take_for_client(exchange: &mut Exchange, most: usize) -> Vec<u8> {
    let bytes = exchange.to_client().to_vec();
    let piece = bytes[..bytes.len().min(most)].to_vec();
    exchange.was_sent_to_client(piece.len());
    piece
}

fn take_for_server(exchange: &mut Exchange, most: usize) -> Vec<u8> {
    let bytes = exchange.to_server().to_vec();
    let piece = bytes[..bytes.len().min(most)].to_vec();
    exchange.was_sent_to_server(piece.len());
    piece
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn asked(request: &str) -> (Exchange, String) {
    let mut exchange = Exchange::new(ClientLines::default());
    exchange.client_sent(request.as_bytes());
    let sent = take_for_server(&mut exchange, usize::MAX);
    (exchange, text(&sent))
}

/// What the client gets for an answer after which the server closes.
fn answered(exchange: &mut Exchange, answer: &str) -> String {
    exchange.server_sent(answer.as_bytes());
    exchange.server_closed();
    text(&take_for_client(exchange, usize::MAX))
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn a_request_and_its_answer_pass_but_for_connection() {
    let (mut exchange, sent) = asked(GET);
    assert_eq!(
        sent,
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    let got = answered(
        &mut exchange,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    );
    assert_eq!(
        got,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    );
    assert_eq!(exchange.ending(), Some(Ending::Answered));
    assert_eq!(exchange.answered(), 1);
}

#[test]
fn an_answer_without_a_length_ends_with_the_server() {
    let (mut exchange, _) = asked("GET / HTTP/1.0\r\n\r\n");
    exchange.server_sent(b"HTTP/1.0 200 OK\r\n\r\nab");
    exchange.server_sent(b"cd");
    assert_eq!(exchange.ending(), None);
    let got = answered(&mut exchange, "ef");
    assert!(got.ends_with("\r\n\r\nabcdef"), "{got}");
    assert_eq!(exchange.ending(), Some(Ending::Answered));
}

#[test]
fn pipelined_requests_are_answered_in_order_and_only_the_last_closes() {
    let (mut exchange, _) = asked(&GET.repeat(2));
    assert_eq!(exchange.attempt(), Some(1));
    exchange.server_sent(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1");
    assert_eq!(exchange.attempt(), Some(2));
    assert!(text(exchange.to_server()).starts_with("GET"));
    let got = answered(
        &mut exchange,
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2",
    );
    let (first, second) = got.split_at(got.find('1').map(|_| got.len() / 2).unwrap());
    assert!(
        first.contains("keep-alive") || got.contains("Connection: keep-alive"),
        "{got}"
    );
    assert!(second.contains("Connection: close"), "{got}");
    assert_eq!(exchange.answered(), 2);
}

#[test]
fn interim_answers_pass_and_let_the_body_come() {
    let (mut exchange, _) =
        asked("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    exchange.server_sent(b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(
        text(&take_for_client(&mut exchange, 99)),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    exchange.client_sent(b"hi");
    assert_eq!(take_for_server(&mut exchange, 99), b"hi");
    let got = answered(&mut exchange, "HTTP/1.1 204 No Content\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 204"));
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    let request = "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let (mut exchange, sent) = asked(request);
    assert_eq!(sent, request);
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n";
    exchange.server_sent([switching, "\x01"].concat().as_bytes());
    assert_eq!(
        text(&take_for_client(&mut exchange, 999)),
        [switching, "\x01"].concat()
    );
    exchange.client_sent(b"\x02\x03");
    assert_eq!(take_for_server(&mut exchange, 9), b"\x02\x03");
    exchange.client_closed();
    assert!(exchange.is_server_input_over());
    assert_eq!(exchange.ending(), None);
    assert_eq!(answered(&mut exchange, "bye"), "bye");
    assert_eq!(exchange.ending(), Some(Ending::Answered));
}

#[test]
fn a_refused_upgrade_is_an_answer() {
    let (mut exchange, _) = asked("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    let got = answered(
        &mut exchange,
        "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(got.contains("Connection: close"));
}

fn flaw(exchange: &Exchange) -> Option<(Flaw, Sent)> {
    match exchange.ending() {
        Some(Ending::Broken { flaw, sent }) => Some((flaw, sent)),
        _ => None,
    }
}

#[test]
fn what_is_no_request_is_not_answered() {
    for (bytes, expected) in [
        ("\x16\x03\x01", Flaw::NotHttp),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Flaw::NotHttp),
        ("GET / HTTP/1.1\r\nA B\r\n\r\n", Flaw::NotHttp),
        (
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            Flaw::Framing,
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nX\r\n",
            Flaw::Framing,
        ),
        (
            &format!("GET /{}", "a".repeat(MAX_HEAD_LEN)),
            Flaw::LongHead,
        ),
    ] {
        let (exchange, _) = asked(bytes);
        assert_eq!(
            flaw(&exchange),
            Some((expected, Sent::Nothing)),
            "{}",
            &bytes[..20.min(bytes.len())]
        );
        assert!(exchange.to_client().is_empty());
    }
}

#[test]
fn a_server_that_breaks_is_tried_once_more() {
    let (mut exchange, first) = asked(GET);
    exchange.server_failed(true);
    assert_eq!(exchange.attempt(), Some(2));
    assert_eq!(text(&take_for_server(&mut exchange, 999)), first);
    exchange.server_closed();
    assert_eq!(flaw(&exchange), Some((Flaw::ServerClosed, Sent::Nothing)));
}

#[test]
fn what_must_not_be_done_twice_is_repeated_only_if_it_never_left() {
    let post = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
    let (mut exchange, first) = asked(post);
    exchange.server_failed(false);
    assert_eq!(text(exchange.to_server()), first);
    let (mut exchange, _) = asked(post);
    exchange.server_failed(true);
    assert_eq!(flaw(&exchange), Some((Flaw::ServerClosed, Sent::Nothing)));
}

#[test]
fn a_cut_answer_is_never_taken_for_a_whole_one() {
    let (mut exchange, _) = asked(GET);
    answered(
        &mut exchange,
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
    );
    assert_eq!(flaw(&exchange), Some((Flaw::ServerClosed, Sent::Part)));
    let (mut exchange, _) = asked(GET);
    exchange.server_sent(b"HTTP/1.1 200 OK\r\n\r\nab");
    exchange.server_failed(true);
    assert_eq!(flaw(&exchange), Some((Flaw::ServerClosed, Sent::Part)));
}

#[test]
fn neither_side_can_fill_the_memory() {
    let (mut exchange, _) = asked("POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n");
    while exchange.room_from_client() > 0 {
        exchange.client_sent(&vec![0; exchange.room_from_client().min(4096)]);
    }
    assert!(exchange.to_server().len() <= MAX_BUFFERED);
    exchange.server_sent(b"HTTP/1.1 200 OK\r\n\r\n");
    while exchange.room_from_server() > 0 {
        exchange.server_sent(&vec![0; exchange.room_from_server().min(4096)]);
    }
    assert!(exchange.to_client().len() <= MAX_BUFFERED);
}

#[derive(Clone, Debug)]
struct Message {
    head: String,
    body: Vec<u8>,
}

impl Message {
    /// As it is sent, with or without a line that says what becomes of the connection.
    fn bytes(&self, connection: &str) -> Vec<u8> {
        [
            format!("{}{connection}\r\n", self.head).as_bytes(),
            &self.body,
        ]
        .concat()
    }
}

fn framed(first: String, headers: Vec<(String, String)>, body: Vec<u8>, chunked: bool) -> Message {
    let mut head = first;
    for (name, value) in headers {
        head += &format!("X-{name}:{value}\r\n");
    }
    if !chunked {
        head += &format!("Content-Length: {}\r\n", body.len());
        return Message { head, body };
    }
    head += "Transfer-Encoding: chunked\r\n";
    let mut chunks = Vec::new();
    for chunk in body.chunks(7) {
        chunks.extend([format!("{:X}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    chunks.extend(b"0\r\nTrailer: 1\r\n\r\n");
    Message { head, body: chunks }
}

fn message(first: impl Strategy<Value = String>) -> impl Strategy<Value = Message> {
    let header = ("[A-Za-z-]{1,9}", "[ -~]{0,20}");
    let parts = (
        first,
        prop::collection::vec(header, 0..4),
        any::<Vec<u8>>(),
        any::<bool>(),
    );
    parts.prop_map(|(first, headers, body, chunked)| framed(first, headers, body, chunked))
}

fn request() -> impl Strategy<Value = Message> {
    message("(GET|POST|PUT) /[a-z?=/]{0,20} HTTP/1[.]1\r\n")
}

fn answer() -> impl Strategy<Value = Message> {
    message("HTTP/1[.]1 (200|404|500) [A-Za-z ]{0,10}\r\n")
}

/// A server that answers the nth request on the nth connection, and records what it was sent.
fn serve(
    exchange: &mut Exchange,
    answers: &[Message],
    heard: &mut Vec<Vec<u8>>,
    whole: &[usize],
    most: usize,
) {
    while let Some(attempt) = exchange.attempt() {
        let index = attempt as usize - 1;
        heard.resize(index + 1, Vec::new());
        let piece = take_for_server(exchange, most);
        heard[index].extend(&piece);
        if heard[index].len() == whole[index] {
            for piece in answers[index].bytes("").chunks(most) {
                exchange.server_sent(piece);
            }
        } else if piece.is_empty() {
            return;
        }
    }
}

proptest! {
    #[test]
    fn messages_come_out_as_they_went_in(
        requests in prop::collection::vec((request(), answer()), 1..4),
        most in 1..50usize,
    ) {
        let (requests, answers): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        let expected: Vec<Vec<u8>> = requests.iter().map(|r| r.bytes("Connection: close\r\n")).collect();
        let whole: Vec<usize> = expected.iter().map(Vec::len).collect();
        let stream: Vec<u8> = requests.iter().flat_map(|r| r.bytes("")).collect();
        let mut exchange = Exchange::new(ClientLines::default());
        let mut heard = Vec::new();
        // All requests are there before the first is answered: all of them must be.
        for piece in stream.chunks(most) {
            exchange.client_sent(piece);
        }
        let mut got = Vec::new();
        serve(&mut exchange, &answers, &mut heard, &whole, most);
        while !exchange.to_client().is_empty() {
            got.extend(take_for_client(&mut exchange, most));
        }
        let last = answers.len() - 1;
        let answers = answers.iter().enumerate();
        let expected_answers: Vec<u8> = answers.flat_map(|(index, answer)| {
            answer.bytes(if index == last { "Connection: close\r\n" } else { "Connection: keep-alive\r\n" })
        }).collect();
        prop_assert_eq!(heard, expected);
        prop_assert_eq!(text(&got), text(&expected_answers));
        prop_assert_eq!(exchange.ending(), Some(Ending::Answered));
    }

    #[test]
    fn nothing_makes_it_panic(events in prop::collection::vec((0..6u8, any::<Vec<u8>>()), 0..20), real in any::<bool>()) {
        let mut exchange = Exchange::new(ClientLines::default().with("X", "y".to_owned(), When::Always));
        if real {
            exchange.client_sent(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
            exchange.server_sent(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        }
        for (kind, bytes) in events {
            match kind {
                0 => exchange.client_sent(&bytes),
                1 => exchange.server_sent(&bytes),
                2 => exchange.server_failed(bytes.len() > 3),
                3 => exchange.was_sent_to_server(bytes.len()),
                4 => exchange.server_closed(),
                _ => exchange.client_closed(),
            }
        }
    }
}

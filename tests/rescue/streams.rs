//! Whatever a client asks, and however its bytes are cut: it gets what it would have got from the
//! server itself, byte for byte, but for `Connection`.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseResult;

use super::*;

/// A request, and how it is to be answered, which its path says.
#[derive(Clone, Debug)]
struct Request {
    method: &'static str,
    answer: &'static str,
    line: String,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Length { bytes: Vec<u8>, expect: bool },
    Chunks(Vec<Vec<u8>>),
}

impl Request {
    fn bytes(&self) -> Vec<u8> {
        let head = format!(
            "{} /{} HTTP/1.1\r\nHost: x\r\nX-Line: {}\r\n",
            self.method, self.answer, self.line
        );
        let mut bytes = head.into_bytes();
        match &self.body {
            Body::None => bytes.extend(b"\r\n"),
            Body::Length {
                bytes: body,
                expect,
            } => {
                let expect = if *expect {
                    "Expect: 100-continue\r\n"
                } else {
                    ""
                };
                bytes.extend(format!("{expect}Content-Length: {}\r\n\r\n", body.len()).bytes());
                bytes.extend(body);
            }
            Body::Chunks(chunks) => {
                bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks {
                    bytes.extend(format!("{:x};why=not\r\n", chunk.len()).bytes());
                    bytes.extend(chunk.iter().chain(b"\r\n"));
                }
                bytes.extend(b"0\r\nX-Trailer: y\r\n\r\n");
            }
        }
        bytes
    }
}

fn body() -> impl Strategy<Value = Body> {
    let bytes = || vec(any::<u8>(), 1..2000);
    prop_oneof![
        Just(Body::None),
        (bytes(), any::<bool>()).prop_map(|(bytes, expect)| Body::Length { bytes, expect }),
        vec(bytes(), 0..4).prop_map(Body::Chunks),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let method = select(vec!["GET", "HEAD", "POST", "PUT", "DELETE"]);
    let answer = select(vec!["length", "chunked", "empty", "until-close"]);
    (method, answer, "[a-z ,;=\"]{0,60}[a-z]", body()).prop_map(|(method, answer, line, body)| {
        Request {
            method,
            answer,
            line,
            body,
        }
    })
}

/// Answers every request on a connection. An answer says what was asked, head and body.
fn converse(stream: &mut TcpStream) {
    while let Some((head, body)) = read_request(stream) {
        let is_last = head.contains("/until-close ") && !head.starts_with("HEAD ");
        if stream.write_all(&reply(&head, &body)).is_err() || is_last {
            return;
        }
    }
}

fn reply(head: &str, body: &[u8]) -> Vec<u8> {
    // What the rescuer says to the server of the connection is its own affair.
    let is_said = |line: &&str| !line.to_ascii_lowercase().starts_with("connection:");
    let said: Vec<&str> = head.lines().filter(is_said).collect();
    let said = [said.join("\n").as_bytes(), body].concat();
    let fields = match head.split(['/', ' ']).nth(2) {
        Some("length") => format!("Content-Length: {}\r\n", said.len()),
        Some("chunked") => "Transfer-Encoding: chunked\r\n".to_owned(),
        Some("empty") => return b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n".to_vec(),
        _ => String::new(),
    };
    let mut reply = format!("HTTP/1.1 200 Fine\r\nX-A: b\r\n{fields}\r\n").into_bytes();
    if head.starts_with("HEAD ") {
        return reply;
    }
    if !fields.starts_with("Transfer") {
        reply.extend(said);
        return reply;
    }
    for chunk in said.chunks(700) {
        reply.extend(format!("{:X}\r\n", chunk.len()).bytes());
        reply.extend(chunk.iter().chain(b"\r\n"));
    }
    reply.extend(b"0\r\n\r\n");
    reply
}

/// None: the client has left.
fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let head = read_until(stream, b"\r\n\r\n")?;
    let head = String::from_utf8(head).unwrap();
    if head.contains("Expect: 100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let mut body = Vec::new();
    if let Some((_, length)) = head.split_once("Content-Length: ") {
        let length = length.split("\r\n").next()?.parse().unwrap();
        stream.take(length).read_to_end(&mut body).ok()?;
    } else if head.contains("Transfer-Encoding: chunked") {
        loop {
            let line = String::from_utf8(read_until(stream, b"\r\n")?).unwrap();
            let size = line.split([';', '\r']).next()?;
            let size = u64::from_str_radix(size, 16).unwrap();
            if size == 0 {
                read_until(stream, b"\r\n\r\n")?;
                break;
            }
            stream.take(size).read_to_end(&mut body).ok()?;
            read_until(stream, b"\r\n")?;
        }
    }
    Some((head, body))
}

fn read_until(stream: &mut TcpStream, end: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(end) {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    Some(bytes)
}

/// What the server answers without us; the ends of the answers, in order.
fn directly(address: SocketAddr, requests: &[Request]) -> (Vec<u8>, Vec<usize>) {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    let (mut all, mut ends) = (Vec::new(), Vec::new());
    for request in requests {
        let bytes = request.bytes();
        client.write_all(&bytes).unwrap();
        // What it answers is known, but for how the server got it.
        let (head, body) = split(&bytes, request);
        let interim = matches!(request.body, Body::Length { expect: true, .. });
        let interim = if interim {
            &b"HTTP/1.1 100 Continue\r\n\r\n"[..]
        } else {
            b""
        };
        let mut answer = vec![0; interim.len() + reply(&head, &body).len()];
        client.read_exact(&mut answer).unwrap();
        all.extend(answer);
        ends.push(all.len());
        if request.answer == "until-close" && request.method != "HEAD" {
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            break;
        }
    }
    (all, ends)
}

fn split(bytes: &[u8], request: &Request) -> (String, Vec<u8>) {
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let body = match &request.body {
        Body::None => Vec::new(),
        Body::Length { bytes, .. } => bytes.clone(),
        Body::Chunks(chunks) => chunks.concat(),
    };
    (head, body)
}

/// What the rescuer brings, for bytes that come in these pieces.
fn rescued(address: SocketAddr, pieces: &[&[u8]]) -> (Vec<u8>, Tally) {
    let (rescuer, mut client) = adopted(address);
    client.set_nodelay(true).unwrap();
    for piece in pieces {
        // It may have said that it is the last answer and be closing.
        let _ = client.write_all(piece);
    }
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    drop(client);
    (bytes, rescuer.final_tally())
}

/// The bytes without the lines of the connection, and what those say.
fn without_connection(bytes: &[u8]) -> (Vec<u8>, Vec<&'static str>) {
    let lines = ["close", "keep-alive"].map(|say| (say, format!("Connection: {say}\r\n")));
    let (mut rest, mut said) = (Vec::new(), Vec::new());
    let mut at = bytes;
    while !at.is_empty() {
        match lines
            .iter()
            .find(|(_, line)| at.starts_with(line.as_bytes()))
        {
            Some((say, line)) => {
                said.push(*say);
                at = &at[line.len()..];
            }
            None => {
                rest.push(at[0]);
                at = &at[1..];
            }
        }
    }
    (rest, said)
}

fn check(address: SocketAddr, requests: &[Request], cuts: &[Index]) -> TestCaseResult {
    let (expected, ends) = directly(address, requests);
    let bytes: Vec<u8> = requests.iter().flat_map(Request::bytes).collect();
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    let pieces: Vec<&[u8]> = at.windows(2).map(|two| &bytes[two[0]..two[1]]).collect();
    let (got, tally) = rescued(address, &pieces);
    let (got, said) = without_connection(&got);
    // A request that comes after the last answer is for another connection.
    let answered = ends
        .iter()
        .position(|end| *end == got.len())
        .map(|at| at + 1);
    prop_assert!(
        answered.is_some(),
        "{} of {ends:?}: {}",
        got.len(),
        String::from_utf8_lossy(&got)
    );
    prop_assert!(
        cuts.is_empty() <= (answered == Some(ends.len())),
        "{answered:?} of {ends:?}"
    );
    prop_assert_eq!(&got[..], &expected[..got.len()]);
    let close = said.iter().filter(|say| **say == "close").count();
    prop_assert_eq!((close, said.last()), (1, Some(&"close")), "{:?}", said);
    prop_assert_eq!(tally.rescued, answered.unwrap_or_default() as u64);
    prop_assert_eq!(tally.given_up, 0, "{:?}", tally.reasons);
    Ok(())
}

#[test]
fn a_client_gets_what_the_server_says() {
    let address = serve(converse);
    let configuration = ProptestConfig {
        cases: 40,
        failure_persistence: None,
        max_shrink_iters: 100,
        ..ProptestConfig::default()
    };
    let streams = (vec(request(), 1..4), vec(any::<Index>(), 0..6));
    proptest!(configuration, |((requests, cuts) in streams)| {
        check(address, &requests, &cuts)?;
    });
}

//! Every failure has its class, and every request is counted once.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::load::{Failure, Outcome, Pace, Plan, Reuse, Spacing};
use crate::run;
use crate::server::{Client, HELLO, Server};

/// Twenty requests in two tenths of a second.
fn twenty(target: std::net::SocketAddr, reuse: Reuse) -> Plan {
    Plan {
        reuse,
        pace: Pace::Open {
            per_second: 100.0,
            spacing: Spacing::Even,
        },
        length: Some(Duration::from_millis(200)),
        time_out: Duration::from_secs(30),
        ..Plan::new(target)
    }
}

fn asked(reuse: Reuse, serve: impl Fn(Client) + Send + Sync + 'static) -> Outcome {
    let server = Server::start(serve);
    run(twenty(server.address, reuse))
}

fn expect(outcome: &Outcome, answered: u64, failures: &[(Failure, u64)]) {
    assert_eq!(
        outcome.failures,
        failures.iter().copied().collect::<BTreeMap<_, _>>()
    );
    assert_eq!(outcome.answered, answered);
    assert_eq!(outcome.latency.len(), answered);
    let in_timeline = outcome
        .timeline
        .iter()
        .map(|bucket| (bucket.answered, bucket.failed));
    let sum = in_timeline.fold((0, 0), |sum, bucket| (sum.0 + bucket.0, sum.1 + bucket.1));
    assert_eq!(sum, (answered, outcome.failed()));
}

#[test]
fn nobody_listens() {
    // Bound, so that nobody else listens there either.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    let target = socket.local_addr().unwrap().as_socket().unwrap();
    for reuse in [Reuse::Fresh, Reuse::KeepAlive] {
        expect(&run(twenty(target, reuse)), 0, &[(Failure::Refused, 20)]);
    }
}

#[test]
fn a_refused_closed_loop_rests() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    let outcome = run(Plan {
        connections: 10_000,
        length: Some(Duration::from_millis(300)),
        ..Plan::new(socket.local_addr().unwrap().as_socket().unwrap())
    });
    let failed = outcome.failed_by(Failure::Refused);
    assert_eq!(failed, outcome.failed());
    // 3,000 connections come in that time, and each can rest 30 times at the most.
    assert!((10..=3_000 * 30).contains(&failed), "{failed}");
}

#[test]
fn a_fresh_connection_is_lost() {
    for reuse in [Reuse::Fresh, Reuse::KeepAlive] {
        let closed = asked(reuse, |mut client| _ = client.request());
        expect(&closed, 0, &[(Failure::Fresh, 20)]);
        let reset = asked(reuse, |mut client| {
            client.request();
            client.reset();
        });
        expect(&reset, 0, &[(Failure::Fresh, 20)]);
    }
}

#[test]
fn a_reused_connection_is_lost() {
    let once = |mut client: Client| {
        client.request();
        client.answer(HELLO);
        client.request();
        client
    };
    let closed = asked(Reuse::KeepAlive, move |client| drop(once(client)));
    expect(&closed, 10, &[(Failure::Reused, 10)]);
    assert_eq!(closed.connections_by_worker["one"], 10);
    let reset = asked(Reuse::KeepAlive, move |client| once(client).reset());
    expect(&reset, 10, &[(Failure::Reused, 10)]);
}

#[test]
fn an_answer_is_cut() {
    for length in [1, HELLO.len() - 7, HELLO.len() - 1] {
        let outcome = asked(Reuse::Fresh, move |mut client| {
            client.request();
            client.answer(&HELLO[..length]);
        });
        expect(&outcome, 0, &[(Failure::Cut, 20)]);
    }
}

#[test]
fn nobody_answers_in_time() {
    for reuse in [Reuse::Fresh, Reuse::KeepAlive] {
        // Kept alive, there is one connection: most wait for it until their time is over.
        let server = Server::start(|mut client| while client.request() {});
        let outcome = run(Plan {
            // Long enough for a busy machine to send what is due.
            time_out: Duration::from_secs(1),
            ..twenty(server.address, reuse)
        });
        expect(&outcome, 0, &[(Failure::TimeOut, 20)]);
        if reuse == Reuse::Fresh {
            server.wait_for_requests(20);
        }
    }
}

#[test]
fn nobody_asks_for_what_is_too_late() {
    let server = Server::start(|mut client| while client.request() {});
    let outcome = run(Plan {
        pace: Pace::Open {
            per_second: 10_000.0,
            spacing: Spacing::Even,
        },
        length: Some(Duration::from_millis(20)),
        time_out: Duration::from_millis(50),
        ..Plan::new(server.address)
    });
    expect(&outcome, 0, &[(Failure::TimeOut, 200)]);
    // Each that gets the one connection has it for a millisecond, the clock of time-outs.
    assert!(
        server.requests() < 100,
        "{} of 200 were sent",
        server.requests()
    );
}

#[test]
fn a_bad_answer_is_none() {
    let error: &[u8] = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
    let surplus: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, who is there?";
    for bytes in [error, surplus, b"SSH-2.0-x\r\n\r\n"] {
        let outcome = asked(Reuse::KeepAlive, move |mut client| {
            while client.request() && client.answer(bytes) {}
        });
        expect(&outcome, 0, &[(Failure::BadAnswer, 20)]);
    }
}

/// Data and end in one segment, so that no request can come between them.
fn answer_and_end(mut client: Client) {
    client.request();
    let socket = socket2::SockRef::from(&client.stream);
    socket.send_with_flags(HELLO, nix::libc::MSG_MORE).unwrap();
}

#[test]
fn a_server_may_close_an_idle_connection() {
    let outcome = asked(Reuse::KeepAlive, answer_and_end);
    expect(&outcome, 20, &[]);
    assert_eq!(outcome.connections_by_worker["one"], 20);
    let server = Server::start(answer_and_end);
    let outcome = run(Plan {
        length: Some(Duration::from_millis(200)),
        ..Plan::new(server.address)
    });
    expect(&outcome, server.requests(), &[]);
    assert_eq!(outcome.connections_by_worker["one"], server.connections());
}

const LAST: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\nX-Worker: one\r\n\r\nhello";

#[test]
fn the_last_answer_of_a_connection_is_honoured() {
    let outcome = asked(Reuse::KeepAlive, |mut client| {
        client.request();
        client.answer(LAST);
    });
    expect(&outcome, 20, &[]);
    assert_eq!(outcome.connections_by_worker["one"], 20);
}

#[test]
fn a_server_that_does_not_close_is_left() {
    let server = Server::start(|mut client| while client.request() && client.answer(LAST) {});
    let outcome = run(Plan {
        length: Some(Duration::from_millis(30)),
        ..twenty(server.address, Reuse::KeepAlive)
    });
    expect(&outcome, 3, &[]);
    assert_eq!(server.connections(), 3);
}

#[test]
fn chunks_may_dribble() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Worker: slow\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let outcome = asked(Reuse::KeepAlive, move |mut client| {
        client.stream.set_nodelay(true).unwrap();
        while client.request() && chunked.chunks(3).all(|piece| client.answer(piece)) {}
    });
    expect(&outcome, 20, &[]);
    assert_eq!(
        outcome.requests_by_worker,
        BTreeMap::from([("slow".into(), 20)])
    );
    assert_eq!(
        outcome.connections_by_worker,
        BTreeMap::from([("slow".into(), 1)])
    );
}

#[test]
fn the_end_may_be_the_connection_s_end() {
    let outcome = asked(Reuse::Fresh, |mut client| {
        client.request();
        client.answer(b"HTTP/1.0 200 OK\r\n\r\nhel");
        client.answer(b"lo");
    });
    expect(&outcome, 20, &[]);
    assert_eq!(
        outcome.requests_by_worker,
        BTreeMap::from([("-".into(), 20)])
    );
}

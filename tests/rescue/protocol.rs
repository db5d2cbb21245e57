//! What is known of the protocol decides how long an idle connection is held.

use super::*;

const RECORD: &[u8] = b"\x17\x03\x03\x00\x05hello";
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A rescuer that knows this of the endpoint, and another one of no interest.
fn rescuer(listen: SocketAddr, connect: SocketAddr, protocol: Protocol) -> Rescuer {
    let mut configuration = configuration(listen, connect);
    configuration.protocols = vec![EndpointProtocol {
        endpoint: listen,
        protocol,
    }];
    Rescuer::start(&configuration)
}

/// A connection on which a worker has answered a request.
fn served() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    served_by(&listener)
}

fn served_by(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut worker = listener.accept().unwrap().0;
    client.write_all(REQUEST).unwrap();
    read_head(&mut worker);
    worker.write_all(answer("old").as_bytes()).unwrap();
    let mut old = vec![0; answer("old").len()];
    client.read_exact(&mut old).unwrap();
    (client, worker)
}

/// As when the supervisor has more connections of the worker.
fn ask_whether_idle(rescuer: &Rescuer) {
    let worker = WORKER;
    rescuer.order(&Order::AllSent { worker }, &[]);
    assert_eq!(rescuer.next_report(), Report::Holding { worker, held: 1 });
}

fn nobody() -> SocketAddr {
    "127.0.0.1:1".parse().unwrap()
}

/// How long an idle client waits for the end, once the worker has closed.
fn held_for(protocol: Protocol) -> Duration {
    let (mut client, worker) = served();
    let rescuer = rescuer(worker.local_addr().unwrap(), nobody(), protocol);
    rescuer.hold_own(&[&worker]);
    rescuer.prepare_stop();
    drop(worker);
    let since = Instant::now();
    assert_eq!(read_all(&mut client), "");
    let time = since.elapsed();
    assert_eq!(rescuer.final_tally().idle, 1);
    time
}

#[test]
fn a_connection_that_may_be_anything_is_not_held_for_long() {
    for protocol in [Protocol::Unknown, Protocol::Opaque] {
        let time = held_for(protocol);
        assert!(time < Duration::from_secs(10), "{protocol:?}: {time:?}");
    }
}

#[test]
fn what_the_user_says_counts() {
    let (mut client, worker) = served();
    let address = serve(|stream| {
        read_head(stream);
        stream.write_all(answer("new").as_bytes()).unwrap();
    });
    let mut configuration = configuration(worker.local_addr().unwrap(), address);
    configuration.protocols[0].protocol = Protocol::Opaque;
    configuration.protocol = Some(Protocol::Http1);
    let rescuer = Rescuer::start(&configuration);
    rescuer.hold_own(&[&worker]);
    rescuer.wait_idle();
    rescuer.prepare_stop();
    drop(worker);
    // Longer than anything that is not known to be HTTP/1.
    rescuer.reports_nothing_for(Duration::from_millis(700));
    client.write_all(REQUEST).unwrap();
    assert!(read_all(&mut client).ends_with("new"));
}

#[test]
fn a_request_after_an_answer_shows_what_is_spoken_and_others_are_kept() {
    let address = serve(|stream| {
        read_head(stream);
        stream.write_all(answer("new").as_bytes()).unwrap();
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ((mut asks, worker), (mut idles, other)) = (served_by(&listener), served_by(&listener));
    let listen = listener.local_addr().unwrap();
    let rescuer = rescuer(listen, address, Protocol::Unknown);
    rescuer.hold_own(&[&worker, &other]);
    asks.write_all(REQUEST).unwrap();
    let learnt = rescuer.wait_learnt();
    assert_eq!(
        (learnt.endpoint, learnt.protocol),
        (listen, Protocol::Http1)
    );
    assert!(read_all(&mut asks).ends_with("new"));
    rescuer.wait_idle();
    rescuer.prepare_stop();
    drop((worker, other));
    rescuer.reports_nothing_for(Duration::from_millis(700));
    idles.write_all(REQUEST).unwrap();
    assert!(read_all(&mut idles).ends_with("new"));
}

#[test]
fn a_tls_record_shows_what_is_spoken_and_others_are_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ((mut asks, worker), (mut idles, other)) = (served_by(&listener), served_by(&listener));
    let listen = listener.local_addr().unwrap();
    // As after a reload that has brought TLS.
    let rescuer = rescuer(listen, nobody(), Protocol::Http1);
    rescuer.hold_own(&[&worker, &other]);
    rescuer.wait_idle();
    rescuer.prepare_stop();
    drop((worker, other));
    asks.write_all(RECORD).unwrap();
    let learnt = rescuer.wait_learnt();
    assert_eq!(
        (learnt.endpoint, learnt.protocol),
        (listen, Protocol::Opaque)
    );
    assert_eq!(read_all(&mut idles), "");
    let tally = rescuer.final_tally();
    assert_eq!((tally.idle, tally.given_up), (1, 1), "{tally:?}");
}

#[test]
fn who_begins_with_something_else_does_not_make_others_lose_theirs() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut idles, worker) = served_by(&listener);
    let mut scans = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let other = listener.accept().unwrap().0;
    let address = serve(|stream| {
        read_head(stream);
        stream.write_all(answer("new").as_bytes()).unwrap();
    });
    let listen = listener.local_addr().unwrap();
    let rescuer = rescuer(listen, address, Protocol::Http1);
    scans.write_all(b"\x16\x03\x01\x02\x00\x01\x00").unwrap();
    rescuer.hold_own(&[&worker, &other]);
    rescuer.prepare_stop();
    drop((worker, other));
    rescuer.reports_nothing_for(Duration::from_millis(700));
    idles.write_all(REQUEST).unwrap();
    assert!(read_all(&mut idles).ends_with("new"));
}

#[test]
fn who_waits_for_a_server_to_speak_first_does_not_wait_for_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(local).unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    let rescuer = rescuer(local, nobody(), Protocol::Unknown);
    let (worker, address) = (WORKER, local);
    rescuer.order(
        &Order::DrainBacklog { worker, address },
        &[listener.as_raw_fd()],
    );
    let since = Instant::now();
    assert_eq!(read_all(&mut client), "");
    assert!(since.elapsed() < Duration::from_secs(10));
}

/// What a worker sends without being asked ends with the worker.
#[test]
fn a_stream_that_is_cut_ends_at_once() {
    let (mut client, mut worker) = served();
    let rescuer = Rescuer::start(&configuration(worker.local_addr().unwrap(), nobody()));
    rescuer.hold_own(&[&worker]);
    rescuer.wait_idle();
    worker.write_all(b"event").unwrap();
    let mut event = [0; 5];
    client.read_exact(&mut event).unwrap();
    rescuer.prepare_stop();
    drop(worker);
    let since = Instant::now();
    assert_eq!(read_all(&mut client), "");
    assert!(since.elapsed() < Duration::from_secs(10));
    assert_eq!(rescuer.final_tally().finished, 1);
}

#[test]
fn a_stream_is_waited_for() {
    let (_client, mut worker) = served();
    let rescuer = Rescuer::start(&configuration(worker.local_addr().unwrap(), nobody()));
    rescuer.hold_own(&[&worker]);
    rescuer.wait_idle();
    worker.write_all(b"event").unwrap();
    ask_whether_idle(&rescuer);
    rescuer.reports_nothing_for(Duration::from_millis(700));
}

#[test]
fn what_is_opaque_and_active_is_waited_for() {
    let (mut client, mut worker) = served();
    let rescuer = Rescuer::start(&configuration(worker.local_addr().unwrap(), nobody()));
    rescuer.hold_own(&[&worker]);
    rescuer.wait_idle();
    client.write_all(b"\x81\x85frame").unwrap();
    // It thaws when the rescuer has seen what it is.
    assert!(channel::is_readable(&worker, TIMEOUT));
    worker.read_exact(&mut [0; 7]).unwrap();
    worker.write_all(b"\x81\x05frame").unwrap();
    ask_whether_idle(&rescuer);
    rescuer.reports_nothing_for(Duration::from_millis(700));
}

#[test]
fn a_connection_on_which_nothing_has_come_yet_is_waited_for() {
    let (_client, worker) = pair();
    let rescuer = Rescuer::start(&configuration(worker.local_addr().unwrap(), nobody()));
    let since = Instant::now();
    rescuer.hold_own(&[&worker]);
    rescuer.wait_idle();
    assert!(
        since.elapsed() >= Duration::from_millis(40),
        "{:?}",
        since.elapsed()
    );
}

//! Requests on connections whose worker has gone.

use super::*;

#[test]
fn a_request_on_an_adopted_connection_is_answered_by_the_new_generation() {
    let (heard, hears) = mpsc::channel();
    let address = serve(move |stream| {
        heard.send(read_head(stream)).unwrap();
        stream.write_all(answer("new").as_bytes()).unwrap();
    });
    let (got, tally) = ask(
        address,
        b"GET /a HTTP/1.1\r\nhOST: x\r\nX:  1 \r\nX: 2\r\n\r\n",
    );
    let request = hears.recv_timeout(TIMEOUT).unwrap();
    assert_eq!(
        request,
        "GET /a HTTP/1.1\r\nhOST: x\r\nX:  1 \r\nX: 2\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(
        got,
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nnew"
    );
    assert_eq!((tally.held, tally.rescued, tally.given_up), (1, 1, 0));
}

#[test]
fn a_request_that_came_before_the_worker_left_is_answered_too() {
    let address = serve(|stream| {
        read_head(stream);
        stream.write_all(answer("new").as_bytes()).unwrap();
    });
    let (mut client, worker) = pair();
    let rescuer = Rescuer::start(&configuration(worker.local_addr().unwrap(), address));
    rescuer.hold_own(&[&worker]);
    rescuer.wait_idle();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    rescuer.prepare_stop();
    drop(worker);
    assert!(read_all(&mut client).ends_with("\r\n\r\nnew"));
}

#[test]
fn bodies_of_every_kind_pass() {
    let address = serve(|stream| {
        let head = read_head(stream);
        let length = if head.contains("chunked") { 21 } else { 5 };
        if head.contains("Expect") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap().replace("\r\n", "|");
        stream.write_all(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nT: 1\r\n\r\n", body.len()).as_bytes()).unwrap();
    });
    let (got, _) = ask(
        address,
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    );
    assert!(
        got.ends_with("\r\n\r\n5\r\nhello\r\n0\r\nT: 1\r\n\r\n"),
        "{got}"
    );
    let chunked =
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: 1\r\n\r\n";
    let (got, _) = ask(address, &chunked[..chunked.len()]);
    assert!(got.contains("5|hello|0|"), "{got}");
    let (rescuer, mut client) = adopted(address);
    client
        .write_all(b"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .unwrap();
    assert_eq!(read_head(&mut client), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").unwrap();
    assert!(read_all(&mut client).contains("hello"));
    assert_eq!(rescuer.final_tally().rescued, 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let address = serve(|stream| {
        let path = read_head(stream).split(' ').nth(1).unwrap().to_owned();
        stream.write_all(answer(&path).as_bytes()).unwrap();
    });
    let requests = b"GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 1\r\n\r\nxGET /3 HTTP/1.1\r\n\r\n";
    let (got, tally) = ask(address, requests);
    let at = |path| {
        got.find(path)
            .unwrap_or_else(|| panic!("{path} is not in {got}"))
    };
    assert!(at("\r\n\r\n/1") < at("\r\n\r\n/2") && at("/2") < at("\r\n\r\n/3"));
    assert_eq!(got.matches("Connection: close").count(), 1);
    assert_eq!(tally.rescued, 3);
}

#[test]
fn answers_without_a_body_or_a_length_end() {
    let address = serve(|stream| {
        let reply = match read_head(stream).split(' ').next().unwrap() {
            "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
            "DELETE" => "HTTP/1.1 204 No Content\r\n\r\n",
            _ => "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        };
        stream.write_all(reply.as_bytes()).unwrap();
    });
    let (head, _) = ask(address, b"HEAD / HTTP/1.1\r\n\r\n");
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nConnection: close\r\n\r\n"
    );
    let (none, _) = ask(address, b"DELETE / HTTP/1.1\r\n\r\n");
    assert_eq!(none, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    let (old, _) = ask(address, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(
        old,
        "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nuntil the end"
    );
}

#[test]
fn an_upgrade_passes_both_ways() {
    let address = serve(|stream| {
        assert!(read_head(stream).contains("Connection: Upgrade"));
        stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n",
            )
            .unwrap();
        let mut echo = stream.try_clone().unwrap();
        let _ = io::copy(stream, &mut echo);
        echo.shutdown(Shutdown::Write).unwrap();
    });
    let (_rescuer, mut client) = adopted(address);
    client
        .write_all(b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        .unwrap();
    assert!(read_head(&mut client).contains("Connection: Upgrade"));
    for _ in 0..3 {
        client.write_all(b"\x81\x02hi").unwrap();
        let mut echo = [0; 4];
        client.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"\x81\x02hi");
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), "");
}

#[test]
fn a_large_body_passes_both_ways_in_little_memory() {
    const SIZE: u64 = 100 << 20;
    let address = serve(|stream| {
        read_head(stream);
        let length = io::copy(&mut stream.take(SIZE), &mut io::sink()).unwrap();
        stream
            .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes())
            .unwrap();
        assert_eq!(
            io::copy(&mut io::repeat(b'x').take(length), stream).unwrap(),
            SIZE
        );
    });
    let (rescuer, mut client) = adopted(address);
    client
        .write_all(format!("PUT / HTTP/1.1\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes())
        .unwrap();
    io::copy(&mut io::repeat(b'y').take(SIZE), &mut client).unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200"));
    assert_eq!(io::copy(&mut client, &mut io::sink()).unwrap(), SIZE);
    let status = std::fs::read_to_string(format!("/proc/{}/status", rescuer.process.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 30_000, "{peak} kB");
}

#[test]
fn what_is_not_http_gets_no_answer() {
    let address = serve(|_| panic!("nothing may come here"));
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"half a request\r\n",
    ] {
        let (rescuer, mut client) = adopted(address);
        client.write_all(bytes).unwrap();
        // Unread bytes make the close a reset.
        match client.read(&mut [0; 9]) {
            Ok(count) => assert_eq!(count, 0),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
        assert_eq!(rescuer.final_tally().reasons.get("not-http"), Some(&1));
    }
}

#[test]
fn a_client_that_dawdles_is_not_waited_for() {
    let address = serve(|_| panic!("nothing may come here"));
    let (mut client, worker) = pair();
    let mut configuration = configuration(worker.local_addr().unwrap(), address);
    configuration.header_timeout_ms = 200;
    let rescuer = Rescuer::start(&configuration);
    rescuer.hold_own(&[&worker]);
    rescuer.wait_idle();
    rescuer.prepare_stop();
    drop(worker);
    client.write_all(b"GET / HT").unwrap();
    assert_eq!(read_all(&mut client), "");
    assert_eq!(rescuer.final_tally().reasons.get("time-out"), Some(&1));
}

#[test]
fn an_idle_connection_is_closed_when_its_time_is_up() {
    let (mut client, worker) = pair();
    let mut configuration =
        configuration(worker.local_addr().unwrap(), "127.0.0.1:1".parse().unwrap());
    configuration.rescue_timeout_ms = 100;
    let rescuer = Rescuer::start(&configuration);
    rescuer.hold_own(&[&worker]);
    rescuer.wait_idle();
    rescuer.prepare_stop();
    drop(worker);
    assert_eq!(read_all(&mut client), "");
    assert_eq!(rescuer.final_tally().idle, 1);
}

#[test]
fn nothing_is_invented_when_there_is_no_server() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (got, tally) = ask(nobody, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(got, "");
    assert_eq!(tally.reasons.get("unreachable"), Some(&1));
}

//! Clients that are slow, greedy or silent: time and memory are bounded, and no answer is invented.

use super::*;

/// A client whose worker has gone, and a rescuer that waits for heads only so long.
fn adopted_within(header_timeout_ms: u64, connect: SocketAddr) -> (Rescuer, TcpStream) {
    let (client, worker) = pair();
    let rescuer = Rescuer::start(&Configuration {
        header_timeout_ms,
        ..configuration(worker.local_addr().unwrap(), connect)
    });
    rescuer.hold_own(&[&worker]);
    rescuer.wait_idle();
    rescuer.prepare_stop();
    drop(worker);
    (rescuer, client)
}

fn given_up(rescuer: &Rescuer) -> Vec<String> {
    rescuer.final_tally().reasons.into_keys().collect()
}

#[test]
fn a_head_that_does_not_end_is_waited_for_only_so_long() {
    let (rescuer, mut client) = adopted_within(300, "127.0.0.1:1".parse().unwrap());
    // A byte now and then does not prolong it.
    let mut head = b"GET / HTTP/1.1\r\nA: "
        .iter()
        .chain(std::iter::repeat(&b'x'));
    while client.write_all(&[*head.next().unwrap()]).is_ok() {
        thread::sleep(Duration::from_millis(20));
    }
    let mut rest = Vec::new();
    // It may end with a reset, since bytes of ours were not read.
    let _ = client.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    assert_eq!(given_up(&rescuer), ["time-out"]);
}

#[test]
fn a_head_may_be_long_but_not_too_long() {
    let address = serve(|stream| {
        let head = read_head(stream);
        let reply = answer(&head.len().to_string());
        stream.write_all(reply.as_bytes()).unwrap();
    });
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(60_000));
    let (got, tally) = ask(address, long.as_bytes());
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
    assert_eq!(tally.rescued, 1);
    let (rescuer, mut client) = adopted(address);
    let too_long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(70_000));
    let _ = client.write_all(too_long.as_bytes());
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    assert_eq!(given_up(&rescuer), ["long-head"]);
}

#[test]
fn a_client_that_never_reads_holds_the_server_back() {
    const SIZE: usize = 200 << 20;
    let (sent, sends) = mpsc::channel();
    let address = serve(move |stream| {
        read_head(stream);
        stream
            .set_write_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let (piece, mut count) = (vec![b'x'; 64 << 10], 0);
        // It ends when nobody takes anything for a second.
        while let Ok(some) = stream.write(&piece) {
            count += some;
            if count >= SIZE {
                break;
            }
        }
        sent.send(count).unwrap();
    });
    let (rescuer, mut client) = adopted(address);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let count = sends.recv_timeout(TIMEOUT).unwrap();
    assert!(count < SIZE / 2, "{count} bytes were taken for nobody");
    let status = std::fs::read_to_string(format!("/proc/{}/status", rescuer.process.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap().trim().trim_end_matches(" kB");
    assert!(peak.parse::<u64>().unwrap() < 30_000, "{peak} kB");
    drop(client);
    assert_eq!(rescuer.final_tally().rescued, 0);
}

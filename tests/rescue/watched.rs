//! Connections that a worker has, queues, and how the rescuer ends.

use super::*;

#[test]
fn a_connection_that_the_worker_keeps_is_not_read_from() {
    let (mut client, mut worker) = pair();
    let rescuer = Rescuer::start(&configuration(
        worker.local_addr().unwrap(),
        "127.0.0.1:1".parse().unwrap(),
    ));
    // Under another number, as after dup(2): the first look will not find it.
    let elsewhere = worker.try_clone().unwrap();
    rescuer.hold_own(&[&worker]);
    rescuer.wait_idle();
    rescuer.prepare_stop();
    drop(std::mem::replace(&mut worker, elsewhere));
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // It thaws after a while, and all of it is the worker's: nobody else reads what has come.
    assert!(channel::is_readable(&worker, TIMEOUT), "it does not thaw");
    assert_eq!(tcp::counters(&worker).unwrap().unread, 18);
    worker.set_read_timeout(Some(TIMEOUT)).unwrap();
    assert_eq!(read_head(&mut worker), "GET / HTTP/1.1\r\n\r\n");
    worker.write_all(b"HTTP/1.1 200 OK\r\n\r\nmine").unwrap();
    drop(worker);
    assert_eq!(read_all(&mut client), "HTTP/1.1 200 OK\r\n\r\nmine");
    assert_eq!(rescuer.final_tally().finished, 1);
}

#[test]
fn a_workers_own_close_is_not_held_back() {
    let (mut client, mut worker) = pair();
    let rescuer = Rescuer::start(&configuration(
        worker.local_addr().unwrap(),
        "127.0.0.1:1".parse().unwrap(),
    ));
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(read_head(&mut worker), "GET / HTTP/1.0\r\n\r\n");
    rescuer.hold_own(&[&worker]);
    worker.write_all(b"HTTP/1.0 200 OK\r\n\r\nbody").unwrap();
    drop(worker);
    let since = Instant::now();
    assert!(read_all(&mut client).ends_with("body"));
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(rescuer.final_tally().finished, 1);
}

#[test]
fn a_worker_is_not_idle_while_an_answer_is_due() {
    let (mut client, mut worker) = pair();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    read_head(&mut worker);
    let rescuer = Rescuer::start(&configuration(
        worker.local_addr().unwrap(),
        "127.0.0.1:1".parse().unwrap(),
    ));
    rescuer.hold_own(&[&worker]);
    rescuer.reports_nothing_for(Duration::from_millis(300));
    worker.write_all(answer("hi").as_bytes()).unwrap();
    rescuer.wait_idle();
}

#[test]
fn an_upload_thaws_at_once() {
    let (mut client, mut worker) = pair();
    client
        .write_all(b"POST / HTTP/1.1\r\nContent-Length: 9999\r\n\r\n")
        .unwrap();
    read_head(&mut worker);
    let rescuer = Rescuer::start(&configuration(
        worker.local_addr().unwrap(),
        "127.0.0.1:1".parse().unwrap(),
    ));
    rescuer.hold_own(&[&worker]);
    client.write_all(b"{\"some\": \"json\"}").unwrap();
    let mut fds = [nix::poll::PollFd::new(
        std::os::fd::AsFd::as_fd(&worker),
        nix::poll::PollFlags::POLLIN,
    )];
    assert_eq!(nix::poll::poll(&mut fds, 10_000_u16).unwrap(), 1);
}

#[test]
fn what_waits_in_a_queue_is_answered() {
    let address = serve(|stream| {
        read_head(stream);
        stream.write_all(answer("new").as_bytes()).unwrap();
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let mut early = TcpStream::connect(local).unwrap();
    early.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut late = TcpStream::connect(local).unwrap();
    let rescuer = Rescuer::start(&configuration(local, address));
    rescuer.order(
        &Order::DrainBacklog {
            worker: WORKER,
            address: local,
        },
        &[listener.as_raw_fd()],
    );
    assert!(read_all(&mut early).ends_with("new"));
    late.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(read_all(&mut late).ends_with("new"));
    drop((early, late));
    let tally = rescuer.final_tally();
    assert_eq!((tally.held, tally.rescued), (2, 2));
}

#[test]
fn it_ends_when_it_is_told_when_it_is_left_and_when_it_is_let_go_with_nothing() {
    let (mut client, worker) = pair();
    let mut ended = Rescuer::start(&configuration(
        worker.local_addr().unwrap(),
        "127.0.0.1:1".parse().unwrap(),
    ));
    ended.hold_own(&[&worker]);
    ended.wait_idle();
    ended.order(&Order::End { within_ms: 5000 }, &[]);
    assert!(ended.process.wait().unwrap().success());
    // It was the worker's still, and is thawed.
    client.write_all(b"x").unwrap();
    let mut fds = [nix::poll::PollFd::new(
        std::os::fd::AsFd::as_fd(&worker),
        nix::poll::PollFlags::POLLIN,
    )];
    assert_eq!(nix::poll::poll(&mut fds, 10_000_u16).unwrap(), 1);

    let (mut rescuer, mut client) = adopted("127.0.0.1:1".parse().unwrap());
    rescuer.leave();
    assert_eq!(read_all(&mut client), "");
    assert!(rescuer.process.wait().unwrap().success());

    let (mut rescuer, client) = adopted("127.0.0.1:1".parse().unwrap());
    drop(client);
    assert_eq!(rescuer.final_tally().held, 1);
    // It asks first, and again: the next worker may be near.
    for _ in 0..2 {
        assert_eq!(rescuer.next_report(), Report::Empty);
    }
    rescuer.leave();
    assert!(rescuer.process.wait().unwrap().success());
}

#[test]
fn a_term_signal_to_the_whole_service_does_not_end_it() {
    let address = serve(|stream| {
        read_head(stream);
        stream.write_all(answer("new").as_bytes()).unwrap();
    });
    let (rescuer, mut client) = adopted(address);
    let pid = Pid::from_raw(i32::try_from(rescuer.process.id()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(read_all(&mut client).ends_with("new"));
}

#[test]
fn hundreds_of_idle_connections_are_held_and_let_go() {
    let (_, probe) = pair();
    let rescuer = Rescuer::start(&configuration(
        probe.local_addr().unwrap(),
        "127.0.0.1:1".parse().unwrap(),
    ));
    let own = i32::try_from(std::process::id()).unwrap();
    let pairs: Vec<_> = (0..400).map(|_| pair()).collect();
    for some in pairs.chunks(200) {
        let numbers: Vec<RawFd> = some.iter().map(|(_, worker)| worker.as_raw_fd()).collect();
        let at = |number: &RawFd| Descriptor {
            pid: own,
            number: *number,
            inode: procfs::socket_inode_of(own, *number).unwrap(),
        };
        let connections = numbers.iter().map(at).collect();
        rescuer.order(
            &Order::Hold {
                worker: WORKER,
                pid: own,
                connections,
            },
            &numbers,
        );
    }
    rescuer.order(&Order::AllSent { worker: WORKER }, &[]);
    assert_eq!(
        rescuer.next_report(),
        Report::Holding {
            worker: WORKER,
            held: 400
        }
    );
    rescuer.wait_idle();
    rescuer.prepare_stop();
    let clients: Vec<TcpStream> = pairs.into_iter().map(|(client, _)| client).collect();
    drop(clients);
    let tally = rescuer.final_tally();
    assert_eq!((tally.held, tally.given_up), (400, 0));
    assert_eq!(tally.idle + tally.finished, 400);
}

#[test]
fn a_killed_rescuer_takes_nothing_with_it_that_cannot_be_thawed() {
    let (mut client, mut worker) = pair();
    let mut rescuer = Rescuer::start(&configuration(
        worker.local_addr().unwrap(),
        "127.0.0.1:1".parse().unwrap(),
    ));
    rescuer.hold_own(&[&worker]);
    rescuer.wait_idle();
    rescuer.process.kill().unwrap();
    rescuer.process.wait().unwrap();
    // As the supervisor does when it hears of this.
    tcp::thaw(&worker).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    read_head(&mut worker);
    worker.write_all(answer("mine").as_bytes()).unwrap();
    drop(worker);
    assert!(read_all(&mut client).ends_with("mine"));
}

#[test]
fn a_worker_that_nobody_follows_has_its_connections_alone_when_it_is_told() {
    let (mut client, worker) = pair();
    let local = worker.local_addr().unwrap();
    let rescuer = Rescuer::start(&Configuration {
        clients: Clients::Nobody {
            // The test's own process is the worker, and Rust's runtime handles this one.
            stop_signal: Signal::SIGSEGV as i32,
        },
        ..configuration(local, "127.0.0.1:1".parse().unwrap())
    });
    let inode = procfs::socket_inode_of(
        i32::try_from(std::process::id()).unwrap(),
        worker.as_raw_fd(),
    );
    let pid = i32::try_from(rescuer.process.id()).unwrap();
    let holds = || procfs::tree_sockets(pid).contains_key(&inode.unwrap());
    rescuer.hold_own(&[&worker]);
    rescuer.wait_idle();
    assert!(
        holds(),
        "it is watched, so that the worker is told in a lull"
    );
    rescuer.prepare_stop();
    // Else the client would not hear of the close, and its next request would be nobody's.
    assert!(!holds());
    drop(worker);
    assert_eq!(read_all(&mut client), "");
    let tally = rescuer.final_tally();
    assert_eq!((tally.held, tally.finished), (1, 1));
}

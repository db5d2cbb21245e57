//! The rescuer, as the supervisor starts it, with real connections. The test's own process is the
//! worker, except where a real server is.
#![allow(clippy::unwrap_used)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;
use reuseport_run::rescue::NAME;
use reuseport_run::sys::{channel, interrupt, pidfd, procfs, tcp};
use reuseport_run::wire::rescue::{
    Configuration, Descriptor, Forwarded, LONGEST, News, Order, Route, Tally, decode, encode,
};

const PATIENCE: Duration = Duration::from_secs(30);
const WORKER: u64 = 7;

/// A rescuer, and the supervisor's end of its channel.
struct Rescuer {
    process: Child,
    channel: OwnedFd,
}

impl Drop for Rescuer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configuration(listen: SocketAddr, connect: SocketAddr) -> Configuration {
    Configuration {
        endpoints: vec![Route { listen, connect }],
        rescue_timeout_ms: 20_000,
        header_timeout_ms: 10_000,
        drain_timeout_ms: 5_000,
        max: 1000,
        forwarded: Forwarded::Nothing,
    }
}

impl Rescuer {
    fn start(configuration: &Configuration) -> Self {
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_reuseport-run"))
            .arg0(NAME)
            .arg(String::from_utf8(encode(configuration)).unwrap())
            .stdin(Stdio::from(theirs))
            .process_group(0)
            .spawn()
            .unwrap();
        socket2::SockRef::from(&ours)
            .set_read_timeout(Some(PATIENCE))
            .unwrap();
        Self {
            process,
            channel: ours,
        }
    }

    fn order(&self, order: &Order, descriptors: &[RawFd]) {
        channel::send(&self.channel, &encode(order), descriptors).unwrap();
    }

    fn take(&self, pid: i32, connections: Vec<Descriptor>, descriptors: &[RawFd]) {
        self.order(
            &Order::Take {
                worker: WORKER,
                pid,
                connections,
            },
            descriptors,
        );
        self.order(&Order::Taken { worker: WORKER }, &[]);
        let held = descriptors.len();
        assert_eq!(
            self.news(),
            News::Holding {
                worker: WORKER,
                held
            }
        );
    }

    /// Takes a connection of this very process.
    fn take_own(&self, connection: &TcpStream) {
        let own = i32::try_from(std::process::id()).unwrap();
        let number = connection.as_raw_fd();
        let inode = procfs::socket_inode_of(own, number).unwrap();
        self.take(
            own,
            vec![Descriptor {
                pid: own,
                number,
                inode,
            }],
            &[number],
        );
    }

    fn news(&self) -> News {
        let mut bytes = [0; LONGEST];
        let (count, _) = channel::receive(&self.channel, &mut bytes).unwrap();
        decode(&bytes[..count]).unwrap()
    }

    fn wait_quiet(&self) {
        assert_eq!(self.news(), News::Quiet { worker: WORKER });
    }

    fn tell(&self) {
        self.order(&Order::Told { worker: WORKER }, &[]);
        assert_eq!(self.news(), News::Heard { worker: WORKER });
    }

    fn report(&self) -> Tally {
        self.order(&Order::Gone { worker: WORKER }, &[]);
        loop {
            if let News::Report { tally, .. } = self.news() {
                return tally;
            }
        }
    }
}

/// A connection: the client's end and the server's.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    (client, listener.accept().unwrap().0)
}

/// A server of the new generation: each connection goes to the handler.
fn serve(handler: impl Fn(&mut TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            handler(&mut stream);
        }
    });
    address
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn read_all(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// A client whose worker has gone while its connection was idle.
fn orphan(connect: SocketAddr) -> (Rescuer, TcpStream) {
    let (client, worker) = pair();
    let rescuer = Rescuer::start(&configuration(worker.local_addr().unwrap(), connect));
    rescuer.take_own(&worker);
    rescuer.wait_quiet();
    rescuer.tell();
    drop(worker);
    (rescuer, client)
}

/// What a client gets that sends this and reads until the end.
fn ask(connect: SocketAddr, request: &[u8]) -> (String, Tally) {
    let (rescuer, mut client) = orphan(connect);
    client.write_all(request).unwrap();
    let answer = read_all(&mut client);
    drop(client);
    (answer, rescuer.report())
}

fn answer(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_request_on_an_orphan_is_answered_by_the_new_generation() {
    let (heard, hears) = mpsc::channel();
    let address = serve(move |stream| {
        heard.send(read_head(stream)).unwrap();
        stream.write_all(answer("new").as_bytes()).unwrap();
    });
    let (got, tally) = ask(
        address,
        b"GET /a HTTP/1.1\r\nhOST: x\r\nX:  1 \r\nX: 2\r\n\r\n",
    );
    let request = hears.recv_timeout(PATIENCE).unwrap();
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
    rescuer.take_own(&worker);
    rescuer.wait_quiet();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    rescuer.tell();
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
    let (rescuer, mut client) = orphan(address);
    client
        .write_all(b"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .unwrap();
    assert_eq!(read_head(&mut client), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").unwrap();
    assert!(read_all(&mut client).contains("hello"));
    assert_eq!(rescuer.report().rescued, 1);
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
    let (_rescuer, mut client) = orphan(address);
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
    let (rescuer, mut client) = orphan(address);
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
        let (rescuer, mut client) = orphan(address);
        client.write_all(bytes).unwrap();
        // Unread bytes make the close a reset.
        match client.read(&mut [0; 9]) {
            Ok(count) => assert_eq!(count, 0),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
        assert_eq!(rescuer.report().reasons.get("not-http"), Some(&1));
    }
}

#[test]
fn a_connection_that_the_worker_keeps_is_not_read_from() {
    let (mut client, mut worker) = pair();
    let rescuer = Rescuer::start(&configuration(
        worker.local_addr().unwrap(),
        "127.0.0.1:1".parse().unwrap(),
    ));
    // Under another number, as after dup(2): the first look will not find it.
    let elsewhere = worker.try_clone().unwrap();
    rescuer.take_own(&worker);
    rescuer.wait_quiet();
    rescuer.tell();
    drop(std::mem::replace(&mut worker, elsewhere));
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // It thaws after a while, and all of it is the worker's.
    worker.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(read_head(&mut worker), "GET / HTTP/1.1\r\n\r\n");
    worker.write_all(b"HTTP/1.1 200 OK\r\n\r\nmine").unwrap();
    drop(worker);
    assert_eq!(read_all(&mut client), "HTTP/1.1 200 OK\r\n\r\nmine");
    assert_eq!(rescuer.report().finished, 1);
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
    rescuer.take_own(&worker);
    worker.write_all(b"HTTP/1.0 200 OK\r\n\r\nbody").unwrap();
    drop(worker);
    let since = Instant::now();
    assert!(read_all(&mut client).ends_with("body"));
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(rescuer.report().finished, 1);
}

#[test]
fn a_worker_is_not_quiet_while_it_owes_an_answer() {
    let (mut client, mut worker) = pair();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    read_head(&mut worker);
    let rescuer = Rescuer::start(&configuration(
        worker.local_addr().unwrap(),
        "127.0.0.1:1".parse().unwrap(),
    ));
    rescuer.take_own(&worker);
    let channel = socket2::SockRef::from(&rescuer.channel);
    channel
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let nothing = channel::receive(&rescuer.channel, &mut [0; 99]).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    channel.set_read_timeout(Some(PATIENCE)).unwrap();
    worker.write_all(answer("hi").as_bytes()).unwrap();
    rescuer.wait_quiet();
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
    rescuer.take_own(&worker);
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
        &Order::Queue {
            worker: WORKER,
            address: local,
        },
        &[listener.as_raw_fd()],
    );
    assert!(read_all(&mut early).ends_with("new"));
    late.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(read_all(&mut late).ends_with("new"));
    drop((early, late));
    let tally = rescuer.report();
    assert_eq!((tally.held, tally.rescued), (2, 2));
}

#[test]
fn a_client_that_dawdles_is_not_waited_for() {
    let address = serve(|_| panic!("nothing may come here"));
    let (mut client, worker) = pair();
    let mut configuration = configuration(worker.local_addr().unwrap(), address);
    configuration.header_timeout_ms = 200;
    let rescuer = Rescuer::start(&configuration);
    rescuer.take_own(&worker);
    rescuer.wait_quiet();
    rescuer.tell();
    drop(worker);
    client.write_all(b"GET / HT").unwrap();
    assert_eq!(read_all(&mut client), "");
    assert_eq!(rescuer.report().reasons.get("time-out"), Some(&1));
}

#[test]
fn an_idle_orphan_is_closed_when_its_time_is_up() {
    let (mut client, worker) = pair();
    let mut configuration =
        configuration(worker.local_addr().unwrap(), "127.0.0.1:1".parse().unwrap());
    configuration.rescue_timeout_ms = 100;
    let rescuer = Rescuer::start(&configuration);
    rescuer.take_own(&worker);
    rescuer.wait_quiet();
    rescuer.tell();
    drop(worker);
    assert_eq!(read_all(&mut client), "");
    assert_eq!(rescuer.report().idle, 1);
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

#[test]
fn it_ends_when_it_is_told_when_it_is_left_and_when_nothing_remains() {
    let (mut client, worker) = pair();
    let mut told = Rescuer::start(&configuration(
        worker.local_addr().unwrap(),
        "127.0.0.1:1".parse().unwrap(),
    ));
    told.take_own(&worker);
    told.wait_quiet();
    told.order(&Order::End { within_ms: 5000 }, &[]);
    assert!(told.process.wait().unwrap().success());
    // It was the worker's still, and is thawed.
    client.write_all(b"x").unwrap();
    let mut fds = [nix::poll::PollFd::new(
        std::os::fd::AsFd::as_fd(&worker),
        nix::poll::PollFlags::POLLIN,
    )];
    assert_eq!(nix::poll::poll(&mut fds, 10_000_u16).unwrap(), 1);

    let (mut rescuer, mut client) = orphan("127.0.0.1:1".parse().unwrap());
    let (_, unused) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .unwrap();
    drop(std::mem::replace(&mut rescuer.channel, unused));
    assert_eq!(read_all(&mut client), "");
    assert!(rescuer.process.wait().unwrap().success());

    let (mut rescuer, client) = orphan("127.0.0.1:1".parse().unwrap());
    drop(client);
    assert_eq!(rescuer.report().held, 1);
    assert!(rescuer.process.wait().unwrap().success());
}

#[test]
fn a_term_signal_to_the_whole_service_does_not_end_it() {
    let address = serve(|stream| {
        read_head(stream);
        stream.write_all(answer("new").as_bytes()).unwrap();
    });
    let (rescuer, mut client) = orphan(address);
    let pid = Pid::from_raw(i32::try_from(rescuer.process.id()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(read_all(&mut client).ends_with("new"));
}

#[test]
fn a_thousand_idle_orphans_cost_little() {
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
            &Order::Take {
                worker: WORKER,
                pid: own,
                connections,
            },
            &numbers,
        );
    }
    rescuer.order(&Order::Taken { worker: WORKER }, &[]);
    assert_eq!(
        rescuer.news(),
        News::Holding {
            worker: WORKER,
            held: 400
        }
    );
    rescuer.wait_quiet();
    rescuer.tell();
    let clients: Vec<TcpStream> = pairs.into_iter().map(|(client, _)| client).collect();
    drop(clients);
    let tally = rescuer.report();
    assert_eq!((tally.held, tally.given_up), (400, 0));
    assert_eq!(tally.idle + tally.finished, 400);
}

/// A real server that nobody told of us, and clients that are never idle.
struct Busy {
    server: Child,
    address: SocketAddr,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn python() -> Option<Busy> {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Command::new("python3")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixture/httpd.py"
        ))
        .args([&address.port().to_string(), "127.0.0.1", "--keep-alive"])
        .stdout(Stdio::null())
        .process_group(0)
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let busy = Busy { server, address };
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "the server does not listen");
        thread::yield_now();
    }
    Some(busy)
}

/// Sends requests without a pause until an answer says close or `stop` is heard; how many were
/// answered, and the last answer.
fn press(address: SocketAddr, stop: &mpsc::Receiver<()>) -> (usize, io::Result<String>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for count in 0.. {
        let answer = stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .and_then(|()| read_answer(&mut stream));
        let is_last = !answer.as_ref().is_ok_and(|answer| answer.contains("hello"))
            || stop.try_recv().is_ok();
        if is_last
            || answer
                .as_ref()
                .is_ok_and(|answer| answer.contains("Connection: close"))
        {
            return (count, answer);
        }
    }
    unreachable!()
}

fn read_answer(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = vec![0; 4096];
    let mut length = 0;
    while !bytes[..length].ends_with(b"hello\n") {
        match stream.read(&mut bytes[length..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => length += count,
        }
    }
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// The connections of a server's process.
fn connections_of(pid: i32) -> (Vec<Descriptor>, Vec<OwnedFd>) {
    let process = pidfd::pidfd_open(pid).unwrap();
    let mut found = (Vec::new(), Vec::new());
    for (number, inode) in procfs::socket_descriptors(pid).unwrap() {
        // A connection that has just been closed is none.
        let Ok(socket) = pidfd::pidfd_getfd(&process, number) else {
            continue;
        };
        if socket2::SockRef::from(&socket).peer_addr().is_ok() {
            found.0.push(Descriptor { pid, number, inode });
            found.1.push(socket);
        }
    }
    found
}

#[test]
fn a_busy_server_that_dies_at_once_when_told_loses_no_request() {
    let Some(mut old) = python() else {
        return eprintln!(
            "skipped: a_busy_server_that_dies_at_once_when_told_loses_no_request needs python3"
        );
    };
    let address = serve(|stream| {
        read_head(stream);
        stream.write_all(answer("hello\n").as_bytes()).unwrap();
    });
    let pid = i32::try_from(old.server.id()).unwrap();
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (stop, stopped) = mpsc::channel();
            let target = old.address;
            (stop, thread::spawn(move || press(target, &stopped)))
        })
        .collect();
    let deadline = Instant::now() + PATIENCE;
    while connections_of(pid).0.len() < 16 {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    let rescuer = Rescuer::start(&configuration(old.address, address));
    let (connections, sockets) = connections_of(pid);
    let numbers: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
    let since = Instant::now();
    rescuer.take(pid, connections, &numbers);
    drop(sockets);
    let mut kicks = 0;
    loop {
        match rescuer.news() {
            News::Quiet { .. } => break,
            News::Stuck { threads, .. } => {
                kicks += interrupt::interrupt_threads(&threads).unwrap();
                rescuer.order(&Order::Interrupted { worker: WORKER }, &[]);
            }
            other => panic!("{other:?}"),
        }
    }
    eprintln!(
        "quiet after {:?} and {kicks} interruptions",
        since.elapsed()
    );
    rescuer.tell();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    old.server.wait().unwrap();
    let last: Vec<_> = clients
        .into_iter()
        .map(|(_stop, client)| client.join().unwrap())
        .collect();
    let tally = rescuer.report();
    for (count, answer) in last {
        let answer =
            answer.unwrap_or_else(|error| panic!("request {count} was lost: {error}; {tally:?}"));
        assert!(answer.contains("Connection: close"), "{answer}");
    }
    assert_eq!(
        (tally.held, tally.rescued, tally.given_up),
        (16, 16, 0),
        "{tally:?}"
    );
}

#[test]
fn a_killed_rescuer_takes_nothing_with_it_that_cannot_be_thawed() {
    let (mut client, mut worker) = pair();
    let mut rescuer = Rescuer::start(&configuration(
        worker.local_addr().unwrap(),
        "127.0.0.1:1".parse().unwrap(),
    ));
    rescuer.take_own(&worker);
    rescuer.wait_quiet();
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

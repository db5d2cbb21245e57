//! Real servers that know nothing of the rescuer, and clients that are never idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const CLIENTS: usize = 16;

/// A server of the old generation.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.pid());
        let _ = nix::sys::signal::killpg(group, Signal::SIGKILL);
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts a command, in which `PORT` stands for the port; none if there is no such command, or
    /// it ends at once.
    fn start(command: &str) -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let command = command.replace("PORT", &address.port().to_string());
        let mut words = command.split(' ');
        let process = Command::new(words.next()?)
            .args(words)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixture"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .ok()?;
        let mut server = Self { process, address };
        let deadline = Instant::now() + TIMEOUT;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "the server does not listen");
            if server.process.try_wait().unwrap().is_some() {
                return None;
            }
            thread::yield_now();
        }
        Some(server)
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.process.id()).unwrap()
    }

    /// The connections of all its processes, as the supervisor finds and fetches them.
    fn connections(&self) -> (Vec<Descriptor>, Vec<OwnedFd>) {
        let mut found = (Vec::new(), Vec::new());
        for pid in procfs::descendants(self.pid()) {
            let process = pidfd::pidfd_open(pid).unwrap();
            for (number, inode) in procfs::socket_descriptors(pid).unwrap() {
                // A connection that has just been closed is none.
                let Ok(socket) = pidfd::pidfd_getfd(&process, number) else {
                    continue;
                };
                let peer = socket2::SockRef::from(&socket).peer_addr();
                if peer.is_ok_and(|peer| peer.is_ipv4()) {
                    found.0.push(Descriptor { pid, number, inode });
                    found.1.push(socket);
                }
            }
        }
        found
    }
}

/// Sends requests without a pause until the server wants no more; how many were answered before
/// the last one, and the last answer.
fn press(address: SocketAddr, greeted: &AtomicUsize) -> (usize, io::Result<String>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut count = 0;
    loop {
        let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        match asked.and_then(|()| read_answer(&mut stream)) {
            Ok(answer) if !answer.to_lowercase().contains("connection: close") => {
                count += 1;
                greeted.fetch_add(usize::from(count == 1), Ordering::Relaxed);
            }
            last => return (count, last),
        }
    }
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

/// Does what the supervisor does until the worker is idle; how many threads were interrupted.
fn wait_until_idle(rescuer: &Rescuer, server: &Server) -> usize {
    let (connections, sockets) = server.connections();
    let numbers: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
    rescuer.hold(server.pid(), connections, &numbers);
    let mut interrupted = 0;
    loop {
        match rescuer.next_report() {
            Report::Idle { .. } => return interrupted,
            Report::BlockedReaders { threads, .. } => {
                interrupted += stop_threads(threads).1;
                rescuer.order(&Order::ReadersInterrupted { worker: WORKER }, &[]);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A busy server is told to stop, and no client notices more than an answer that says close.
fn retire(test: &str, command: &str) {
    let Some(mut old) = Server::start(command) else {
        return eprintln!("skipped: {test} needs {command}");
    };
    let new = serve(|stream| {
        read_head(stream);
        stream.write_all(answer("hello\n").as_bytes()).unwrap();
    });
    let target = old.address;
    let greeted = Arc::new(AtomicUsize::new(0));
    let client = |_| {
        let greeted = Arc::clone(&greeted);
        thread::spawn(move || press(target, &greeted))
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let deadline = Instant::now() + TIMEOUT;
    while greeted.load(Ordering::Relaxed) < CLIENTS {
        assert!(Instant::now() < deadline, "the clients are not served");
        thread::yield_now();
    }
    let rescuer = Rescuer::start(&configuration(old.address, new));
    let since = Instant::now();
    let interrupted = wait_until_idle(&rescuer, &old);
    println!(
        "{test}: idle after {:?}, {interrupted} interruptions",
        since.elapsed()
    );
    let stopped = rescuer.stop_readers();
    kill(Pid::from_raw(old.pid()), Signal::SIGTERM).unwrap();
    drop(stopped);
    old.process.wait().unwrap();
    let last: Vec<_> = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .collect();
    let tally = rescuer.final_tally();
    println!("{test}: {tally:?}");
    for (count, answer) in last {
        let answer =
            answer.unwrap_or_else(|error| panic!("request {count} was lost: {error}; {tally:?}"));
        assert!(
            answer.to_lowercase().contains("connection: close"),
            "{answer}"
        );
    }
    assert!(tally.held >= CLIENTS as u64, "{tally:?}");
    assert_eq!(tally.given_up, 0, "{tally:?}");
}

#[test]
fn a_server_with_a_blocking_thread_for_each_connection_loses_no_request() {
    let test = "a_server_with_a_blocking_thread_for_each_connection_loses_no_request";
    retire(test, "python3 httpd.py PORT 127.0.0.1 --keep-alive");
}

#[test]
fn a_server_with_an_event_loop_that_dies_at_once_loses_no_request() {
    let test = "a_server_with_an_event_loop_that_dies_at_once_loses_no_request";
    retire(test, "node http.js PORT 127.0.0.1 --die-at-once");
}

#[test]
fn a_server_with_an_event_loop_that_drains_loses_no_request() {
    let test = "a_server_with_an_event_loop_that_drains_loses_no_request";
    retire(test, "uvicorn --no-access-log --port PORT app:asgi");
}

#[test]
fn a_server_with_processes_loses_no_request() {
    let test = "a_server_with_processes_loses_no_request";
    retire(
        test,
        "gunicorn -k gthread --threads 32 -b 127.0.0.1:PORT app:wsgi",
    );
}

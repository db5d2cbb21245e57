//! A rescuer, and both ends of the connections that it is given.

use reuseport_run::sys::interrupt::StoppedThreads;

use super::*;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const WORKER: u64 = 7;

/// A rescuer, and the supervisor's end of its channel.
pub(crate) struct Rescuer {
    pub(crate) process: Child,
    pub(crate) channel: OwnedFd,
}

impl Drop for Rescuer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn configuration(listen: SocketAddr, connect: SocketAddr) -> Configuration {
    Configuration {
        endpoints: vec![Route { listen, connect }],
        rescue_timeout_ms: 20_000,
        header_timeout_ms: 10_000,
        drain_timeout_ms: 5_000,
        max_connections: 1000,
        clients: Clients::Local,
        owner: 0,
        forwarded: Forwarded::Nothing,
        protocols: vec![EndpointProtocol {
            endpoint: listen,
            protocol: Protocol::Http1,
        }],
        protocol: None,
    }
}

impl Rescuer {
    pub(crate) fn start(configuration: &Configuration) -> Self {
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
            .set_read_timeout(Some(TIMEOUT))
            .unwrap();
        Self {
            process,
            channel: ours,
        }
    }

    pub(crate) fn order(&self, order: &Order, descriptors: &[RawFd]) {
        channel::send(&self.channel, &encode(order), descriptors).unwrap();
    }

    pub(crate) fn hold(&self, pid: i32, connections: Vec<Descriptor>, descriptors: &[RawFd]) {
        self.order(
            &Order::Hold {
                worker: WORKER,
                pid,
                connections,
            },
            descriptors,
        );
        self.order(&Order::AllSent { worker: WORKER }, &[]);
        let held = descriptors.len();
        assert_eq!(
            self.next_report(),
            Report::Holding {
                worker: WORKER,
                held
            }
        );
    }

    /// Takes connections of this very process.
    pub(crate) fn hold_own(&self, connections: &[&TcpStream]) {
        let own = i32::try_from(std::process::id()).unwrap();
        let numbers: Vec<RawFd> = connections.iter().map(|it| it.as_raw_fd()).collect();
        let descriptor = |number: &RawFd| Descriptor {
            pid: own,
            number: *number,
            inode: procfs::socket_inode_of(own, *number).unwrap(),
        };
        self.hold(own, numbers.iter().map(descriptor).collect(), &numbers);
    }

    pub(crate) fn next_report(&self) -> Report {
        let mut bytes = [0; MAX_MESSAGE_LEN];
        loop {
            let (count, _) = channel::receive(&self.channel, &mut bytes).unwrap();
            match decode(&bytes[..count]).unwrap() {
                Report::Progress { .. }
                | Report::Accounted { .. }
                | Report::Left { count: 0, .. }
                | Report::Protocol(_) => {}
                report => return report,
            }
        }
    }

    pub(crate) fn wait_learnt(&self) -> EndpointProtocol {
        let mut bytes = [0; MAX_MESSAGE_LEN];
        loop {
            let (count, _) = channel::receive(&self.channel, &mut bytes).unwrap();
            if let Report::Protocol(learnt) = decode(&bytes[..count]).unwrap() {
                return learnt;
            }
        }
    }

    /// But for how far it is.
    pub(crate) fn reports_nothing_for(&self, time: Duration) {
        let channel = socket2::SockRef::from(&self.channel);
        channel.set_read_timeout(Some(time)).unwrap();
        let mut bytes = [0; MAX_MESSAGE_LEN];
        let error = loop {
            match channel::receive(&self.channel, &mut bytes) {
                Ok((count, _)) => {
                    let report = decode(&bytes[..count]).unwrap();
                    let is_nothing =
                        matches!(report, Report::Progress { .. } | Report::Protocol(_));
                    assert!(is_nothing, "{report:?}");
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        channel.set_read_timeout(Some(TIMEOUT)).unwrap();
    }

    pub(crate) fn wait_idle(&self) {
        assert_eq!(self.next_report(), Report::Idle { worker: WORKER });
    }

    /// Says that the stop signal comes; the threads that are to be stopped before it.
    pub(crate) fn prepare_stop(&self) -> Vec<i32> {
        self.order(&Order::PrepareStop { worker: WORKER }, &[]);
        match self.next_report() {
            Report::Readers {
                threads: readers, ..
            } => readers,
            other => panic!("{other:?}"),
        }
    }

    /// Stops the threads that the stop signal would wake in their reads, as the supervisor does.
    pub(crate) fn stop_readers(&self) -> StoppedThreads {
        loop {
            let stopped = stop_threads(self.prepare_stop()).0;
            self.order(&Order::ReadersStopped { worker: WORKER }, &[]);
            match self.next_report() {
                Report::StopChecked { may_stop: true, .. } => return stopped,
                Report::StopChecked { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Closes the channel, as a supervisor does that is gone or lets it go.
    pub(crate) fn leave(&mut self) {
        let (_, unused) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .unwrap();
        drop(std::mem::replace(&mut self.channel, unused));
    }

    pub(crate) fn final_tally(&self) -> Tally {
        self.order(&Order::WorkerExited { worker: WORKER }, &[]);
        loop {
            if let Report::Finished { tally, .. } = self.next_report() {
                return tally;
            }
        }
    }
}

/// Stops threads and waits until they stand still; how many do.
pub(crate) fn stop_threads(threads: Vec<i32>) -> (StoppedThreads, usize) {
    let (wake, woken) = mpsc::channel();
    let mut stopped = StoppedThreads::begin(threads, move || wake.send(()).unwrap()).unwrap();
    woken.recv().unwrap();
    let count = stopped.poll().unwrap().unwrap();
    (stopped, count)
}

/// A connection: the client's end and the server's.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    client.set_write_timeout(Some(TIMEOUT)).unwrap();
    (client, listener.accept().unwrap().0)
}

/// A server of the new generation: each connection goes to the handler.
pub(crate) fn serve(handler: impl Fn(&mut TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            handler(&mut stream);
        }
    });
    address
}

pub(crate) fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && stream.take(1).read_to_end(&mut head).unwrap() > 0 {}
    String::from_utf8(head).unwrap()
}

pub(crate) fn read_all(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// A client whose worker has gone while its connection was idle.
pub(crate) fn adopted(connect: SocketAddr) -> (Rescuer, TcpStream) {
    let (client, worker) = pair();
    let rescuer = Rescuer::start(&configuration(worker.local_addr().unwrap(), connect));
    rescuer.hold_own(&[&worker]);
    rescuer.wait_idle();
    rescuer.prepare_stop();
    drop(worker);
    (rescuer, client)
}

/// What a client gets that sends this and reads until the end.
pub(crate) fn ask(connect: SocketAddr, request: &[u8]) -> (String, Tally) {
    let (rescuer, mut client) = adopted(connect);
    client.write_all(request).unwrap();
    let answer = read_all(&mut client);
    drop(client);
    (answer, rescuer.final_tally())
}

pub(crate) fn answer(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

//! A server that does to each connection what the test says.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

pub const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Worker: one\r\n\r\nhello";

pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    connections: AtomicU64,
    requests: AtomicU64,
    ended: AtomicBool,
}

/// A connection, from the server's side.
pub struct Client {
    pub stream: TcpStream,
    /// How many came before it.
    pub number: u64,
    /// Whether the client said that its last request is the connection's last.
    pub last: bool,
    shared: Arc<Shared>,
}

impl Client {
    /// Takes a request; false at the end of the connection.
    pub fn request(&mut self) -> bool {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            match self.stream.read(&mut byte) {
                Ok(1) => request.push(byte[0]),
                _ => return false,
            }
        }
        self.last = String::from_utf8_lossy(&request).contains("Connection: close");
        self.shared.requests.fetch_add(1, Ordering::SeqCst);
        true
    }

    pub fn answer(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Ends the connection without a word.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}

impl Server {
    /// Every connection in a thread of its own.
    pub fn start(serve: impl Fn(Client) + Send + Sync + 'static) -> Self {
        let serve = Arc::new(serve);
        Self::one_at_a_time(move |client| {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(client));
        })
    }

    /// One connection after the other.
    pub fn one_at_a_time(serve: impl Fn(Client) + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let server = Self {
            address,
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                serve(Client {
                    stream: stream.unwrap(),
                    last: false,
                    number: shared.connections.fetch_add(1, Ordering::SeqCst),
                    shared: Arc::clone(&shared),
                });
            }
        });
        server
    }

    /// Answers everything, and closes when it is asked to.
    pub fn good() -> Self {
        Self::start(|mut client| while client.request() && client.answer(HELLO) && !client.last {})
    }

    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Waits until so many have been read: what is sent is not read at once.
    pub fn wait_for_requests(&self, count: u64) {
        let deadline = Instant::now() + crate::TEST_TIMEOUT;
        while self.requests() < count {
            assert!(Instant::now() < deadline, "{} requests", self.requests());
            thread::yield_now();
        }
        assert_eq!(self.requests(), count);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

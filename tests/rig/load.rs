//! Load: n clients in a closed loop, each with one request under way, and a class for every
//! failure.
//!
//! A client connects, asks, reads the answer, and starts again: on the same connection
//! ([`Mode::KeepAlive`]) or on a new one ([`Mode::Fresh`]). It behaves as a good client does: it
//! honours `Connection: close`, and before it asks on a used connection it looks whether the
//! server has closed it. What fails all the same is what a user would see, and nothing is retried
//! in secret: one failed attempt is one failure.
//!
//! All clients live in one thread, so that a machine with two cores has one left for the servers.

mod answer;
mod client;
mod exchange;
mod outcome;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

pub use exchange::Exchange;
pub use outcome::{Failure, Outcome, Setback};

use client::Client;
use outcome::Tally;

/// One request a connection, or many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    Fresh,
    #[value(name = "keepalive")]
    KeepAlive,
}

/// What load to make.
#[derive(Clone, Debug)]
pub struct Plan {
    pub address: SocketAddr,
    pub path: String,
    pub connections: usize,
    pub mode: Mode,
    /// The longest that one request may take, connecting included.
    pub timeout: Duration,
    /// How long a client rests after each answer.
    pub pause: Duration,
    /// What is said instead of HTTP/1.
    pub exchange: Option<Exchange>,
    /// After so many requests a client closes its connection, where it speaks no HTTP/1.
    pub exchanges: u64,
}

impl Plan {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            path: "/".into(),
            connections: 32,
            mode: Mode::Fresh,
            timeout: Duration::from_secs(10),
            pause: Duration::ZERO,
            exchange: None,
            exchanges: u64::MAX,
        }
    }

    pub fn keep_alive(self) -> Self {
        Self {
            mode: Mode::KeepAlive,
            ..self
        }
    }

    pub fn connections(self, connections: usize) -> Self {
        Self {
            connections,
            ..self
        }
    }

    fn request(&self) -> Vec<u8> {
        let connection = match self.mode {
            Mode::Fresh => "close",
            Mode::KeepAlive => "keep-alive",
        };
        let Self { path, address, .. } = self;
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: {connection}\r\n\r\n").into()
    }
}

/// A running load. Dropped without [`stop`](Load::stop), it ends with the requests under way.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<Outcome>>,
}

#[derive(Debug, Default)]
struct Shared {
    answered: AtomicU64,
    failed: AtomicU64,
    stop: AtomicBool,
}

impl Load {
    pub fn start(plan: Plan) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token(usize::MAX))?;
        let shared = Arc::new(Shared::default());
        let lane = Lane::new(plan, poll, Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name("load".into())
            .spawn(move || lane.run())?;
        Ok(Self {
            shared,
            waker,
            thread: Some(thread),
        })
    }

    /// Requests that were answered well so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Requests that failed so far.
    pub fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Waits until `more` further requests are answered: progress, not time. False after
    /// `timeout`.
    pub fn wait_answered(&self, more: u64, timeout: Duration) -> bool {
        let goal = self.answered() + more;
        let deadline = Instant::now() + timeout;
        while self.answered() < goal {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Lets the requests under way end, starts no more, and tells how all of them went.
    pub fn stop(mut self) -> Outcome {
        self.signal_stop();
        let thread = self.thread.take();
        thread
            .and_then(|thread| thread.join().ok())
            .expect("the load thread panicked")
    }

    fn signal_stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // An eventfd that cannot be written is full: the thread wakes all the same.
        let _ = self.waker.wake();
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.signal_stop();
    }
}

/// What the clients have in common while they run.
struct Lane {
    poll: Poll,
    clients: Vec<Client>,
    ground: Ground,
    shared: Arc<Shared>,
}

/// What a client needs to take a step.
struct Ground {
    plan: Plan,
    request: Vec<u8>,
    registry: mio::Registry,
    tally: Tally,
    stopping: bool,
}

impl Lane {
    fn new(plan: Plan, poll: Poll, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        let clients = (0..plan.connections)
            .map(|n| Client::new(Token(n), now))
            .collect();
        let registry = poll
            .registry()
            .try_clone()
            .expect("an epoll descriptor can be duplicated");
        let request = plan.request();
        let ground = Ground {
            plan,
            request,
            registry,
            tally: Tally::new(now),
            stopping: false,
        };
        Self {
            poll,
            clients,
            ground,
            shared,
        }
    }

    fn run(mut self) -> Outcome {
        let mut events = Events::with_capacity(1024);
        while self.clients.iter().any(|client| !client.finished()) {
            self.ground.stopping = self.shared.stop.load(Ordering::Relaxed);
            self.wake_due();
            self.publish();
            if let Err(error) = self.poll.poll(&mut events, Some(self.poll_timeout())) {
                assert_eq!(
                    error.kind(),
                    io::ErrorKind::Interrupted,
                    "epoll fails: {error}"
                );
                continue;
            }
            for event in &events {
                if let Some(client) = self.clients.get_mut(event.token().0) {
                    client.advance(&mut self.ground);
                }
            }
        }
        self.publish();
        self.ground.tally.outcome()
    }

    /// Advances the clients whose pause or whose time-out is over.
    fn wake_due(&mut self) {
        let now = Instant::now();
        for client in &mut self.clients {
            if client.due(&self.ground, now) {
                client.advance(&mut self.ground);
            }
        }
    }

    /// How long the poll may wait; zero when all clients have finished.
    fn poll_timeout(&self) -> Duration {
        let deadlines = self
            .clients
            .iter()
            .filter_map(|client| client.deadline(&self.ground));
        let next = deadlines.min();
        next.map_or(Duration::ZERO, |next| {
            next.saturating_duration_since(Instant::now())
        })
    }

    fn publish(&self) {
        self.shared
            .answered
            .store(self.ground.tally.answered(), Ordering::Relaxed);
        self.shared
            .failed
            .store(self.ground.tally.failed(), Ordering::Relaxed);
    }
}

/// Requests per worker.
pub type PerWorker = BTreeMap<String, u64>;

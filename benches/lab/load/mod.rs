//! Load: many connections from one thread, in a closed or an open loop, and what became of every
//! request.
//!
//! In a **closed** loop each connection asks again as soon as it is answered. That finds out how
//! much a server can do, and flatters its latency: while the server stands still, nobody asks, so
//! the standstill is measured once for each connection, and not by all who would have come meanwhile.
//!
//! In an **open** loop requests are due at times that are fixed beforehand ([`Spacing`]), and the
//! latency of each counts from then on, not from when it could be sent. So a standstill shows in every
//! request that was due meanwhile (what else is called coordinated omission). Over
//! [`Reuse::KeepAlive`] a request waits for a free connection, the one that has been idle for the
//! longest; with [`Reuse::Fresh`] each opens its own at once, as many as it may take.
//!
//! ```text
//!   engine ──┬──► arrivals ────┬──► schedule    when requests are due
//!            │                 └──► alarm       to be there in time
//!            ├──► connection ──┬──► sources     from which address
//!            │                 └──► answer      as far as it has come
//!            ├──► timers       whose patience is over
//!            ├──► window       which requests count
//!            └──► outcome      counts, histograms, timeline
//! ```
//!
//! Connections are opened by their first request, the closed loop's at 10,000 a second, since the
//! start alone would overflow the server's queue of connections otherwise. A warm-up should be long
//! enough for all of them.
//!
//! It is fast by doing little: one thread, edge-triggered epoll, one write and one read a request and
//! no allocation; whether it was fast enough is in [`Outcome::lateness`] and [`Outcome::own_usage`].
// Every bench uses its own part of the lab, in a program of its own.
#![allow(dead_code, unused_imports, unreachable_pub)]

mod alarm;
#[path = "../../../tests/rig/load/answer.rs"]
mod answer;
#[cfg(test)]
mod answer_tests;
mod arrivals;
mod connection;
mod engine;
mod outcome;
mod schedule;
mod sources;
mod timers;
mod window;

use std::io;
use std::net::SocketAddr;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::{Poll, Waker};

pub use super::usage::Usage;
pub use outcome::{Bucket, Failure, Outcome};

use engine::Engine;

/// The most requests per second that make sense to ask of one thread.
const FASTEST: f64 = 10_000_000.0;

/// The fewest: one in a quarter of an hour.
const SLOWEST: f64 = 0.001;

/// One request a connection, or many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Every request opens its own connection, and says `Connection: close`.
    Fresh,
    /// A connection is used until the server closes it.
    KeepAlive,
}

/// What makes a request begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The answer to the one before.
    Closed,
    /// The time, so many in a second, whatever the server does.
    Open {
        /// Requests per second.
        per_second: f64,
        /// How they are spread.
        spacing: Spacing,
    },
}

/// The gaps between the requests of an open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// All the same.
    Even,
    /// Exponentially distributed, as if many users came independently of one another.
    Exponential,
}

/// What load to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to ask. A loopback address of IPv4 is called from 64 source addresses in turn.
    pub target: SocketAddr,
    /// Connections that are open at a time, at most. An open loop with [`Reuse::Fresh`] has as many
    /// as its requests take.
    pub connections: usize,
    /// One request a connection, or many.
    pub reuse: Reuse,
    /// What makes a request begin.
    pub pace: Pace,
    /// Requests that are due in this time at the beginning are made, but do not count.
    pub warm_up: Duration,
    /// How long requests are due after that. None: until [`Running::stop`].
    pub length: Option<Duration>,
    /// What to ask for.
    pub path: String,
    /// The longest that a request may take, from the time when it is due.
    pub time_out: Duration,
    /// The width of the timeline's buckets.
    pub bucket: Duration,
    /// Of the random gaps. The same seed gives the same times.
    pub seed: u64,
}

impl Plan {
    /// A closed loop of one connection that is kept alive, without a warm-up, until it is stopped.
    pub fn new(target: SocketAddr) -> Self {
        Self {
            target,
            connections: 1,
            reuse: Reuse::KeepAlive,
            pace: Pace::Closed,
            warm_up: Duration::ZERO,
            length: None,
            path: "/".into(),
            time_out: Duration::from_secs(10),
            bucket: Duration::from_millis(100),
            seed: 1,
        }
    }

    /// Begins. The soft limit of descriptors is raised to the hard one if it is lower, for this
    /// process and for those that it starts from then on.
    ///
    /// # Errors
    /// A plan that cannot be carried out; too low a limit of descriptors; no epoll, no timer, no
    /// thread.
    pub fn start(self) -> io::Result<Running> {
        self.check()?;
        sources::make_room(self.connections)?;
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), engine::WAKE)?;
        let stop = Arc::new(AtomicBool::new(false));
        let has_end = self.length.is_some();
        let engine = Engine::new(&self, poll, Arc::clone(&stop))?;
        let thread = thread::Builder::new()
            .name("load".into())
            .spawn(move || engine.run())?;
        Ok(Running {
            has_end,
            stop,
            waker,
            thread: Some(thread),
        })
    }

    fn check(&self) -> io::Result<()> {
        let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        match self.pace {
            _ if self.connections == 0 => wrong("a load needs at least one connection"),
            _ if self.time_out.is_zero() => wrong("a load's time-out must be longer than nothing"),
            _ if self.bucket.is_zero() => {
                wrong("a bucket of the timeline must be longer than nothing")
            }
            Pace::Open { per_second, .. } if !(SLOWEST..=FASTEST).contains(&per_second) => {
                wrong("an open loop takes 0.001 to 10,000,000 requests per second")
            }
            _ => Ok(()),
        }
    }

    fn request(&self) -> Vec<u8> {
        let connection = match self.reuse {
            Reuse::Fresh => "close",
            Reuse::KeepAlive => "keep-alive",
        };
        let Self { path, target, .. } = self;
        format!("GET {path} HTTP/1.1\r\nHost: {target}\r\nConnection: {connection}\r\n\r\n").into()
    }
}

/// A load that runs. Dropped, it ends by itself, and nobody learns how it went.
#[derive(Debug)]
pub struct Running {
    has_end: bool,
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<Outcome>>,
}

impl Running {
    /// Waits until the plan's length is over; a load without one ends its window now. Either way the
    /// requests that were due by then are waited for, which takes a time-out at the most.
    pub fn stop(self) -> Outcome {
        if !self.has_end {
            self.end_window();
        }
        self.join()
    }

    /// Ends the window now even if the plan's length is not over, and waits as [`stop`](Self::stop)
    /// does.
    pub fn cut_short(self) -> Outcome {
        self.end_window();
        self.join()
    }

    fn end_window(&self) {
        self.stop.store(true, Ordering::Relaxed);
        // An eventfd that cannot be written is full, and wakes the thread all the same.
        let _ = self.waker.wake();
    }

    fn join(mut self) -> Outcome {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => panic::resume_unwind(panic),
            None => unreachable!("only this takes the thread, and the load with it"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end_window();
    }
}

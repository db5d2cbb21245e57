//! The rescuer's loop: readiness of the channel and of connections, and time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::NAME;
use super::adopted::AdoptedConnection;
use super::backlog::Backlog;
use super::relay::ClientTimeouts;
use super::timers::Timers;
use super::worker::Worker;
use crate::sys::{descriptor, process};
use crate::wire::rescue::{Configuration, Report, decode};

/// The channel's token; connections count from one.
const CHANNEL: Token = Token(0);
/// Room to read into.
const SCRATCH_LEN: usize = 64 * 1024;
/// How long to stay when nothing is left: the next retiring worker may be near.
const EMPTY_BEFORE_EXIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Rescuer {
    pub(super) configuration: Configuration,
    pub(super) timeouts: ClientTimeouts,
    /// How many connections can be held.
    max: usize,
    pub(super) poll: Poll,
    pub(super) channel: OwnedFd,
    pub(super) is_channel_open: bool,
    pub(super) outbox: VecDeque<Vec<u8>>,
    pub(super) workers: BTreeMap<u64, Worker>,
    pub(super) adopted: BTreeMap<u64, AdoptedConnection>,
    pub(super) backlogs: BTreeMap<u64, Backlog>,
    pub(super) timers: Timers,
    /// Rescues that have yielded.
    pub(super) again: Vec<u64>,
    pub(super) next_look: Option<Instant>,
    /// Before then, nothing is said of progress again.
    pub(super) next_progress: Instant,
    pub(super) scratch: Vec<u8>,
    last_id: u64,
    /// By when to have ended.
    pub(super) ending: Option<Instant>,
    empty_since: Option<Instant>,
}

/// Is the rescuer; comes back with the exit code.
pub fn run() -> u8 {
    let configuration = std::env::args_os().nth(1);
    let configuration = configuration.and_then(|argument| decode(argument.as_encoded_bytes()));
    let (Some(configuration), Ok(true)) = (configuration, descriptor::is_socket(&io::stdin()))
    else {
        eprintln!("{NAME} is started by reuseport-run, not by hand");
        return 2;
    };
    match Rescuer::new(configuration).and_then(|mut rescuer| rescuer.run_to_end()) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!(
                "{NAME}: cannot wait for events: {error}; connections of retired workers are closed"
            );
            1
        }
    }
}

impl Rescuer {
    fn new(configuration: Configuration) -> io::Result<Self> {
        ignore_stop_signals()?;
        let before = process::raise_file_limit();
        let limit = before.and_then(|_| process::file_limit()).unwrap_or(1024);
        let channel = io::stdin().as_fd().try_clone_to_owned()?;
        descriptor::set_nonblocking(&channel, true)?;
        let poll = Poll::new()?;
        let number = channel.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut SourceFd(&number), CHANNEL, interest)?;
        Ok(Self {
            timeouts: ClientTimeouts {
                head: Duration::from_millis(configuration.header_timeout_ms),
                idle: Duration::from_millis(configuration.rescue_timeout_ms),
            },
            // A quarter is for connections to servers and for looking around.
            max: configuration
                .max_connections
                .min(usize::try_from(limit / 4 * 3).unwrap_or(usize::MAX)),
            configuration,
            poll,
            channel,
            is_channel_open: true,
            outbox: VecDeque::new(),
            workers: BTreeMap::new(),
            adopted: BTreeMap::new(),
            backlogs: BTreeMap::new(),
            timers: Timers::default(),
            again: Vec::new(),
            next_look: None,
            next_progress: Instant::now(),
            scratch: vec![0; SCRATCH_LEN],
            last_id: 0,
            ending: None,
            empty_since: None,
        })
    }

    fn run_to_end(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.is_over(Instant::now()) {
            match self.poll.poll(&mut events, self.sleep()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            let now = Instant::now();
            for event in &events {
                self.ready(event.token(), now);
            }
            for id in std::mem::take(&mut self.again) {
                self.adopted_ready(id, now);
            }
            while let Some(id) = self.timers.pop(now) {
                self.late(id, now);
            }
            self.watch(now);
            self.report_tallies(now);
            self.flush();
        }
        self.abandon();
        Ok(())
    }

    /// How long to wait for readiness.
    fn sleep(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let empty = self.empty_since.map(|since| since + EMPTY_BEFORE_EXIT);
        let progress = self.has_progress().then_some(self.next_progress);
        let ends = [
            self.timers.next(),
            self.next_look,
            self.ending,
            empty,
            progress,
        ];
        let next = ends.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn is_over(&mut self, now: Instant) -> bool {
        let has_nothing = self.adopted.is_empty() && self.backlogs.is_empty();
        if let Some(ending) = self.ending {
            return now >= ending || has_nothing;
        }
        // Not before the first worker: without one, the first order is on its way.
        if self.last_id == 0 || !self.workers.is_empty() || !has_nothing {
            self.empty_since = None;
            return false;
        }
        let since = *self.empty_since.get_or_insert(now);
        now >= since + EMPTY_BEFORE_EXIT
    }

    fn ready(&mut self, token: Token, now: Instant) {
        if token == CHANNEL {
            return self.receive_orders(now);
        }
        let id = (token.0 >> 1) as u64;
        if self.backlogs.contains_key(&id) {
            self.backlog_ready(id);
        } else {
            self.adopted_ready(id, now);
        }
    }

    fn late(&mut self, id: u64, now: Instant) {
        if self.backlogs.contains_key(&id) {
            self.backlog_late(id, now);
        } else {
            self.adopted_timed_out(id, now);
        }
    }

    /// A number for a connection, which is never used again.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// A worker, known or new.
    pub(super) fn worker(&mut self, id: u64) -> &mut Worker {
        self.workers.entry(id).or_insert_with(Worker::new)
    }

    pub(super) fn is_full(&self) -> bool {
        let watched: usize = self
            .workers
            .values()
            .map(|worker| worker.connections.len())
            .sum();
        watched + self.adopted.len() >= self.max
    }

    fn abandon(&mut self) {
        self.close_backlogs();
        self.abandon_adopted();
        for (worker, ended) in std::mem::take(&mut self.workers) {
            self.report(&Report::Finished {
                worker,
                tally: ended.tally,
            });
        }
        self.flush();
    }
}

/// A service manager that stops a service signals all of its processes. This one ends when the
/// supervisor says so, or is gone.
fn ignore_stop_signals() -> io::Result<()> {
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

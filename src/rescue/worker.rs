//! One retiring worker and the connections that it still has.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::close_action::CloseCause;
use super::lost_reads::ReadCopy;
use super::request_tracker::RequestTracker;
use crate::sys::procfs;
use crate::sys::tcp::TcpCounters;
use crate::wire::rescue::{Descriptor, MAX_THREADS, Tally};

/// The first and the longest pause between two interruptions of a worker.
const MIN_INTERRUPT_INTERVAL: Duration = Duration::from_millis(15);
const MAX_INTERRUPT_INTERVAL: Duration = Duration::from_secs(1);
/// How long the supervisor may take to interrupt.
const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that the worker may still have.
#[derive(Debug)]
pub(super) struct WatchedConnection {
    pub(super) socket: OwnedFd,
    pub(super) at: Descriptor,
    pub(super) tracker: RequestTracker,
    pub(super) is_frozen: bool,
    /// It has thawed, but a read that began in the frost may sleep on.
    pub(super) may_sleep: bool,
    /// What a thread that sleeps in a read of it would swallow.
    pub(super) copy: Option<ReadCopy>,
    /// How things were when the worker was told to stop.
    pub(super) told: Option<TcpCounters>,
}

#[derive(Debug)]
pub(super) struct Worker {
    /// Its first process; none of a worker of which only the queue is known.
    pub(super) pid: Option<i32>,
    /// All processes of its that were ever seen.
    processes: BTreeSet<i32>,
    pub(super) connections: BTreeMap<u64, WatchedConnection>,
    /// Its connections that are ours now, and listeners that are accepted from.
    pub(super) open: usize,
    /// Whether the supervisor has sent all that there are.
    pub(super) is_complete: bool,
    pub(super) is_quiet: bool,
    /// Since when it owes nothing.
    pub(super) idle_since: Option<Instant>,
    /// When its clients asked something for the first and for the last time in the frost.
    pub(super) asked: Option<(Instant, Instant)>,
    pub(super) told: Option<Instant>,
    pub(super) is_gone: bool,
    /// When it may be interrupted again, and how long to wait after that.
    next_interruption: Option<Instant>,
    pause: Duration,
    /// Whether readers are about to be interrupted.
    is_interrupted: bool,
    pub(super) tally: Tally,
    /// What the supervisor was told last.
    pub(super) known_tally: Tally,
}

impl Worker {
    pub(super) fn new() -> Self {
        Self {
            pid: None,
            processes: BTreeSet::new(),
            connections: BTreeMap::new(),
            open: 0,
            is_complete: false,
            is_quiet: false,
            idle_since: None,
            asked: None,
            told: None,
            is_gone: false,
            next_interruption: None,
            pause: MIN_INTERRUPT_INTERVAL,
            is_interrupted: false,
            tally: Tally::default(),
            known_tally: Tally::default(),
        }
    }

    /// Whether nothing of it is left.
    pub(super) fn is_done(&self) -> bool {
        self.is_gone && self.connections.is_empty() && self.open == 0
    }

    pub(super) fn give_up(&mut self, reason: &str) {
        self.tally.given_up += 1;
        *self.tally.reasons.entry(reason.to_owned()).or_default() += 1;
    }

    /// What it had been through when it let go of a connection.
    pub(super) fn close_cause(&self, connection: &WatchedConnection) -> CloseCause {
        if self.told.is_some() || self.is_gone {
            let told = connection
                .told
                .as_ref()
                .unwrap_or(connection.tracker.last());
            CloseCause::Stopping {
                written: told.written,
            }
        } else {
            CloseCause::Voluntary
        }
    }

    /// Gets ready for its stop signal: copies what its readers would take along, and names them.
    pub(super) fn tell(&mut self, now: Instant) -> Vec<i32> {
        self.told.get_or_insert(now);
        let (mut readers, mut threads) = (BTreeMap::new(), Vec::new());
        for connection in self.connections.values_mut() {
            connection.observe(now);
            connection.told = Some(*connection.tracker.last());
            let pid = connection.at.pid;
            let readers = readers.entry(pid).or_insert_with(|| procfs::readers(pid));
            let reader = readers.get(&connection.at.inode);
            connection.copy = None;
            if let Some(thread) = reader.filter(|_| connection.is_frozen) {
                connection.copy = Some(ReadCopy::new(*thread == pid));
                connection.refresh_copy();
                threads.push(*thread);
            }
        }
        threads.truncate(MAX_THREADS);
        threads
    }

    /// Whether nothing was taken since [`Self::tell`] of which there is no copy.
    pub(super) fn is_as_told(&mut self, now: Instant) -> bool {
        self.connections
            .values_mut()
            .filter(|connection| connection.is_frozen)
            .all(|connection| {
                connection.observe(now);
                let account = connection.tracker.last();
                let was = connection.told.as_ref().map(TcpCounters::bytes_read);
                let copy = || connection.copy.as_ref()?.read_since(account);
                was.is_none_or(|was| was == account.bytes_read()) || copy().is_some()
            })
    }

    pub(super) fn include(&mut self, pid: i32) {
        self.processes.insert(pid);
    }

    /// Where each of its sockets is, over all its processes, in a full look.
    pub(super) fn sockets(&mut self) -> BTreeMap<u64, Descriptor> {
        if let Some(pid) = self.pid.filter(|_| !self.is_gone) {
            self.processes.extend(procfs::descendants(pid));
            self.processes.extend(procfs::members_of_group(pid));
        }
        // The duplicates that we hold say nothing.
        let others = |pid: &&i32| i32::try_from(std::process::id()) != Ok(**pid);
        let mut found = BTreeMap::new();
        for pid in self.processes.iter().filter(others) {
            for (number, inode) in procfs::socket_descriptors(*pid).unwrap_or_default() {
                found.insert(
                    inode,
                    Descriptor {
                        pid: *pid,
                        number,
                        inode,
                    },
                );
            }
        }
        found
    }

    /// The threads that sleep in a read of one of these connections and must be interrupted. It is
    /// not for nothing to find out, so a pause follows, which grows when it is of no use.
    pub(super) fn stuck_threads(&mut self, now: Instant, suspects: Vec<u64>) -> Vec<i32> {
        if suspects.is_empty() || self.next_interruption.is_some_and(|at| now < at) {
            return Vec::new();
        }
        let has_moved =
            |connection: &WatchedConnection| connection.tracker.idle_for(now) < 2 * self.pause;
        self.pause = if self.connections.values().any(has_moved) {
            MIN_INTERRUPT_INTERVAL
        } else {
            (2 * self.pause).min(MAX_INTERRUPT_INTERVAL)
        };
        self.next_interruption = Some(now + self.pause);
        let mut readers = BTreeMap::new();
        let mut threads = Vec::new();
        for id in suspects {
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            let pid = connection.at.pid;
            connection.may_sleep = false;
            let readers = readers.entry(pid).or_insert_with(|| procfs::readers(pid));
            threads.extend(readers.get(&connection.at.inode));
        }
        threads.truncate(MAX_THREADS);
        if !threads.is_empty() {
            self.next_interruption = Some(now + INTERRUPT_TIMEOUT);
            self.is_interrupted = true;
        }
        threads
    }

    /// The threads have been interrupted: what they had is out.
    pub(super) fn was_interrupted(&mut self, now: Instant) {
        self.next_interruption = Some(now + self.pause);
        self.is_interrupted = false;
    }

    /// Whether threads are about to be interrupted: what will happen then cannot be known.
    pub(super) fn awaits_interruption(&self) -> bool {
        self.is_interrupted
    }
}

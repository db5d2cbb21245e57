//! One retiring worker, from the first of its connections to its end.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::client_activity::ClientActivity;
use super::close_action::{CloseAction, CloseCause, close_action, has_request};
use super::custody::Custody;
use super::interruptions::Interruptions;
use super::phase::Phase;
use super::process_tree::ProcessTree;
use super::protocols::Protocols;
use super::request_tracker::MAX_RESPONSE_PAUSE;
use super::watched_connection::WatchedConnection;
use super::watched_connections::{GivenBack, Scope, WatchedConnections};
use crate::wire::rescue::{Descriptor, EndpointProtocol, MAX_THREADS};

/// What a worker keeps for so long after it was told to stop, it wants to keep.
const THAW_AFTER: Duration = Duration::from_millis(200);
/// After this long without a request, a worker is idle even if it never sleeps.
const IDLE_WHEN_AWAKE: Duration = Duration::from_millis(500);

/// What a look at a worker has found.
#[derive(Debug)]
pub(super) enum Finding {
    /// These threads may sleep in reads that have their bytes already.
    BlockedReaders(Vec<i32>),
    /// Bytes have shown what an endpoint speaks.
    Learnt(EndpointProtocol),
    /// The worker has closed a connection.
    Closed(OwnedFd, CloseAction),
    /// The worker has died with this request, which it had read.
    LostRequest(OwnedFd, Vec<u8>),
    /// This request waited in a connection that the worker still has.
    WaitingRequest(OwnedFd, Vec<u8>),
}

/// What may happen next that is of interest, the most urgent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Interest {
    Nothing,
    Closes,
    /// A request may be in flight, and a reload may wait for its end.
    Requests,
}

#[derive(Debug)]
pub(super) struct RetiringWorker {
    processes: ProcessTree,
    connections: WatchedConnections,
    phase: Phase,
    activity: ClientActivity,
    interruptions: Interruptions,
}

impl RetiringWorker {
    pub(super) fn new() -> Self {
        Self {
            processes: ProcessTree::new(),
            connections: WatchedConnections::default(),
            phase: Phase::Handover,
            activity: ClientActivity::default(),
            interruptions: Interruptions::new(),
        }
    }

    /// How many connections the worker may still have.
    pub(super) fn held(&self) -> usize {
        self.connections.len()
    }

    /// Whether the worker has ended and has left no connection.
    pub(super) fn is_over(&self) -> bool {
        self.phase.is_exited() && self.connections.is_empty()
    }

    pub(super) fn interest(&self) -> Interest {
        if self.connections.is_empty() && !self.phase.is_awaiting_idle() {
            Interest::Nothing
        } else if self.phase.stopping_since().is_none() || self.connections.has_copies() {
            Interest::Requests
        } else {
            Interest::Closes
        }
    }

    pub(super) fn set_root(&mut self, pid: i32) {
        self.processes.set_root(pid);
    }

    /// Notes that a process is the worker's, also if no connection of it can be held.
    pub(super) fn include(&mut self, pid: i32) {
        self.processes.include(pid);
    }

    pub(super) fn hold(
        &mut self,
        custody: Custody,
        socket: OwnedFd,
        place: Descriptor,
        now: Instant,
    ) -> io::Result<()> {
        let connection = match (custody, self.phase.stopping_since()) {
            (Custody::Rescued, None) => WatchedConnection::freeze(socket, place, now)?,
            (Custody::Ended, None) => WatchedConnection::await_answer(socket, place, now)?,
            (Custody::Rescued | Custody::Ended, Some(_))
            | (Custody::Left | Custody::Finished, _) => {
                WatchedConnection::leave(socket, custody, place, now)?
            }
        };
        self.connections.insert(connection);
        Ok(())
    }

    /// All connections have come, for now; how many are held.
    pub(super) fn all_sent(&mut self) -> usize {
        self.phase.all_sent();
        self.held()
    }

    /// Gets ready for the stop signal: gives back the connections that are the worker's alone, copies what readers
    /// would take along when they die, and names them.
    pub(super) fn prepare_stop(&mut self, now: Instant) -> (GivenBack, Vec<i32>) {
        self.phase.prepare_stop(now);
        let given_back = self.connections.give_back();
        let family = self.processes.members();
        let mut threads = self.connections.prepare_stop(now, &family);
        threads.truncate(MAX_THREADS);
        (given_back, threads)
    }

    /// Whether nothing was lost since [`Self::prepare_stop`], now that the readers stand still.
    pub(super) fn may_stop(&mut self, now: Instant) -> bool {
        self.connections.are_accounted_for(now)
    }

    pub(super) fn readers_interrupted(&mut self, now: Instant) {
        self.interruptions.finish(now);
    }

    pub(super) fn exited(&mut self) {
        self.phase.exited();
        self.processes.root_exited();
    }

    /// Gives all connections back to the worker; how many there were.
    pub(super) fn release(&mut self, now: Instant) -> usize {
        self.connections.release(now)
    }

    /// Looks at all connections.
    ///
    /// The order is policy. Closed connections are taken before requests are read: else one that the
    /// worker has closed would be adopted as one that the worker still has. A closed connection is
    /// judged by counters that were read after the close: what the worker wrote just before must be in
    /// them.
    pub(super) fn look(&mut self, now: Instant, protocols: &mut Protocols) -> Vec<Finding> {
        let mut closed = self.connections.take_closed(&mut self.processes);
        closed.iter_mut().for_each(|it| it.observe(now));
        let threads = self.observe(now);
        let heard = closed.iter_mut().filter_map(|it| it.take_heard());
        let heard: Vec<_> = heard.chain(self.connections.take_heard()).collect();
        let learnt = heard
            .into_iter()
            .filter_map(|(local, evidence)| protocols.learn(local, evidence))
            .map(Finding::Learnt);
        let learnt: Vec<Finding> = learnt.collect();
        let waiting = self.take_waiting_requests(now);
        let blocked = (!threads.is_empty()).then_some(Finding::BlockedReaders(threads));
        let closed = closed
            .into_iter()
            .map(|it| self.judge_closed(it, now, protocols));
        let others = closed.chain(waiting);
        blocked.into_iter().chain(learnt).chain(others).collect()
    }

    /// Brings the counters up to date, and gives back what the worker must have. Names the threads that
    /// must be interrupted.
    fn observe(&mut self, now: Instant) -> Vec<i32> {
        let stopping_since = self.phase.stopping_since();
        // A worker that is being killed wants nothing any more, and cannot be interrupted.
        let is_dying = stopping_since.is_some() && self.connections.is_holder_being_killed();
        self.connections.observe(
            now,
            match stopping_since {
                None => Scope::All,
                Some(_) => Scope::Frozen,
            },
        );
        self.connections.thaw_mid_message(now);
        let is_late = |since| now.saturating_duration_since(since) >= THAW_AFTER;
        if !is_dying && stopping_since.is_some_and(is_late) {
            self.connections.thaw_all(now);
        }
        if is_dying {
            return Vec::new();
        }
        self.blocked_readers(now)
    }

    fn blocked_readers(&mut self, now: Instant) -> Vec<i32> {
        if !self.interruptions.is_due(now) || !self.connections.may_have_blocked_readers(now) {
            return Vec::new();
        }
        self.interruptions
            .begin(now, self.connections.idle_for(now));
        let family = self.processes.members();
        let mut threads = self.connections.blocked_readers(now, &family);
        threads.truncate(MAX_THREADS);
        if !threads.is_empty() {
            self.interruptions.request(now);
        }
        threads
    }

    /// Takes connections on which a request waits. A worker that is stopping keeps its connections: it
    /// may be about to shut them down, with the answer in them.
    fn take_waiting_requests(&mut self, now: Instant) -> Vec<Finding> {
        if self.phase.stopping_since().is_some() {
            return Vec::new();
        }
        if self.connections.has_request() {
            self.activity.saw_request(now);
        }
        let waiting = self.connections.take_waiting_requests(now);
        let waiting = waiting.into_iter();
        waiting
            .map(|(socket, request)| Finding::WaitingRequest(socket, request))
            .collect()
    }

    fn judge_closed(
        &self,
        connection: WatchedConnection,
        now: Instant,
        protocols: &Protocols,
    ) -> Finding {
        if connection.custody() == Custody::Rescued
            && let Some(request) = connection.lost_read()
        {
            return Finding::LostRequest(connection.into_socket(), request);
        }
        let cause = if self.phase.stopping_since().is_some() || self.phase.is_exited() {
            CloseCause::Stopping {
                written: connection.written_at_stop(),
                owed: connection.was_owed_at_stop(),
            }
        } else {
            CloseCause::Voluntary
        };
        let action = close_action(now, connection.tracker(), cause);
        let action = match has_request(connection.tracker()) {
            true => action,
            false => action.without_request(connection.protocol(protocols)),
        };
        let action = match connection.custody() {
            Custody::Rescued => action,
            Custody::Left | Custody::Ended | Custody::Finished => action.without_adoption(),
        };
        Finding::Closed(connection.into_socket(), action)
    }

    /// Whether the supervisor waits for the worker to become idle, and the worker has: nothing is in
    /// flight, and the worker will not begin anything any more.
    pub(super) fn has_become_idle(&mut self, now: Instant, protocols: &Protocols) -> bool {
        // Where all connections have been adopted, clients may ask as they like.
        let is_lull = self.connections.is_empty() || self.activity.permits_stop(now);
        let is_idle = !self.interruptions.is_requested()
            && is_lull
            && self.connections.are_idle(now, protocols);
        let Some(idle_for) = self.phase.note_idle(now, is_idle) else {
            return false;
        };
        // A worker that never sleeps is busy with something else.
        self.connections.is_empty()
            || idle_for >= IDLE_WHEN_AWAKE
            || (idle_for >= MAX_RESPONSE_PAUSE && self.connections.are_holders_asleep())
    }

    pub(super) fn idle_reported(&mut self) {
        self.phase.idle_reported();
    }
}

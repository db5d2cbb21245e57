//! Looks at the connections that workers have, again and again: nothing tells when another
//! process closes a descriptor.
//!
//! A connection is an orphan when its descriptor is no longer where it was *and* a full look at all
//! the worker's processes, made after that, did not find it elsewhere (dup(2), a child).

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::adopted::AdoptedConnection;
use super::close_action::{CloseAction, close_action};
use super::process::Rescuer;
use super::request_tracker::{MAX_RESPONSE_PAUSE, RequestTracker, ResponseDue};
use super::worker::{WatchedConnection, Worker};
use crate::sys::tcp::TcpCounters;
use crate::sys::{procfs, tcp};
use crate::wire::http::{Beginning, beginning};
use crate::wire::rescue::{Descriptor, Report};

/// The pause between looks while a request may be in flight.
const BUSY_LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// The pause between looks when only closes are of interest.
const CLOSE_LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// When only closes are of interest, a pause is so many times as long as the look before it. Else a
/// reload waits for us: then it is as long as that.
const LOOK_COST_FACTOR: u32 = 4;
/// What a worker keeps for so long after it was told to stop, it wants to keep.
const THAW_AFTER: Duration = Duration::from_millis(200);
/// After this long without a request, a worker is quiet even if it never sleeps.
const IDLE_WHEN_AWAKE: Duration = Duration::from_millis(500);
/// So many unread bytes are looked at.
const PEEK_LEN: usize = 512;

impl Rescuer {
    /// Looks, if it is time.
    pub(super) fn watch(&mut self, now: Instant) {
        if self.next_look.is_none_or(|at| now < at) {
            return;
        }
        let workers: Vec<u64> = self.workers.keys().copied().collect();
        for id in workers {
            self.look_at(id, now);
        }
        let end = Instant::now();
        self.next_look = self.pause(end - now).map(|pause| end + pause);
    }

    /// The pause after a look that took so long; none: there is nothing to look at.
    fn pause(&self, cost: Duration) -> Option<Duration> {
        let is_of_interest =
            |worker: &&Worker| !worker.connections.is_empty() || worker.is_awaited();
        let having = || self.workers.values().filter(is_of_interest);
        having().next()?;
        let may_change = |connection: &WatchedConnection| connection.copy.is_some();
        let is_eager = having()
            .any(|worker| worker.told.is_none() || worker.connections.values().any(may_change));
        Some(if is_eager {
            BUSY_LOOK_INTERVAL.max(cost)
        } else {
            CLOSE_LOOK_INTERVAL.max(cost * LOOK_COST_FACTOR)
        })
    }

    fn look_at(&mut self, id: u64, now: Instant) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let closed = worker.take_closed();
        let threads = worker.look(now);
        let waiting = worker.take_waiting(now);
        if !threads.is_empty() {
            self.report(&Report::BlockedReaders {
                worker: id,
                threads,
            });
        }
        for connection in closed {
            self.part(id, connection, now);
        }
        for (socket, request) in waiting {
            self.adopt_shared(id, socket, &request);
        }
        self.check_quiet(id, now);
    }

    /// Deals with a connection that the worker has let go of.
    fn part(&mut self, id: u64, mut connection: WatchedConnection, now: Instant) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        connection.observe(now);
        if let Some(bytes) = connection.lost_read() {
            return self.adopt(id, connection.socket, bytes);
        }
        match close_action(now, &connection.tracker, worker.close_cause(&connection)) {
            CloseAction::Close => worker.tally.finished += 1,
            CloseAction::GiveUp(reason) => worker.give_up(reason),
            CloseAction::CloseLingering => {
                worker.tally.finished += 1;
                self.adopt_lingering(id, connection.socket);
            }
            CloseAction::Adopt if connection.tracker.response_due(now) == ResponseDue::Unclear => {
                self.adopt_in_doubt(id, connection.socket);
            }
            CloseAction::Adopt => self.adopt(id, connection.socket, Vec::new()),
        }
    }

    /// Says that a worker is quiet, once.
    pub(super) fn check_quiet(&mut self, id: u64, now: Instant) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let is_in_danger = |connection: &AdoptedConnection| connection.is_in_danger_from(id);
        if worker.is_awaited() && worker.is_still(now) && !self.adopted.values().any(is_in_danger) {
            worker.is_quiet = true;
            self.report(&Report::Idle { worker: id });
        }
    }
}

impl Worker {
    /// Whether it is still to be said that it is quiet.
    fn is_awaited(&self) -> bool {
        self.is_complete && !self.is_quiet
    }

    /// Whether it owes nothing, and will not begin anything any more.
    fn is_still(&mut self, now: Instant) -> bool {
        let is_idle = !self.awaits_interruption()
            && self.is_left_alone(now)
            && self
                .connections
                .values()
                .all(|connection| connection.tracker.is_idle(now));
        if !is_idle {
            self.idle_since = None;
            return false;
        }
        let rest = now.saturating_duration_since(*self.idle_since.get_or_insert(now));
        // One that never sleeps is busy with something else.
        self.connections.is_empty()
            || rest >= IDLE_WHEN_AWAKE
            || (rest >= MAX_RESPONSE_PAUSE && self.is_asleep())
    }

    fn is_asleep(&self) -> bool {
        let pids: BTreeSet<i32> = self
            .connections
            .values()
            .map(|connection| connection.at.pid)
            .collect();
        pids.into_iter().all(procfs::is_asleep)
    }

    /// Whether a process of its is about to be dead: on a busy machine that takes long.
    fn is_being_killed(&self) -> bool {
        let frozen = self
            .connections
            .values()
            .filter(|connection| connection.is_frozen);
        let pids: BTreeSet<i32> = frozen.map(|connection| connection.at.pid).collect();
        pids.into_iter().any(procfs::is_being_killed)
    }

    /// The connections that it has no more.
    fn take_closed(&mut self) -> Vec<WatchedConnection> {
        let lost = |connection: &&WatchedConnection| {
            !procfs::may_hold(connection.at.pid, connection.at.number, connection.at.inode)
        };
        if self.connections.values().find(lost).is_none() {
            return Vec::new();
        }
        let sockets = self.sockets();
        let mut closed = Vec::new();
        let ids: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, connection)| lost(connection))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let found = self.connections.get_mut(&id).and_then(|connection| {
                connection.at = *sockets.get(&connection.at.inode)?;
                Some(())
            });
            if found.is_none() {
                closed.extend(self.connections.remove(&id));
            }
        }
        closed
    }

    /// Looks at all that it has: what continues something thaws, and all of it when the worker has
    /// been told for a while. Names the threads that must be interrupted.
    fn look(&mut self, now: Instant) -> Vec<i32> {
        let is_late = self
            .told
            .is_some_and(|told| now.saturating_duration_since(told) >= THAW_AFTER);
        // What dies wants nothing any more, and cannot be interrupted.
        let is_dying = self.told.is_some() && self.is_being_killed();
        let must_thaw = is_late && !is_dying;
        let mut suspects = Vec::new();
        for (id, connection) in &mut self.connections {
            // What thawed because it was kept for long is of no interest but for its end.
            if connection.is_frozen || self.told.is_none() {
                connection.observe(now);
                connection.refresh_copy();
            }
            if connection.is_frozen && (must_thaw || connection.tracker.is_mid_message()) {
                connection.thaw();
            }
            if connection.may_sleep
                || (connection.is_frozen && connection.tracker.may_have_blocked_reader(now))
            {
                suspects.push(*id);
            }
        }
        if is_dying {
            return Vec::new();
        }
        self.stuck_threads(now, suspects)
    }
}

impl WatchedConnection {
    /// Holds a connection, and freezes it if asked to.
    pub(super) fn new(
        socket: OwnedFd,
        at: Descriptor,
        freeze: bool,
        now: Instant,
    ) -> std::io::Result<Self> {
        if freeze {
            tcp::freeze(&socket)?;
        }
        let (account, unread) = look_at_socket(&socket)?;
        Ok(Self {
            socket,
            at,
            tracker: RequestTracker::new(now, account, unread),
            is_frozen: freeze,
            may_sleep: false,
            copy: None,
            told: None,
        })
    }

    /// Copies what a sleeping reader would swallow.
    pub(super) fn refresh_copy(&mut self) {
        if let Some(copy) = &mut self.copy {
            copy.refresh(&self.socket, self.tracker.last());
        }
    }

    /// What a reader has swallowed that is dead.
    fn lost_read(&self) -> Option<Vec<u8>> {
        let bytes = self.copy.as_ref()?.read_since(self.tracker.last())?;
        procfs::is_dead(self.at.pid).then(|| bytes.to_vec())
    }

    pub(super) fn observe(&mut self, now: Instant) {
        match look_at_socket(&self.socket) {
            Ok((account, unread)) => self.tracker.observe(now, account, unread),
            Err(error) => log::debug!("cannot look at a connection: {error}"),
        }
    }

    pub(super) fn thaw(&mut self) {
        self.is_frozen = false;
        self.may_sleep = true;
        self.copy = None;
        if let Err(error) = tcp::thaw(&self.socket) {
            log::debug!("cannot thaw a connection: {error}");
        }
    }
}

/// What the kernel counts, and what is unread.
fn look_at_socket(socket: &OwnedFd) -> std::io::Result<(TcpCounters, Beginning)> {
    let account = tcp::counters(socket)?;
    if account.unread == 0 {
        return Ok((account, Beginning::Undecided));
    }
    let mut bytes = [0; PEEK_LEN];
    let count = tcp::peek(socket, &mut bytes).unwrap_or(0);
    Ok((account, beginning(bytes.get(..count).unwrap_or_default())))
}

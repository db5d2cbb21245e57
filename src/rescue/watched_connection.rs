//! A connection that the worker may still have.
//!
//! A connection that comes after the worker was told to stop is `Thawed` from the beginning: the
//! worker may be answering on it, and would not begin to read from a frozen one.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::connection_state::State;
use super::custody::Custody;
use super::evidence::Evidence;
use super::lost_reads::ReadCopy;
use super::protocols::Protocols;
use super::readers::{Reader, Readers};
use super::request_tracker::{RequestTracker, ResponseDue};
use super::speech::Speech;
use super::waiting_request::read_waiting_request;
use crate::sys::tcp::{self, TcpCounters};
use crate::wire::http::beginning;
use crate::wire::rescue::{Descriptor, Protocol};

/// So many unread bytes are looked at.
const PEEK_LEN: usize = 512;
/// Where nobody knows what is spoken, a client is given so long to show it: most that have just been served ask on.
const UNKNOWN_REST: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct WatchedConnection {
    socket: OwnedFd,
    custody: Custody,
    place: Descriptor,
    tracker: RequestTracker,
    state: State,
    /// The address on which it came in; none: it is broken.
    local: Option<SocketAddr>,
    speech: Speech,
    /// As of the last `PrepareStop`.
    at_stop: Option<AtStop>,
}

/// What was seen when the stop was prepared.
#[derive(Clone, Copy, Debug)]
struct AtStop {
    counters: TcpCounters,
    response: ResponseDue,
}

impl WatchedConnection {
    /// Watches a connection and freezes it.
    pub(super) fn freeze(socket: OwnedFd, place: Descriptor, now: Instant) -> io::Result<Self> {
        tcp::freeze(&socket)?;
        let frozen = State::Frozen { copy: None };
        Self::new(socket, Custody::Rescued, place, frozen, now)
    }

    /// Watches a connection of a worker that nobody follows. It is frozen as soon as the worker has answered.
    pub(super) fn await_answer(
        socket: OwnedFd,
        place: Descriptor,
        now: Instant,
    ) -> io::Result<Self> {
        let mut connection = Self::new(socket, Custody::Ended, place, State::Unanswered, now)?;
        connection.freeze_if_answered();
        Ok(connection)
    }

    fn freeze_if_answered(&mut self) {
        if !self.state.awaits_answer() || self.tracker.last().written == 0 {
            return;
        }
        match tcp::freeze(&self.socket) {
            Ok(()) => self.state = State::Frozen { copy: None },
            Err(error) => log::debug!("cannot freeze a connection: {error}"),
        }
    }

    /// Whether a request is unread that somebody else may answer.
    pub(super) fn has_request(&self) -> bool {
        self.custody == Custody::Rescued && self.tracker.has_request()
    }

    /// Watches a connection and leaves it to the worker.
    pub(super) fn leave(
        socket: OwnedFd,
        custody: Custody,
        place: Descriptor,
        now: Instant,
    ) -> io::Result<Self> {
        Self::new(socket, custody, place, State::Thawed, now)
    }

    fn new(
        socket: OwnedFd,
        custody: Custody,
        place: Descriptor,
        state: State,
        now: Instant,
    ) -> io::Result<Self> {
        let mut bytes = [0; PEEK_LEN];
        let (counters, bytes) = look_at(&socket, &mut bytes)?;
        let local = SockRef::from(&socket).local_addr().ok();
        let mut connection = Self {
            local: local.and_then(|local| local.as_socket()),
            speech: Speech::default(),
            socket,
            custody,
            place,
            tracker: RequestTracker::new(now, counters, beginning(bytes)),
            state,
            at_stop: None,
        };
        connection.speech.hear(bytes, &connection.tracker, now);
        Ok(connection)
    }

    pub(super) fn custody(&self) -> Custody {
        self.custody
    }

    pub(super) fn place(&self) -> Descriptor {
        self.place
    }

    pub(super) fn move_to(&mut self, place: Descriptor) {
        self.place = place;
    }

    pub(super) fn tracker(&self) -> &RequestTracker {
        &self.tracker
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.state.is_frozen()
    }

    pub(super) fn has_copy(&self) -> bool {
        self.state.copy().is_some()
    }

    pub(super) fn may_have_blocked_reader(&self, now: Instant) -> bool {
        self.state.may_have_blocked_reader(&self.tracker, now)
    }

    pub(super) fn observe(&mut self, now: Instant) {
        let mut bytes = [0; PEEK_LEN];
        match look_at(&self.socket, &mut bytes) {
            Ok((counters, bytes)) => {
                self.tracker.observe(now, counters, beginning(bytes));
                self.speech.hear(bytes, &self.tracker, now);
            }
            Err(error) => log::debug!("cannot look at a connection: {error}"),
        }
        self.freeze_if_answered();
    }

    /// What bytes have shown, and on which address; once.
    pub(super) fn take_heard(&mut self) -> Option<(SocketAddr, Evidence)> {
        self.local.zip(self.speech.take())
    }

    /// What is spoken here, by the connection's own bytes or else by what is known of its endpoint.
    pub(super) fn protocol(&self, protocols: &Protocols) -> Protocol {
        let of_endpoint = || self.local.map(|local| protocols.of(local));
        self.speech
            .protocol()
            .or_else(of_endpoint)
            .unwrap_or_default()
    }

    /// Whether nothing is in flight, and the worker may be told to stop as far as this connection goes. One that
    /// nobody else can answer on is the worker's until it ends.
    pub(super) fn is_idle(&self, now: Instant, protocols: &Protocols) -> bool {
        let tracker = &self.tracker;
        let may_be_read = self.is_left_to_the_worker() && tracker.last().unread > 0;
        match (self.custody, self.protocol(protocols)) {
            (_, Protocol::Opaque) => false,
            (_, Protocol::Http1) | (Custody::Ended | Custody::Finished, Protocol::Unknown) => {
                tracker.is_idle(now) && !may_be_read
            }
            (Custody::Rescued | Custody::Left, Protocol::Unknown) => {
                tracker.is_idle(now) && tracker.idle_for(now) >= UNKNOWN_REST
            }
        }
    }

    /// Whether nobody follows the worker, and the worker may read what comes.
    fn is_left_to_the_worker(&self) -> bool {
        match self.custody {
            Custody::Rescued | Custody::Left => false,
            Custody::Ended | Custody::Finished => !self.is_frozen(),
        }
    }

    /// Copies what a reader would take along, if that is something new.
    pub(super) fn refresh_copy(&mut self) {
        if let Some(copy) = self.state.copy_mut() {
            copy.refresh(&self.socket, self.tracker.last());
        }
    }

    /// Gets ready for the worker's stop; the thread that sleeps in a read and must be stopped.
    pub(super) fn prepare_stop(&mut self, now: Instant, readers: &mut Readers<'_>) -> Option<i32> {
        self.observe(now);
        self.at_stop = Some(AtStop {
            counters: *self.tracker.last(),
            response: self.tracker.response_due(now),
        });
        let reader = readers.of(self.place);
        let State::Frozen { copy } = &mut self.state else {
            return None;
        };
        *copy = reader.map(ReadCopy::new);
        self.refresh_copy();
        reader.map(|reader| reader.thread)
    }

    /// Whether nothing was read since the stop was prepared of which there is no copy.
    pub(super) fn is_accounted_for(&mut self, now: Instant) -> bool {
        if !self.is_frozen() {
            return true;
        }
        self.observe(now);
        let counters = self.tracker.last();
        let is_untouched = |at_stop: AtStop| at_stop.counters.bytes_read() == counters.bytes_read();
        self.at_stop.is_none_or(is_untouched) || self.read_since_copy().is_some()
    }

    fn read_since_copy(&self) -> Option<&[u8]> {
        self.state.copy()?.read_since(self.tracker.last())
    }

    /// The request that a thread has read which is dead.
    pub(super) fn lost_read(&self) -> Option<Vec<u8>> {
        let bytes = self.read_since_copy()?;
        self.state.copy()?.is_reader_dead().then(|| bytes.to_vec())
    }

    /// The bytes that the worker had written when its stop was prepared.
    pub(super) fn written_at_stop(&self) -> u64 {
        self.at_stop.map_or(self.tracker.last().written, |at_stop| {
            at_stop.counters.written
        })
    }

    /// Whether the worker owed an answer when its stop was prepared, as far as that was known.
    pub(super) fn was_owed_at_stop(&self) -> bool {
        self.at_stop
            .is_some_and(|at_stop| at_stop.response != ResponseDue::No)
    }

    /// Reads the request that waits here for somebody else than the worker.
    pub(super) fn read_waiting_request(&self, now: Instant) -> Option<Vec<u8>> {
        let is_rescued = self.custody == Custody::Rescued && self.is_frozen();
        if is_rescued && self.tracker.is_request_waiting(now) {
            read_waiting_request(&self.socket)
        } else {
            None
        }
    }

    /// Gives the connection back to the worker.
    pub(super) fn thaw(&mut self, now: Instant) {
        self.state = State::Thawing { since: now };
        if let Err(error) = tcp::thaw(&self.socket) {
            log::debug!("cannot thaw a connection: {error}");
        }
    }

    /// Reads that began while the connection was frozen are about to be interrupted.
    ///
    /// A reader that has just been woken runs, and is not found; then it sleeps again, with its bytes. So as long
    /// as an answer is due, not to have found one says nothing.
    pub(super) fn readers_looked_for(&mut self, now: Instant, reader: Option<Reader>) {
        let is_answered = || self.tracker.response_due(now) == ResponseDue::No;
        self.state.readers_looked_for(now, reader, is_answered);
    }

    pub(super) fn into_socket(self) -> OwnedFd {
        self.socket
    }
}

/// What the kernel counts, and the first of what is unread.
fn look_at<'a>(
    socket: &OwnedFd,
    bytes: &'a mut [u8; PEEK_LEN],
) -> io::Result<(TcpCounters, &'a [u8])> {
    let counters = tcp::counters(socket)?;
    let count = match counters.unread {
        0 => 0,
        1.. => tcp::peek(socket, bytes).unwrap_or(0),
    };
    Ok((counters, bytes.get(..count).unwrap_or_default()))
}

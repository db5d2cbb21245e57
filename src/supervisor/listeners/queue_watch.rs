//! Watches for accept queues that nobody empties.
//!
//! Nothing tells when a process closes a descriptor of a listener while we have a duplicate. But where nobody has the
//! listener, what comes to it stays in its queue. So queues are looked at, and only when something has come:
//!
//! ```text
//!            a connection                 all are empty                 time
//!   Armed ──────────────────► Looking ──────────────────► Resting ─────────────► Armed
//!                              ▲    │ one is not: who has it?
//!                              └────┘
//! ```
//! An idle server wakes nobody, since no connection comes. A busy one wakes us for one connection in some seconds: the
//! rest grows while all queues are found empty, up to [`MAX_REST`]. Whenever something else has woken the
//! supervisor, an output line of a worker that is about to go, say, it looks too.
//!
//! A listener that was shut down (shutdown(2)) is seen at once: epoll(7) tells of `EPOLLHUP` without being asked.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use log::debug;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::fleet::ListenerId;

/// How long a connection may stay in a queue before the queue is looked at.
const LOOK_AFTER: Duration = Duration::from_millis(50);
/// The pause between two looks for which something else has woken us.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// The same for each listener, where they are many: a look at a thousand of them costs a millisecond.
const PAUSE_FOR_EACH: Duration = Duration::from_millis(10);
/// How long to rest at first, and at most, after all queues were found empty.
const MIN_REST: Duration = Duration::from_millis(250);
const MAX_REST: Duration = Duration::from_secs(4);
/// Events that are taken at a time.
const BATCH: usize = 64;

#[derive(Debug)]
pub(super) struct QueueWatch {
    epoll: Epoll,
    all: BTreeSet<ListenerId>,
    state: State,
    rest: Duration,
    looked: Option<Instant>,
    /// Listeners that nobody was seen to have, at the last look.
    suspects: BTreeSet<ListenerId>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next connection to any queue is told of.
    Armed { since: Instant },
    /// The queues are looked at then.
    Looking { at: Instant, pause: Duration },
    /// No connection is told of until then.
    Resting { until: Instant },
}

/// What a look at queues makes of those that are not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum Finding {
    /// A process has the listener, or may have it.
    Owned,
    /// No process has it.
    Abandoned,
}

impl QueueWatch {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            all: BTreeSet::new(),
            state: State::Armed {
                since: Instant::now(),
            },
            rest: MIN_REST,
            looked: None,
            suspects: BTreeSet::new(),
        })
    }

    /// What becomes readable when [`Self::ready`] is to be called.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    pub(super) fn add(&mut self, id: ListenerId, socket: &impl AsFd) {
        if self.all.contains(&id) {
            return;
        }
        let event = EpollEvent::new(self.interest(), id.0);
        match self.epoll.add(socket, event) {
            Ok(()) => drop(self.all.insert(id)),
            Err(error) => debug!("cannot watch the queue of a listener: {error}"),
        }
    }

    /// To be called while the socket is open: others may have it, and it would be told of for ever.
    pub(super) fn remove(&mut self, id: ListenerId, socket: &impl AsFd) {
        self.suspects.remove(&id);
        if self.all.remove(&id)
            && let Err(error) = self.epoll.delete(socket)
        {
            debug!("cannot stop watching the queue of a listener: {error}");
        }
    }

    fn interest(&self) -> EpollFlags {
        match self.state {
            State::Armed { .. } => EpollFlags::EPOLLIN | EpollFlags::EPOLLET,
            // The end of a listener is told of without being asked for.
            State::Looking { .. } | State::Resting { .. } => EpollFlags::EPOLLET,
        }
    }

    /// Something has come to a queue, or a listener was shut down; whether one was.
    pub(super) fn ready<'a>(
        &mut self,
        now: Instant,
        socket: impl Fn(ListenerId) -> Option<BorrowedFd<'a>>,
    ) -> bool {
        let mut events = [EpollEvent::empty(); BATCH];
        let mut ended = BTreeSet::new();
        while let Ok(count @ 1..) = self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            let told = events.iter().take(count);
            let hung_up = told.filter(|event| event.events().contains(EpollFlags::EPOLLHUP));
            ended.extend(hung_up.map(|event| ListenerId(event.data())));
        }
        // It would be told of again and again.
        for id in &ended {
            if let Some(socket) = socket(*id) {
                self.remove(*id, &socket);
            }
        }
        // Where nothing is told of any more, something had come: its worker was faster.
        if let State::Armed { since } = self.state {
            let waited = now.saturating_duration_since(since);
            self.rest = match waited >= MAX_REST {
                true => MIN_REST,
                false => (self.rest * 2).min(MAX_REST),
            };
            let at = now + LOOK_AFTER;
            self.enter(
                State::Looking {
                    at,
                    pause: LOOK_AFTER,
                },
                socket,
            );
        }
        !ended.is_empty()
    }

    fn enter<'a>(&mut self, state: State, socket: impl Fn(ListenerId) -> Option<BorrowedFd<'a>>) {
        self.state = state;
        let interest = self.interest();
        for id in &self.all {
            if let Some(socket) = socket(*id)
                && let Err(error) = self
                    .epoll
                    .modify(socket, &mut EpollEvent::new(interest, id.0))
            {
                debug!("cannot watch the queue of a listener: {error}");
            }
        }
    }

    /// When [`Self::is_due`] changes by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Armed { .. } => None,
            State::Looking { at, .. } => Some(at),
            State::Resting { until } => Some(until),
        }
    }

    /// Whether to look at the queues. Something has woken us, so a look costs little.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let pause = MIN_PAUSE.max(PAUSE_FOR_EACH * self.count());
        let is_long_ago = |looked: Instant| now.saturating_duration_since(looked) >= pause;
        match self.state {
            State::Armed { .. } => false,
            State::Looking { at, .. } => at <= now,
            State::Resting { until } => until <= now || self.looked.is_none_or(is_long_ago),
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ListenerId> {
        self.all.iter().copied()
    }

    /// What was found of the queues that are not empty; those of the listeners that nobody has. Twice in a row: a
    /// process that is just being made is in no list.
    pub(super) fn found<'a>(
        &mut self,
        now: Instant,
        findings: &[(ListenerId, Finding)],
        socket: impl Fn(ListenerId) -> Option<BorrowedFd<'a>>,
    ) -> Vec<ListenerId> {
        self.looked = Some(now);
        if findings.is_empty() {
            self.suspects.clear();
            match self.state {
                State::Resting { until } if until <= now => {
                    self.enter(State::Armed { since: now }, socket);
                }
                State::Resting { .. } => {}
                State::Looking { .. } | State::Armed { .. } => {
                    self.state = State::Resting {
                        until: now + self.rest,
                    };
                }
            }
            return Vec::new();
        }
        let alone = findings.iter().filter(|(_, it)| *it == Finding::Abandoned);
        let alone: BTreeSet<ListenerId> = alone.map(|(id, _)| *id).collect();
        let abandoned = alone.intersection(&self.suspects).copied().collect();
        let pause = match (alone.is_empty(), self.state) {
            // Who is slow is slow for a while.
            (true, State::Looking { pause, .. }) => (pause * 2).min(MAX_REST),
            (true | false, _) => LOOK_AFTER,
        };
        self.suspects = alone;
        self.state = State::Looking {
            at: now + pause,
            pause,
        };
        abandoned
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::{Shutdown, TcpListener, TcpStream};

    const ID: ListenerId = ListenerId(7);

    fn watched() -> (QueueWatch, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut watch = QueueWatch::new().unwrap();
        watch.add(ID, &listener);
        (watch, listener)
    }

    /// A connection comes, and the queue is looked at.
    fn look(watch: &mut QueueWatch, listener: &TcpListener, now: Instant) {
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // A worker is mostly faster than we are: the event has gone by the time we ask for it.
        listener.accept().unwrap();
        assert!(!watch.ready(now, |_| Some(listener.as_fd())));
        assert_eq!(watch.deadline(), Some(now + LOOK_AFTER));
    }

    #[test]
    fn it_rests_ever_longer_while_queues_are_emptied() {
        let (mut watch, listener) = watched();
        assert_eq!(watch.deadline(), None, "an idle server wakes nobody");
        let mut now = Instant::now();
        let mut rests = Vec::new();
        for _ in 0..6 {
            look(&mut watch, &listener, now);
            assert!(watch.found(now, &[], |_| Some(listener.as_fd())).is_empty());
            let until = watch.deadline().unwrap();
            rests.push((until - now).as_millis());
            now = until;
            watch.found(now, &[], |_| Some(listener.as_fd()));
            assert_eq!(watch.deadline(), None);
        }
        assert_eq!(rests, [500, 1000, 2000, 4000, 4000, 4000]);
    }

    #[test]
    fn a_listener_is_abandoned_when_two_looks_have_found_nobody() {
        let (mut watch, listener) = watched();
        let now = Instant::now();
        look(&mut watch, &listener, now);
        let mut found = |finding| watch.found(now, &[(ID, finding)], |_| Some(listener.as_fd()));
        assert_eq!(found(Finding::Abandoned), []);
        assert_eq!(found(Finding::Owned), []);
        assert_eq!(found(Finding::Abandoned), []);
        assert_eq!(found(Finding::Abandoned), [ID]);
    }

    #[test]
    fn the_end_of_a_listener_is_told_of_once() {
        let (mut watch, listener) = watched();
        socket2::SockRef::from(&listener)
            .shutdown(Shutdown::Both)
            .unwrap();
        let now = Instant::now();
        assert!(watch.ready(now, |_| Some(listener.as_fd())));
        assert!(!watch.ready(now, |_| Some(listener.as_fd())));
        assert_eq!(watch.ids().count(), 0);
    }
}

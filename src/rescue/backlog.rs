//! Connections that wait in the listeners of workers that will not accept them any more.
//!
//! The hazard is `O_NONBLOCK`, which is everybody's who has the listener. It is set, since a client
//! may leave between poll and accept. A worker that hangs in accept is not helped by less.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener as Plain};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Interest, Registry};
use nix::sys::stat::fstat;

use super::event_source::EventSource;
use super::tallies::Tallies;
use super::timers::Timers;
use crate::sys::{descriptor, procfs};

/// How often to ask whether anything is on its way into the backlog.
const EMPTY_CHECK_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Backlog {
    worker: u64,
    listener: TcpListener,
    inode: u64,
    fill: Fill,
}

/// What was seen of a backlog. One that was empty twice is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fill {
    Unknown,
    EmptyOnce,
}

#[derive(Debug)]
pub(super) struct Backlogs {
    registry: Registry,
    backlogs: BTreeMap<u64, Backlog>,
    last_id: u64,
    timers: Timers,
}

impl Backlogs {
    pub(super) fn new(registry: Registry) -> Self {
        Self {
            registry,
            backlogs: BTreeMap::new(),
            last_id: 0,
            timers: Timers::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.backlogs.is_empty()
    }

    /// Begins to drain a listener; the number of its backlog.
    pub(super) fn open(
        &mut self,
        worker: u64,
        listener: OwnedFd,
        now: Instant,
        tallies: &mut Tallies,
    ) -> io::Result<u64> {
        self.last_id += 1;
        let id = self.last_id;
        let backlog = Backlog::open(worker, listener, &self.registry, id)?;
        self.backlogs.insert(id, backlog);
        self.timers.set(id, Some(now + EMPTY_CHECK_INTERVAL));
        tallies.opened(worker);
        Ok(id)
    }

    /// Accepts a connection, for a worker: it, and its peer; none: nothing waits.
    pub(super) fn accept(&mut self, id: u64) -> Option<(u64, OwnedFd, SocketAddr)> {
        let backlog = self.backlogs.get_mut(&id)?;
        loop {
            match backlog.listener.accept() {
                Ok((client, peer)) => {
                    backlog.fill = Fill::Unknown;
                    return Some((backlog.worker, client.into(), peer));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => {
                    log::debug!("cannot accept: {error}");
                    return None;
                }
            }
        }
    }

    pub(super) fn next_check(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// A backlog that is to be emptied once more and then [checked](Self::check).
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<u64> {
        self.timers.pop(now)
    }

    /// Lets a listener go whose backlog is empty for the second time. Once would not do: a handshake
    /// may have ended between the accept and the look.
    pub(super) fn check(&mut self, id: u64, now: Instant, tallies: &mut Tallies) {
        let Some(backlog) = self.backlogs.get_mut(&id) else {
            return;
        };
        match (backlog.fill, backlog.is_empty()) {
            (Fill::EmptyOnce, true) => return self.close(id, tallies),
            (Fill::Unknown, true) => backlog.fill = Fill::EmptyOnce,
            (Fill::Unknown | Fill::EmptyOnce, false) => backlog.fill = Fill::Unknown,
        }
        self.timers.set(id, Some(now + EMPTY_CHECK_INTERVAL));
    }

    pub(super) fn close_all(&mut self, tallies: &mut Tallies) {
        let ids: Vec<u64> = self.backlogs.keys().copied().collect();
        ids.into_iter().for_each(|id| self.close(id, tallies));
    }

    pub(super) fn close(&mut self, id: u64, tallies: &mut Tallies) {
        self.timers.set(id, None);
        if let Some(backlog) = self.backlogs.remove(&id) {
            tallies.closed(backlog.worker);
        }
    }
}

impl Backlog {
    fn open(worker: u64, listener: OwnedFd, registry: &Registry, id: u64) -> io::Result<Self> {
        descriptor::set_nonblocking(&listener, true)?;
        let inode = fstat(listener.as_fd())?.st_ino;
        let mut listener = TcpListener::from_std(Plain::from(listener));
        let token = EventSource::Backlog(id).token();
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Self {
            worker,
            listener,
            inode,
            fill: Fill::Unknown,
        })
    }

    /// Whether nothing waits, half-open connections too.
    fn is_empty(&self) -> bool {
        let lines = procfs::listeners(None, &BTreeSet::from([self.inode])).unwrap_or_default();
        lines.iter().all(|line| line.is_empty())
    }
}

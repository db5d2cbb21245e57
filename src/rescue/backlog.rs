//! Accepts what waits in the listener of a worker that will not do it any more.
//!
//! The hazard is `O_NONBLOCK`, which is everybody's: it is set, since a client may leave between
//! poll and accept. A worker that hangs in accept is not helped by less.

use std::collections::BTreeSet;
use std::io;
use std::net::TcpListener as Plain;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Interest, Registry};
use nix::sys::stat::fstat;

use super::adopted::token;
use super::process::Rescuer;
use crate::sys::{descriptor, procfs};

/// How often to ask whether anything is on its way into the backlog.
const EMPTY_CHECK_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Backlog {
    worker: u64,
    listener: TcpListener,
    inode: u64,
    was_empty: bool,
}

impl Backlog {
    fn open(worker: u64, listener: OwnedFd, registry: &Registry, id: u64) -> io::Result<Self> {
        descriptor::set_nonblocking(&listener, true)?;
        let inode = fstat(listener.as_fd())?.st_ino;
        let mut listener = TcpListener::from_std(Plain::from(listener));
        registry.register(&mut listener, token(id), Interest::READABLE)?;
        Ok(Self {
            worker,
            listener,
            inode,
            was_empty: false,
        })
    }

    /// Whether nothing waits in it, half-open connections too.
    fn is_empty(&self) -> bool {
        let lines = procfs::listeners(None, &BTreeSet::from([self.inode])).unwrap_or_default();
        lines.iter().all(|line| line.is_empty())
    }
}

impl Rescuer {
    pub(super) fn open_backlogs(&mut self, worker: u64, listener: OwnedFd, now: Instant) {
        let id = self.next_id();
        match Backlog::open(worker, listener, self.poll.registry(), id) {
            Ok(backlog) => {
                self.worker(worker).open += 1;
                self.backlogs.insert(id, backlog);
                self.backlog_ready(id);
                self.timers.set(id, Some(now + EMPTY_CHECK_INTERVAL));
            }
            Err(error) => log::warn!("worker {worker}: cannot accept what waits for it: {error}"),
        }
    }

    /// Accepts all that is there.
    pub(super) fn backlog_ready(&mut self, id: u64) {
        while let Some(backlog) = self.backlogs.get_mut(&id) {
            let worker = backlog.worker;
            match backlog.listener.accept() {
                Ok((client, _)) => {
                    backlog.was_empty = false;
                    self.worker(worker).tally.held += 1;
                    if self.is_full() {
                        self.worker(worker).give_up("too-many");
                    } else {
                        self.adopt_accepted(worker, client.into());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return log::debug!("cannot accept: {error}"),
            }
        }
    }

    /// Lets a listener go in which twice nothing was.
    pub(super) fn backlog_late(&mut self, id: u64, now: Instant) {
        self.backlog_ready(id);
        let Some(backlog) = self.backlogs.get_mut(&id) else {
            return;
        };
        let is_empty = backlog.is_empty();
        let is_over = is_empty && backlog.was_empty;
        backlog.was_empty = is_empty;
        let worker = backlog.worker;
        if is_over {
            self.backlogs.remove(&id);
            let worker = self.worker(worker);
            worker.open = worker.open.saturating_sub(1);
        } else {
            self.timers.set(id, Some(now + EMPTY_CHECK_INTERVAL));
        }
    }

    pub(super) fn close_backlogs(&mut self) {
        for (id, backlog) in std::mem::take(&mut self.backlogs) {
            self.timers.set(id, None);
            let worker = self.worker(backlog.worker);
            worker.open = worker.open.saturating_sub(1);
        }
    }
}

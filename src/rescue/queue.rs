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

/// How often to ask whether anything is on its way into the queue.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Queue {
    worker: u64,
    listener: TcpListener,
    inode: u64,
    was_empty: bool,
}

impl Queue {
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
    pub(super) fn open_queue(&mut self, worker: u64, listener: OwnedFd, now: Instant) {
        let id = self.next_id();
        match Queue::open(worker, listener, self.poll.registry(), id) {
            Ok(queue) => {
                self.worker(worker).open += 1;
                self.queues.insert(id, queue);
                self.queue_ready(id);
                self.timers.set(id, Some(now + PAUSE));
            }
            Err(error) => log::warn!("worker {worker}: cannot accept what waits for it: {error}"),
        }
    }

    /// Accepts all that is there.
    pub(super) fn queue_ready(&mut self, id: u64) {
        while let Some(queue) = self.queues.get_mut(&id) {
            let worker = queue.worker;
            match queue.listener.accept() {
                Ok((client, _)) => {
                    queue.was_empty = false;
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
    pub(super) fn queue_late(&mut self, id: u64, now: Instant) {
        self.queue_ready(id);
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        let is_empty = queue.is_empty();
        let is_over = is_empty && queue.was_empty;
        queue.was_empty = is_empty;
        let worker = queue.worker;
        if is_over {
            self.queues.remove(&id);
            let worker = self.worker(worker);
            worker.open = worker.open.saturating_sub(1);
        } else {
            self.timers.set(id, Some(now + PAUSE));
        }
    }

    pub(super) fn close_queues(&mut self) {
        for (id, queue) in std::mem::take(&mut self.queues) {
            self.timers.set(id, None);
            let worker = self.worker(queue.worker);
            worker.open = worker.open.saturating_sub(1);
        }
    }
}

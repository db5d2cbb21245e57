//! What is on its way to a rescuer: orders, and duplicates of workers' connections with them.
//!
//! The supervisor's loop never waits for a rescuer. What the channel does not take now stays here, and
//! goes out when the channel can be written to. Connections are fetched from their worker only when they
//! are about to be sent, so that no more than one message's descriptors are ours at a time.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use log::warn;

use super::fetch::{Fetched, fetch};
use crate::fleet::WorkerId;
use crate::sys::channel;
use crate::wire::rescue::{Descriptor, MAX_CONNECTIONS, Order, encode};

/// How many connections are fetched and sent before the loop sees to other things: some milliseconds.
const MAX_FETCHED_AT_ONCE: usize = 512;
/// So many descriptors are under way that the rescuer has to take some first; nothing tells when it has.
const CROWDED_RETRY: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Message>,
    /// What is next, with its descriptors.
    ready: Option<Datagram>,
    /// When to go on, where the channel does not tell.
    retry: Option<Instant>,
}

/// Bytes, and the descriptors that go with them.
type Datagram = (Vec<u8>, Vec<OwnedFd>);

#[derive(Debug)]
enum Message {
    Order(Order, Vec<OwnedFd>),
    Connections {
        worker: WorkerId,
        pid: i32,
        found: Vec<Descriptor>,
    },
}

/// Why nothing more can be sent.
#[derive(Debug)]
pub(super) enum Error {
    /// The rescuer is gone.
    Gone(io::Error),
    /// The connections of this worker cannot be fetched; what comes after them can be sent.
    Unfetchable { worker: WorkerId, source: io::Error },
}

impl Outbox {
    pub(super) fn order(&mut self, order: Order, descriptors: Vec<OwnedFd>) {
        self.waiting.push_back(Message::Order(order, descriptors));
    }

    /// Has the connections of a worker fetched and sent.
    pub(super) fn connections(&mut self, worker: WorkerId, pid: i32, found: &[Descriptor]) {
        for some in found.chunks(MAX_CONNECTIONS) {
            self.waiting.push_back(Message::Connections {
                worker,
                pid,
                found: some.to_vec(),
            });
        }
    }

    /// Whether all was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.ready.is_none()
    }

    /// When to call [`Self::flush`] although the channel has not become writable.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.retry
    }

    /// Sends what the channel takes.
    ///
    /// # Errors
    /// See [`Error`].
    pub(super) fn flush(&mut self, channel: &OwnedFd) -> Result<(), Error> {
        self.retry = None;
        let mut fetched = 0;
        loop {
            if fetched >= MAX_FETCHED_AT_ONCE {
                self.retry = Some(Instant::now());
                return Ok(());
            }
            let Some((bytes, descriptors)) = self.next()? else {
                return Ok(());
            };
            fetched += descriptors.len();
            let numbers: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
            match channel::send(channel, bytes, &numbers) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::ETOOMANYREFS) => {
                    self.retry = Some(Instant::now() + CROWDED_RETRY);
                    return Ok(());
                }
                sent => sent.map_err(Error::Gone)?,
            }
            self.ready = None;
        }
    }

    fn next(&mut self) -> Result<Option<&Datagram>, Error> {
        if self.ready.is_none() {
            self.ready = match self.waiting.pop_front() {
                None => None,
                Some(Message::Order(order, descriptors)) => Some((encode(&order), descriptors)),
                Some(Message::Connections { worker, pid, found }) => {
                    let fetched = self.fetched(worker, pid, &found);
                    Some(fetched.map_err(|source| Error::Unfetchable { worker, source })?)
                }
            };
        }
        Ok(self.ready.as_ref())
    }

    /// Fetches as many connections as there are descriptors for; the others come next.
    fn fetched(
        &mut self,
        worker: WorkerId,
        pid: i32,
        found: &[Descriptor],
    ) -> io::Result<Datagram> {
        let Fetched {
            looked,
            mut connections,
            sockets,
        } = fetch(found)?;
        let rest = &found[looked..];
        if looked == 0 {
            // There is no descriptor to be had: the rescuer counts those for which none comes.
            warn_of_few_descriptors(worker, rest.len());
            connections = rest.to_vec();
        } else if !rest.is_empty() {
            self.waiting.push_front(Message::Connections {
                worker,
                pid,
                found: rest.to_vec(),
            });
        }
        let order = Order::Hold {
            worker: worker.0,
            pid,
            connections,
        };
        Ok((encode(&order), sockets))
    }
}

fn warn_of_few_descriptors(worker: WorkerId, count: usize) {
    warn!(
        "worker {worker}: {count} of its connections cannot be held, there are no more descriptors; raise the limit \
         on open files (ulimit -n)"
    );
}

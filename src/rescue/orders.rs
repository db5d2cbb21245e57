//! What the supervisor orders.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::NAME;
use super::process::Rescuer;
use super::worker::WatchedConnection;
use crate::sys::channel;
use crate::wire::rescue::{Descriptor, MAX_MESSAGE_LEN, Order, Report, decode};

impl Rescuer {
    /// Obeys all that is there. A channel that is closed is the order to end: the supervisor is gone.
    pub(super) fn receive_orders(&mut self, now: Instant) {
        let mut bytes = vec![0; MAX_MESSAGE_LEN];
        while self.is_channel_open {
            match channel::receive(&self.channel, &mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) | Ok((0, _)) => {
                    self.is_channel_open = false;
                    self.end(now, self.configuration.drain_timeout_ms);
                }
                Ok((count, descriptors)) => match decode(bytes.get(..count).unwrap_or_default()) {
                    Some(order) => self.carry_out(order, descriptors, now),
                    None => log::warn!("{NAME}: an order is not understood"),
                },
            }
        }
    }

    fn carry_out(&mut self, order: Order, descriptors: Vec<OwnedFd>, now: Instant) {
        match order {
            Order::Hold {
                worker,
                pid,
                connections,
            } => self.take(worker, pid, connections, descriptors, now),
            Order::AllSent { worker } => {
                let known = self.worker(worker);
                known.is_complete = true;
                let held = known.connections.len();
                self.report(&Report::Holding { worker, held });
                self.check_quiet(worker, now);
            }
            Order::ReadersInterrupted { worker } => self.worker(worker).was_interrupted(now),
            Order::PrepareStop { worker } => {
                let readers = self.worker(worker).tell(now);
                self.report(&Report::Readers {
                    worker,
                    threads: readers,
                });
            }
            Order::ReadersStopped { worker } => {
                let may_stop = self.worker(worker).is_as_told(now);
                self.report(&Report::StopChecked { worker, may_stop });
            }
            Order::WorkerExited { worker } => self.worker(worker).is_gone = true,
            Order::DrainBacklog { worker, .. } => {
                for listener in descriptors {
                    self.open_backlogs(worker, listener, now);
                }
            }
            Order::End { within_ms } => self.end(now, within_ms),
        }
        if self
            .workers
            .values()
            .any(|worker| !worker.connections.is_empty())
        {
            self.next_look.get_or_insert(now);
        }
    }

    fn take(
        &mut self,
        id: u64,
        pid: i32,
        connections: Vec<Descriptor>,
        descriptors: Vec<OwnedFd>,
        now: Instant,
    ) {
        self.worker(id).pid = Some(pid);
        let mut descriptors = descriptors.into_iter();
        for at in connections {
            let (number, is_full) = (self.next_id(), self.is_full());
            let worker = self.worker(id);
            worker.tally.held += 1;
            worker.include(at.pid);
            // None has come for what the system has no more descriptors for.
            let Some(socket) = descriptors.next().filter(|_| !is_full) else {
                worker.give_up("too-many");
                continue;
            };
            match WatchedConnection::new(socket, at, worker.told.is_none(), now) {
                Ok(connection) => drop(worker.connections.insert(number, connection)),
                Err(error) => {
                    log::debug!("cannot hold a connection: {error}");
                    worker.give_up("system");
                }
            }
        }
    }

    /// Begins to end: what workers have is theirs, what is idle is closed.
    fn end(&mut self, now: Instant, within_ms: u64) {
        let deadline = now + Duration::from_millis(within_ms);
        self.ending = Some(self.ending.map_or(deadline, |former| former.min(deadline)));
        for worker in self.workers.values_mut() {
            for mut connection in std::mem::take(&mut worker.connections).into_values() {
                connection.thaw();
                worker.tally.finished += 1;
            }
        }
        self.close_backlogs();
        self.close_idle(now);
    }
}

//! Taking in the connections that the supervisor sends.

use std::os::fd::OwnedFd;
use std::time::Instant;

use super::rescuer::Rescuer;
use super::tallies::Outcome;
use crate::wire::rescue::Descriptor;

impl Rescuer {
    pub(super) fn hold(
        &mut self,
        worker: u64,
        pid: i32,
        connections: Vec<Descriptor>,
        descriptors: Vec<OwnedFd>,
        now: Instant,
    ) {
        self.workers.worker(worker).set_root(pid);
        let last = self.adopted.last_custody(pid);
        let mut sockets = descriptors.into_iter();
        for place in connections {
            let is_full = self.is_full();
            let retiring = self.workers.worker(worker);
            self.tallies.count(worker, Outcome::Held);
            retiring.include(place.pid);
            // None has come for what the system has no more descriptors for.
            let Some(socket) = sockets.next().filter(|_| !is_full) else {
                self.give_up(worker, "too-many");
                continue;
            };
            let custody = last.unwrap_or_else(|| self.adopted.custody(&socket));
            if let Err(error) = retiring.hold(custody, socket, place, now) {
                log::debug!("cannot hold a connection: {error}");
                self.give_up(worker, "system");
            }
        }
    }
}

//! Accepting what waits in listeners that nobody accepts from.

use std::os::fd::OwnedFd;
use std::time::Instant;

use super::rescuer::Rescuer;
use super::step::Unanswerable;
use super::tallies::Outcome;

impl Rescuer {
    pub(super) fn open_backlogs(&mut self, worker: u64, listeners: Vec<OwnedFd>, now: Instant) {
        // The worker's tally is reported when the worker is over, so there must be one.
        self.workers.worker(worker);
        for listener in listeners {
            match self.backlogs.open(worker, listener, now, &mut self.tallies) {
                Ok(id) => self.drain(id, now),
                Err(error) => {
                    log::warn!("worker {worker}: cannot accept what waits for it: {error}");
                }
            }
        }
    }

    /// Accepts all that waits in a backlog.
    pub(super) fn drain(&mut self, id: u64, now: Instant) {
        while let Some((worker, socket, peer)) = self.backlogs.accept(id) {
            self.tallies.count(worker, Outcome::Held);
            if self.is_full() {
                self.give_up(worker, "too-many");
                continue;
            }
            let tallies = &mut self.tallies;
            let adopted = self.adopted.accept(worker, socket, peer, now, tallies);
            if let Err(why) = adopted {
                self.give_up(worker, why.reason());
                self.close_if_unserved(id, why);
            }
        }
    }

    /// Where nobody serves, clients are refused as soon as the listener is closed, and can go elsewhere.
    fn close_if_unserved(&mut self, id: u64, why: Unanswerable) {
        match why {
            Unanswerable::RemoteClient => {}
            Unanswerable::NobodyServes => self.backlogs.close(id, &mut self.tallies),
        }
    }

    pub(super) fn check_backlogs(&mut self, now: Instant) {
        while let Some(id) = self.backlogs.pop_due(now) {
            self.drain(id, now);
            self.backlogs.check(id, now, &mut self.tallies);
        }
    }
}

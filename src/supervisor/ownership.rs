//! Listeners that no process has any more.
//!
//! A worker that closes a listener, because it drains by itself or has no need of a port any more, lets go of it, and
//! our duplicate alone would keep it alive: clients would wait in its queue for nobody. So where a queue does not empty,
//! it is looked who has the listener.

use std::time::Instant;

use super::Supervisor;
use super::listeners::owners::{Ownership, owners};
use super::listeners::queue_watch::Finding;
use super::listeners::queues::Waiting;
use crate::fleet::Event;
use crate::sys::procfs;

impl Supervisor {
    pub(super) fn queues_ready(&mut self) {
        if self.listeners.queues_ready(Instant::now()) {
            self.steering.reconcile(&mut self.listeners);
        }
    }

    /// Looks at the queues, if it is time to.
    pub(super) fn look_at_queues(&mut self) {
        let now = Instant::now();
        if !self.listeners.queues_are_due(now) {
            return;
        }
        let waiting = self.listeners.waiting();
        let findings: Vec<_> = waiting
            .iter()
            .map(|it| (it.listener, self.finding(it)))
            .collect();
        let abandoned = self.listeners.found(now, &findings);
        let events = abandoned
            .into_iter()
            .map(|listener| Event::Abandoned { listener });
        self.inbox.extend(events);
    }

    /// Whether anybody has a listener: first the processes of its workers, which are few.
    fn finding(&self, waiting: &Waiting) -> Finding {
        let trees = waiting
            .users
            .iter()
            .map(|worker| (*worker, self.workers.tree(*worker)));
        let inodes = [waiting.inode].into_iter().collect();
        let found = owners(&inodes, trees, procfs::socket_inodes);
        let is_let_go = |worker| found.ownership(worker, waiting.inode) == Ownership::LetGo;
        let may_be_abandoned = waiting.users.iter().copied().all(is_let_go);
        // A process may have left its worker, and serve.
        match may_be_abandoned && procfs::holder_of(waiting.inode).is_none() {
            true => Finding::Abandoned,
            false => Finding::Owned,
        }
    }
}

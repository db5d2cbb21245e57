//! Listeners that no process has any more.
//!
//! A worker that closes a listener, because it drains by itself or has no need of a port any more, lets go of it, and
//! our duplicate alone would keep it alive: clients would wait in its queue for nobody. So where a queue does not empty,
//! it is looked who has the listener; and once, when a worker is about to take over.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::time::Instant;

use super::Supervisor;
use super::listeners::owners::{Ownership, owners};
use super::listeners::queue_watch::Finding;
use super::listeners::queues::Waiting;
use crate::fleet::{Event, ListenerId, Seen, WorkerId};
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

    /// Looks whether workers that have become ready are alive and have their listeners.
    pub(super) fn look_at_ready(&mut self, workers: &[(WorkerId, Vec<ListenerId>)]) -> Event {
        let seen = workers.iter();
        let seen = seen.map(|(worker, listeners)| (*worker, self.seen(*worker, listeners)));
        Event::ReadySeen {
            seen: seen.collect(),
        }
    }

    fn seen(&mut self, worker: WorkerId, listeners: &[ListenerId]) -> Seen {
        if self.workers.pid(worker).is_none_or(procfs::has_ended) {
            return Seen::Ended;
        }
        let known = listeners.iter();
        let known = known.filter_map(|id| Some((*id, self.listeners.inode(*id)?)));
        let known: BTreeMap<ListenerId, u64> = known.collect();
        let inodes = known.values().copied().collect();
        let look = || {
            let tree = [(worker, self.workers.tree(worker))];
            owners(&inodes, tree, procfs::socket_inodes)
        };
        // Twice, for a process that is being made may be missing; and a process may have left its worker, and serve.
        let (once, again) = (look(), OnceCell::new());
        let has_let_go = |inode: u64| {
            once.ownership(worker, inode) == Ownership::LetGo
                && again.get_or_init(look).ownership(worker, inode) == Ownership::LetGo
                && procfs::holder_of(inode).is_none()
        };
        let is_unknown = |inode: &u64| once.ownership(worker, *inode) == Ownership::Unknown;
        let hides = known.values().any(is_unknown);
        let let_go = known.iter().filter(|(_, inode)| has_let_go(**inode));
        let let_go: Vec<ListenerId> = let_go.map(|(id, _)| *id).collect();
        if hides {
            self.workers.hides_descriptors(worker);
        }
        match let_go.is_empty() {
            true => Seen::Serves,
            false => Seen::LetGo(let_go),
        }
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

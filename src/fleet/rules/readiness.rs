//! What makes a worker ready: it listens wherever the service is, on all that was given to it, and said so in the
//! way that was asked for.

use std::collections::BTreeSet;

use super::Fleet;
use crate::fleet::listener::Duty;
use crate::fleet::policy::ReadyWhen;
use crate::fleet::vocabulary::*;
use crate::fleet::worker::{Declaration, Role, Worker};

impl Fleet {
    /// Whether a worker may serve.
    pub(super) fn is_ready(&self, worker: &Worker) -> bool {
        let endpoints = worker.endpoints();
        worker.declaration == Declaration::Made
            && worker.uses_all_listeners()
            && !endpoints.is_empty()
            && self.expected(worker).is_subset(&endpoints)
    }

    /// The endpoints that a worker has to listen on before it may serve: those of the service, which all that serve now
    /// had before they were ready. What one of them opened later (an inspector, a port for metrics) is owed by nobody.
    /// A worker that is needed only for listeners that were kept owes no more than these.
    pub(super) fn expected(&self, worker: &Worker) -> BTreeSet<Endpoint> {
        let rollout = self
            .rollout
            .as_ref()
            .filter(|rollout| rollout.has(worker.id));
        let may_change = rollout.is_some_and(|it| it.addresses == Addresses::MayChange);
        let mut under_way = self.rollout.iter();
        let is_start = under_way.any(|it| it.kind == ChangeKind::Start);
        if worker.role == Role::DrainOnly || is_start || may_change {
            return BTreeSet::new();
        }
        let of_slot = self.owed_in_slot(worker);
        match self.workers.owed_by_all() {
            None => of_slot,
            // What one worker alone serves does not tell what is common.
            Some(_) if of_slot.is_empty() && self.workers.serving().nth(1).is_none() => of_slot,
            Some(by_all) if of_slot.is_empty() => by_all,
            Some(by_all) => &by_all & &of_slot,
        }
    }

    /// What the worker before this one owed to it: one that serves, or one that has died.
    fn owed_in_slot(&self, worker: &Worker) -> BTreeSet<Endpoint> {
        match self.served_in_slot(worker) {
            Some(before) => before.owed(),
            None => self.kept_in_slot(worker, |duty| duty == Duty::Owed),
        }
    }

    /// The worker that serves in this one's slot, and that this one is to replace.
    fn served_in_slot(&self, worker: &Worker) -> Option<&Worker> {
        let others = self.workers.in_slot(worker.slot);
        let mut others = others.filter(|other| other.is_serving() && other.id != worker.id);
        others.find(|other| !self.is_incoming(other.id))
    }

    /// The endpoints that an incoming worker does not owe, and for which it gets some time all the same: the worker
    /// before it listened there before it was ready, or soon after, as one does that is ready with the first of several.
    pub(super) fn hoped_for(&self, worker: &Worker) -> BTreeSet<Endpoint> {
        let hoped_for = match self.served_in_slot(worker) {
            Some(before) => before.opened_soon(),
            None => self.kept_in_slot(worker, Duty::may_follow_soon),
        };
        &hoped_for - &worker.endpoints()
    }

    /// What was kept in a worker's slot of the one before it.
    fn kept_in_slot(&self, worker: &Worker, which: impl Fn(Duty) -> bool) -> BTreeSet<Endpoint> {
        let others = self.workers.in_slot(worker.slot);
        let mut between = others.filter(|other| {
            other.id != worker.id
                && !self.is_incoming(other.id)
                && other.is_between_lives()
                && other.role == Role::Serve
        });
        let between = between.next().map(|other| &other.listeners);
        let empty = self.empty_slots.get(worker.slot);
        let kept = between.or(empty.map(|empty| &empty.listeners));
        let kept = kept.into_iter().flat_map(|kept| kept.values());
        kept.filter(|listener| which(listener.duty))
            .map(|listener| listener.endpoint)
            .collect()
    }

    /// Has a worker probed: whether it accepts from a listener that was passed to it, or whether it answers.
    ///
    /// With a shared listener the first comes before the second, for another worker would answer for it.
    pub(super) fn probe(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let is_shared = |listener: ListenerId| self.workers.holders(listener).nth(1).is_some();
        let unused = worker.unused_listening_socket();
        let (kind, listener) = match worker.ready {
            ReadyWhen::Probed if !unused.is_some_and(is_shared) => {
                (ProbeKind::Http, worker.listeners.keys().next().copied())
            }
            ReadyWhen::Probed | ReadyWhen::Listening | ReadyWhen::Notified => {
                (ProbeKind::Accept, unused)
            }
        };
        let Some(listener) = listener else {
            return;
        };
        let probe = Probe {
            worker: id,
            listener,
            kind,
            shared: is_shared(listener),
        };
        self.effects.push(Effect::Probe(probe));
    }
}

//! What makes a worker ready: it listens wherever its slot is served now, on all that was given to it, and said
//! so in the way that was asked for.

use std::collections::BTreeSet;

use super::Fleet;
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

    /// The endpoints that a worker has to listen on before it may serve: those that its slot
    /// serves now. A slot that serves none yet owes what all workers have in common; one worker
    /// alone does not tell what is common, since it may listen on ports of its own. A worker that is needed
    /// only for listeners that were kept owes no more than these.
    pub(super) fn expected(&self, worker: &Worker) -> BTreeSet<Endpoint> {
        let rollout = self.rollout.as_ref();
        let is_start = rollout.is_some_and(|rollout| rollout.kind == ChangeKind::Start);
        if worker.role == Role::DrainOnly || is_start {
            return BTreeSet::new();
        }
        if let Some(owed) = self.served_in_slot(worker) {
            return owed;
        }
        let mut all = self.workers.serving().map(Worker::endpoints);
        match (all.next(), all.next()) {
            (Some(first), Some(second)) => {
                all.fold(&first & &second, |common, more| &common & &more)
            }
            _ => BTreeSet::new(),
        }
    }

    /// What others serve in this worker's slot, or what was kept of that for the next; none
    /// if that is nothing.
    fn served_in_slot(&self, worker: &Worker) -> Option<BTreeSet<Endpoint>> {
        let others = self.workers.in_slot(worker.slot);
        let is_other = |other: &&Worker| other.id != worker.id && !self.is_incoming(other.id);
        let mut present = others.filter(is_other);
        let mut replacement = None;
        for other in &mut present {
            if other.is_serving() {
                return Some(other.endpoints());
            }
            if other.is_between_lives() && other.role == Role::Serve {
                replacement = replacement.or(Some(&other.listeners));
            }
        }
        let empty = self.empty_slots.get(worker.slot);
        let kept = replacement.or(empty.map(|empty| &empty.listeners))?;
        let endpoints = kept.values().map(|listener| listener.endpoint);
        Some(endpoints.collect()).filter(|kept: &BTreeSet<Endpoint>| !kept.is_empty())
    }

    /// Has a worker probed: whether it accepts from a listener that was passed to it, or whether it answers.
    ///
    /// With a shared listener the first comes before the second, for another worker would answer for it.
    pub(super) fn probe(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let is_shared = |listener: ListenerId| self.workers.holders(listener).nth(1).is_some();
        let unused = worker.unused_listening_socket(self.policy.ready);
        let (kind, listener) = match self.policy.ready {
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

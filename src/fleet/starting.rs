//! From a spawn to serving: what makes a worker ready, and what becomes of one that is not.
//!
//! A worker is ready when it listens wherever its slot is served now, on all that was given to it,
//! and said so in the way that was asked for. Being ready is observed, never assumed after a time.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Change;
use super::fleet::{Fleet, ReadyWhen, interval};
use super::vocabulary::*;
use super::worker::{Listener, Phase, Worker};

impl Fleet {
    /// Starts a worker of a queue, of whose listeners it has to use those in `adopt`.
    pub(super) fn spawn(
        &mut self,
        now: Time,
        slot: Slot,
        queue: ListenerSetId,
        generation: Generation,
        adopt: BTreeMap<ListenerId, Listener>,
    ) -> WorkerId {
        let id = WorkerId(self.next_worker);
        self.next_worker += 1;
        let mut worker = Worker::new(
            id,
            slot,
            queue,
            generation,
            now,
            now.plus(self.policy.start_timeout),
        );
        self.out.push(Effect::Spawn {
            worker: id,
            generation,
            slot,
            set: queue,
            workers: self.wanted,
            adopt: adopt.keys().copied().collect(),
        });
        worker.listeners = adopt;
        for listener in worker.listeners.values_mut() {
            listener.listening = false;
        }
        self.workers.insert(id, worker);
        id
    }

    /// A listener was made for a worker's queue: it is passed to all that start with it. They have
    /// it from now on, for if this one fails before we hear of the others, it must not be closed.
    /// Nor if they all have been told to stop by then, as the failure of one tells all: they have
    /// started with it, and it is theirs until they end.
    pub(super) fn prepared(&mut self, worker: WorkerId, listener: ListenerId, endpoint: Endpoint) {
        let Some(queue) = self.workers.get(&worker).map(|worker| worker.queue) else {
            return;
        };
        let starts = |sibling: &Worker| sibling.is_starting() || sibling.is_told();
        for sibling in self.workers.values_mut() {
            if sibling.id == worker || sibling.queue == queue && starts(sibling) {
                sibling.give(listener, endpoint, true);
            }
        }
    }

    pub(super) fn shared(&mut self, worker: WorkerId, listener: ListenerId, endpoint: Endpoint) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.give(listener, endpoint, false);
        }
    }

    pub(super) fn listened(
        &mut self,
        now: Time,
        id: WorkerId,
        listener: ListenerId,
        endpoint: Endpoint,
    ) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let fresh = Listener {
            endpoint,
            listening: false,
            passed: false,
        };
        worker.listeners.entry(listener).or_insert(fresh).listening = true;
        self.readiness_changed(now, id);
    }

    /// A worker said, in one of the ways there are, that it is ready.
    pub(super) fn declared(&mut self, now: Time, id: WorkerId, how: impl FnOnce(&mut Worker)) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        how(worker);
        worker.uses_passed_listeners();
        self.readiness_changed(now, id);
    }

    pub(super) fn readiness_changed(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        if worker.is_serving() {
            self.steer();
        } else if worker.is_starting() && self.is_ready(worker) {
            self.became_ready(now, id);
        }
    }

    pub(super) fn became_ready(&mut self, now: Time, id: WorkerId) {
        let kind = self
            .change
            .as_ref()
            .filter(|change| change.incoming.contains(&id))
            .map(|change| change.kind);
        match kind {
            Some(ChangeKind::Start) => {
                self.serve(id);
                self.steer();
                self.flip_if_ready(now);
            }
            Some(_) => {
                self.set_phase(id, Phase::Ready);
                self.out
                    .push(Effect::Log(WorkerEvent::Ready { worker: id }));
                self.flip_if_ready(now);
            }
            None if self
                .workers
                .get(&id)
                .is_some_and(|worker| worker.superseded) =>
            {
                self.retire(now, &[id])
            }
            None => {
                self.serve(id);
                self.steer();
            }
        }
    }

    pub(super) fn serve(&mut self, id: WorkerId) {
        self.set_phase(id, Phase::Serving);
        let worker = self.workers.get(&id);
        let listeners = worker
            .into_iter()
            .flat_map(|worker| worker.listeners.values());
        let endpoints = listeners.map(|listener| listener.endpoint).collect();
        self.out.push(Effect::Log(WorkerEvent::Serving {
            worker: id,
            endpoints,
        }));
    }

    pub(super) fn set_phase(&mut self, id: WorkerId, phase: Phase) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.phase = phase;
        }
    }

    /// Whether a worker may serve.
    pub(super) fn is_ready(&self, worker: &Worker) -> bool {
        let declared = match self.policy.ready {
            ReadyWhen::Listening => true,
            ReadyWhen::Notified => worker.notified,
            ReadyWhen::Probed => worker.probed,
        };
        let endpoints = worker.endpoints();
        declared
            && !worker.timed_out
            && worker.uses_all_listeners()
            && !endpoints.is_empty()
            && self.expected(worker).is_subset(&endpoints)
    }

    /// The endpoints that a worker has to listen on before it may serve: those that its slot
    /// serves now. A slot that serves none yet owes what all workers have in common; one worker
    /// alone does not tell what is common, since it may listen on ports of its own. Who is needed
    /// only for listeners that were kept owes no more than these.
    pub(super) fn expected(&self, worker: &Worker) -> BTreeSet<Endpoint> {
        let is_start = |change: &Change| change.kind == ChangeKind::Start;
        if worker.superseded || self.change.as_ref().is_some_and(is_start) {
            return BTreeSet::new();
        }
        if let Some(owed) = self.served_in_slot(worker) {
            return owed;
        }
        let served: Vec<&Worker> = self
            .workers
            .values()
            .filter(|other| other.is_serving())
            .collect();
        let mut all = served.iter().map(|other| other.endpoints());
        match (all.next(), served.len()) {
            (Some(first), 2..) => all.fold(first, |common, more| &common & &more),
            _ => BTreeSet::new(),
        }
    }

    /// What others serve in this worker's slot, or what was kept of that for who comes next; none
    /// if that is nothing.
    fn served_in_slot(&self, worker: &Worker) -> Option<BTreeSet<Endpoint>> {
        let others = self
            .workers
            .values()
            .filter(|other| other.slot == worker.slot && other.id != worker.id);
        let mut present = others.filter(|other| !self.is_incoming(other.id));
        if let Some(serving) = present.clone().find(|other| other.is_serving()) {
            return Some(serving.endpoints());
        }
        let replacement = present.find(|other| other.is_starting() && !other.superseded);
        let vacancy = self.vacancies.get(&worker.slot);
        let kept = replacement
            .map(|replacement| &replacement.listeners)
            .or(vacancy.map(|vacancy| &vacancy.kept))?;
        let endpoints = kept.values().map(|listener| listener.endpoint);
        Some(endpoints.collect()).filter(|kept: &BTreeSet<Endpoint>| !kept.is_empty())
    }

    /// Whether it belongs to the change that is under way.
    pub(super) fn is_incoming(&self, id: WorkerId) -> bool {
        let change = self.change.as_ref();
        change.is_some_and(|change| change.incoming.contains(&id))
    }

    /// Has a worker probed: whether it accepts from a listener that was passed to it, or whether it answers.
    ///
    /// With a shared listener the first comes before the second, for another worker would answer for it.
    fn probe(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        let unused = worker.unused_listener();
        let is_shared = |listener: &ListenerId| self.is_shared(*listener, id);
        let (kind, listener) = match self.policy.ready {
            ReadyWhen::Probed if !unused.as_ref().is_some_and(is_shared) => {
                (ProbeKind::Http, worker.listeners.keys().next().copied())
            }
            ReadyWhen::Probed | ReadyWhen::Listening | ReadyWhen::Notified => {
                (ProbeKind::Accept, unused)
            }
        };
        if let Some(listener) = listener {
            let shared = self.is_shared(listener, id);
            self.out.push(Effect::Probe {
                worker: id,
                listener,
                kind,
                shared,
            });
        }
    }

    /// Whether only a probe can tell that this worker is ready.
    pub(super) fn is_probed(&self, worker: &Worker) -> bool {
        match self.policy.ready {
            ReadyWhen::Listening => worker.unused_listener().is_some(),
            ReadyWhen::Notified => false,
            ReadyWhen::Probed => !worker.listeners.is_empty(),
        }
    }

    pub(super) fn check_starting(&mut self, now: Time) {
        let due: Vec<WorkerId> = self
            .workers
            .values()
            .filter(|worker| worker.is_starting() && !worker.timed_out)
            .map(|worker| worker.id)
            .collect();
        for id in due {
            let Some(worker) = self.workers.get(&id) else {
                continue;
            };
            let Phase::Starting {
                deadline,
                next_probe,
            } = worker.phase
            else {
                continue;
            };
            if deadline <= now {
                self.start_timed_out(now, id);
            } else if next_probe <= now && self.is_probed(worker) {
                let next_probe = now.plus(interval(now.since(worker.started)));
                self.set_phase(
                    id,
                    Phase::Starting {
                        deadline,
                        next_probe,
                    },
                );
                self.probe(id);
            }
        }
    }

    pub(super) fn start_timed_out(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        if self.is_incoming(id) {
            let failure = Failure::NotReady {
                worker: id,
                slot: worker.slot,
                missing: self
                    .expected(worker)
                    .difference(&worker.endpoints())
                    .copied()
                    .collect(),
                listening: worker.endpoints().into_iter().collect(),
                after: now.since(worker.started),
            };
            self.fail_change(now, failure);
        } else {
            self.out
                .push(Effect::Log(WorkerEvent::StartTimedOut { worker: id }));
            self.out.push(Effect::Kill { worker: id });
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.timed_out = true;
            }
        }
    }
}

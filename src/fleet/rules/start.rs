//! From a spawn to serving: what makes a worker ready, and what becomes of one that is not.
//!
//! Being ready ([`readiness`](super::readiness)) is observed, never assumed after a time.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::Fleet;
use crate::fleet::health::Health;
use crate::fleet::listener::{Duty, Listener, Origin, Usage};
use crate::fleet::phase::{Phase, StopReason, interval};
use crate::fleet::policy::ReadyWhen;
use crate::fleet::vocabulary::*;
use crate::fleet::worker::{Declaration, Role, Worker};

/// How long a worker may take from bind(2) to listen(2) before it is probed whether it has no need of that.
const PROBE_AFTER_BIND: Duration = Duration::from_millis(50);

impl Fleet {
    /// Starts a worker of a set, of whose listeners it has to use those in `adopt`.
    pub(super) fn spawn(
        &mut self,
        now: Time,
        slot: Slot,
        set: ListenerSetId,
        generation: Generation,
        adopt: BTreeMap<ListenerId, Listener>,
    ) -> WorkerId {
        let id = self.workers.next_id();
        self.effects.push(Effect::Spawn(Spawn {
            worker: id,
            generation,
            deployment: self.deployments.of(generation),
            slot,
            set,
            workers: self.wanted,
            adopt: adopt.keys().copied().collect(),
        }));
        // A replacement in the old generation is not judged by what a reload has brought.
        let own = self.deployments.policy_of(generation);
        let own = own.unwrap_or(&self.policy);
        let (ready, checks, limits) = (own.ready, own.health, own.limits);
        let stop_message = own.stop_message;
        let mut listeners = adopt;
        for listener in listeners.values_mut() {
            listener.usage = Usage::Given;
            listener.origin = listener.origin.of_successor();
        }
        self.workers.insert(Worker {
            id,
            slot,
            set,
            generation,
            started: now,
            phase: Phase::Starting {
                deadline: now.plus(self.policy.start_timeout),
                // Never at once: a worker that is started after the deadlines of a step were checked
                // would be due in the past.
                next_probe: now.plus(interval(Duration::ZERO)),
            },
            listeners,
            ready,
            declaration: match ready {
                ReadyWhen::Listening => Declaration::Made,
                ReadyWhen::Notified | ReadyWhen::Probed => Declaration::Awaited,
            },
            role: Role::Serve,
            ready_since: None,
            checks,
            health: Health::new(),
            drained: BTreeSet::new(),
            limits,
            stop_message,
            ages_at: None,
        });
        id
    }

    /// A listener was made for a worker's set: it is passed to all that start with it. They have
    /// it from now on, for if this one fails before we hear of the others, it must not be closed.
    /// Nor if they all have been told to stop by then, as the failure of one tells all: they have
    /// started with it, and it is theirs until they end.
    pub(super) fn prepared(&mut self, id: WorkerId, listener: ListenerId, endpoint: Endpoint) {
        let Some(set) = self.workers.get(id).map(|worker| worker.set) else {
            return;
        };
        let starts = |worker: &&Worker| worker.is_starting() || worker.is_stopping();
        let shares = |worker: &&Worker| worker.id == id || worker.set == set && starts(worker);
        let sharing: Vec<WorkerId> = self
            .sharing_candidates(set, id)
            .filter(shares)
            .map(|worker| worker.id)
            .collect();
        for worker in sharing {
            self.workers.change(worker, |worker| {
                worker.give(listener, endpoint, Origin::Passed);
            });
        }
    }

    /// The workers among which those of a set are: all, where sets are shared.
    fn sharing_candidates(
        &self,
        set: ListenerSetId,
        id: WorkerId,
    ) -> Box<dyn Iterator<Item = &Worker> + '_> {
        if self.policy.queues.is_some() || !self.policy.steering {
            Box::new(self.workers.iter().filter(move |worker| worker.set == set))
        } else {
            let slot = self.workers.get(id).map(|worker| worker.slot);
            let in_slot = slot.into_iter().flat_map(|slot| self.workers.in_slot(slot));
            Box::new(in_slot.filter(move |worker| worker.set == set))
        }
    }

    /// A listener took the place of a socket. Most servers call listen(2) next: those that do not are probed a while
    /// later, so that the others are spared a connection that asks for nothing.
    pub(super) fn shared(
        &mut self,
        now: Time,
        id: WorkerId,
        listener: ListenerId,
        endpoint: Endpoint,
    ) {
        let duty = self.duty_of_opened(now, id);
        self.workers.change(id, |worker| {
            worker.gets_in_place(listener, endpoint, duty);
            if let Phase::Starting { next_probe, .. } = &mut worker.phase {
                *next_probe = now.plus(PROBE_AFTER_BIND);
            }
        });
    }

    pub(super) fn listened(
        &mut self,
        now: Time,
        id: WorkerId,
        listener: ListenerId,
        endpoint: Endpoint,
    ) {
        let duty = self.duty_of_opened(now, id);
        self.workers
            .change(id, |worker| worker.listens(listener, endpoint, duty));
        self.readiness_changed(now, id);
    }

    fn duty_of_opened(&self, now: Time, id: WorkerId) -> Duty {
        let worker = self.workers.get(id);
        let since = worker.and_then(|worker| worker.ready_since);
        let ready = worker.map_or(self.policy.ready, |worker| worker.ready);
        Duty::opened(since.map(|since| now.since(since)), ready)
    }

    /// A worker said, or showed, that it is ready.
    pub(super) fn declared(&mut self, now: Time, id: WorkerId, how: ReadyWhen) {
        self.workers.change(id, |worker| {
            if how == worker.ready {
                worker.declaration = Declaration::Made;
            }
            worker.uses_passed_listeners();
        });
        self.readiness_changed(now, id);
    }

    pub(super) fn readiness_changed(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        if worker.is_serving() {
            self.steer();
        } else if worker.is_starting() && self.is_ready(worker) {
            self.became_ready(now, id);
        }
        // What a worker opens when it is ready may be what the flip waits for.
        self.flip_if_ready(now);
    }

    fn became_ready(&mut self, now: Time, id: WorkerId) {
        self.workers
            .change(id, |worker| worker.ready_since = Some(now));
        let rollout = self.rollout.as_ref().filter(|rollout| rollout.has(id));
        let role = self.workers.get(id).map(|worker| worker.role);
        match (rollout.map(|rollout| rollout.kind), role) {
            // A worker of the start serves at once: nobody serves before it.
            (Some(ChangeKind::Start), _) => {
                self.serve(now, id);
                self.steer();
                self.batch_has_ready(now, id);
            }
            (
                Some(
                    ChangeKind::Reload
                    | ChangeKind::Restart
                    | ChangeKind::Scale
                    | ChangeKind::Rollback
                    | ChangeKind::Recycling,
                ),
                _,
            ) => {
                self.set_phase(id, Phase::Ready);
                self.log(WorkerEvent::Ready { worker: id });
                self.batch_has_ready(now, id);
            }
            (None, Some(Role::DrainOnly)) => self.retire(now, &[id]),
            (None, Some(Role::Serve) | None) => {
                self.serve(now, id);
                self.steer();
            }
        }
    }

    fn batch_has_ready(&mut self, now: Time, id: WorkerId) {
        if let Some(rollout) = &mut self.rollout {
            rollout.batch.ready(id);
        }
        self.flip_if_ready(now);
    }

    pub(super) fn serve(&mut self, now: Time, id: WorkerId) {
        self.begins_to_age(id);
        self.usages.new.push(id);
        self.set_phase(id, Phase::Serving);
        self.begin_checks(now, id);
        let worker = self.workers.get(id);
        let listeners = worker
            .into_iter()
            .flat_map(|worker| worker.listeners.values());
        let endpoints = listeners.map(|listener| listener.endpoint).collect();
        self.log(WorkerEvent::Serving {
            worker: id,
            endpoints,
        });
    }

    /// Whether it belongs to the change that is under way.
    pub(super) fn is_incoming(&self, id: WorkerId) -> bool {
        let rollout = self.rollout.as_ref();
        rollout.is_some_and(|rollout| rollout.has(id))
    }

    pub(super) fn check_starting(&mut self, now: Time) {
        let starting = self.due(now, |phase| matches!(phase, Phase::Starting { .. }));
        let due: Vec<(WorkerId, Phase, Time)> = starting
            .iter()
            .map(|worker| (worker.id, worker.phase, worker.started))
            .collect();
        for (id, phase, started) in due {
            let Phase::Starting { deadline, .. } = phase else {
                continue;
            };
            // The failure of one may have told the others to stop.
            if self
                .workers
                .get(id)
                .is_none_or(|worker| !worker.is_starting())
            {
                continue;
            }
            if deadline <= now {
                self.start_timed_out(now, id);
                continue;
            }
            let next_probe = now.plus(interval(now.since(started)));
            let phase = Phase::Starting {
                deadline,
                next_probe,
            };
            self.set_phase(id, phase);
            self.probe(id);
        }
    }

    fn start_timed_out(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        if self.is_incoming(id) {
            let listening = worker.endpoints();
            let missing = &self.expected(worker) - &listening;
            let failure = Failure::NotReady {
                worker: id,
                slot: worker.slot,
                missing: missing.into_iter().collect(),
                closed: worker.let_go().map(|(_, endpoint)| endpoint).collect(),
                listening: listening.into_iter().collect(),
                after: now.since(worker.started),
            };
            self.fail_change(now, failure);
        } else {
            self.log(WorkerEvent::StartTimedOut { worker: id });
            self.kill(id, StopReason::StartTimedOut);
        }
    }
}

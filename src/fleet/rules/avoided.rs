//! Workers that get no new connections because they are unhealthy: how they come to that, what becomes of those who wait
//! for them, and when they are trusted again.

use super::Fleet;
use crate::fleet::health::Standing;
use crate::fleet::vocabulary::*;
use crate::fleet::worker::Worker;

impl Fleet {
    fn stand(&mut self, id: WorkerId, standing: Standing) {
        self.workers
            .change(id, |worker| worker.health.standing = standing);
    }

    /// An unhealthy worker gets no new connections, if another has just shown that it can do better.
    pub(super) fn turn_away(&mut self, now: Time, id: WorkerId, failure: &CheckFailure) {
        let Some(standing) = self.workers.get(id).map(|it| it.health.standing) else {
            return;
        };
        let is_new = standing == Standing::Trusted;
        if is_new {
            if !self.somebody_has_just_passed() {
                return;
            }
            self.stand(id, Standing::Avoided);
            self.news(id, HealthNews::TurnedAwayFrom);
            self.trust_recovered();
            self.steer();
            self.recycle(now, id, RecycleReason::Unhealthy);
        }
        if failure.does_not_accept() {
            self.drain_avoided(id);
        } else if !is_new && self.policy.rescue {
            // What waits now has waited since the check before.
            let worker = self.workers.get(id).into_iter();
            let listeners = worker.flat_map(|it| it.listeners.keys().copied()).collect();
            self.effects.push(Effect::MeasureBacklogs {
                workers: vec![(id, listeners)],
            });
        }
    }

    /// It gets new connections again.
    pub(super) fn recovered(&mut self, id: WorkerId) {
        self.stand(id, Standing::Trusted);
        self.news(id, HealthNews::Recovered);
        self.recyclings.cancel(id, RecycleReason::Unhealthy);
    }

    /// Nobody shows that a check can be passed: those that were avoided are as good as the others.
    pub(super) fn all_are_unhealthy(&mut self, last: WorkerId) {
        self.news(last, HealthNews::LastUnhealthy);
        let avoided = self.workers.serving();
        let avoided = avoided.filter(|it| it.health.standing == Standing::Avoided);
        for id in avoided.map(|it| it.id).collect::<Vec<_>>() {
            self.stand(id, Standing::Trusted);
            self.recyclings.cancel(id, RecycleReason::Unhealthy);
        }
        self.steer();
    }

    /// Where nobody is trusted any more, those are that were replaced when they passed a check again.
    fn trust_recovered(&mut self) {
        let is_trusted = |it: &Worker| it.health.standing == Standing::Trusted;
        if self.workers.serving().any(is_trusted) {
            return;
        }
        let healthy = self
            .workers
            .serving()
            .filter(|it| it.health.standing == Standing::Avoided && !it.health.is_unhealthy());
        for id in healthy.map(|it| it.id).collect::<Vec<_>>() {
            self.recovered(id);
        }
    }

    /// Whether a worker gets new connections as others do.
    pub(super) fn is_trusted(&self, id: WorkerId) -> bool {
        let worker = self.workers.get(id);
        worker.is_some_and(|it| it.health.standing == Standing::Trusted)
    }

    fn somebody_has_just_passed(&self) -> bool {
        let mut serving = self.workers.serving();
        serving.any(|worker| worker.health.has_just_passed())
    }

    /// Has a rescuer accept what waits for a worker that is avoided and does not accept. Only where others are trusted
    /// does nothing come back to it.
    pub(super) fn drain_avoided(&mut self, id: WorkerId) {
        let may_drain = self.policy.rescue && self.policy.steering && !self.nobody_follows();
        let Some(worker) = self.workers.get(id).filter(|_| may_drain) else {
            return;
        };
        if !worker.is_serving() || worker.health.standing == Standing::Trusted {
            return;
        }
        let left = worker.listening().filter(|(listener, at)| {
            !worker.drained.contains(listener) && self.can_be_left(id, *listener, at)
        });
        let left: Vec<ListenerId> = left.map(|(listener, _)| listener).collect();
        if left.is_empty() {
            return;
        }
        let ends_check = self.workers.change(id, |worker| {
            worker.drained.extend(&left);
            worker.health.standing = Standing::Drained;
            worker.health.rest()
        });
        if ends_check == Some(true) {
            // What is held of a check must not be answered by others.
            self.effects.push(Effect::EndCheck { worker: id });
        }
        self.steer();
        self.drain_backlog(id, left);
    }

    /// What waits for a worker that does not accept could not be left where it alone listened; by now others may.
    pub(super) fn drain_rest(&mut self) {
        let drained = self.workers.serving().filter(|it| it.is_drained());
        for id in drained.map(|it| it.id).collect::<Vec<_>>() {
            self.drain_avoided(id);
        }
    }

    /// Whether a worker that retires is not expected to accept what still waits for it, nor others in its place, and all
    /// of that can be answered elsewhere.
    pub(super) fn will_not_accept(&self, id: WorkerId) -> bool {
        let can_drain = self.policy.rescue && self.policy.steering && !self.nobody_follows();
        let worker = self.workers.get(id);
        let can_be_left = |worker: &Worker| {
            let mut each = worker.listeners.iter();
            each.all(|(listener, it)| self.can_be_left(id, *listener, &it.endpoint))
        };
        can_drain && worker.is_some_and(|it| it.health.is_unhealthy() && can_be_left(it))
    }

    /// Whether what waits in a listener of a worker is this worker's alone, and others can answer it.
    fn can_be_left(&self, id: WorkerId, listener: ListenerId, at: &Endpoint) -> bool {
        self.has_alone(id, listener) && self.workers.is_trusted_at(at)
    }
}

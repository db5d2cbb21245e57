//! What follows from the checks of serving workers.
//!
//! ```text
//!  trusted ─► unhealthy ─► avoided ─► replaced
//!     ▲           │           │ └─► what waits for it is accepted by a rescuer
//!     └───────────┴───────────┘ it passes a check
//! ```
//! A worker is taken away only by the side of another that has just passed its own check. So where all fail, as when
//! what they need is gone, nothing changes: worse than workers that answer badly are fewer workers that answer badly. The
//! decision is taken when a check of the worker itself fails, for then it is known of both.
//!
//! New workers that have to prove themselves, on trial or in a soak, have nobody's example to follow: the first of them
//! that is unhealthy has failed, as if it had died.

use super::Fleet;
use super::flip_back::Cause;
use crate::fleet::health::{Consequence, Due, Standing};
use crate::fleet::policy::{CheckBy, HealthChecks};
use crate::fleet::vocabulary::*;
use crate::fleet::worker::Worker;

impl Fleet {
    pub(super) fn begin_checks(&mut self, now: Time, id: WorkerId) {
        self.workers.change(id, |worker| {
            if let Some(checks) = &worker.checks {
                worker.health.begin(now, worker.slot, checks);
            }
        });
    }

    pub(super) fn check_health(&mut self, now: Time) {
        for id in self.workers.due(now) {
            let Some(checks) = self.workers.get(id).and_then(|worker| worker.checks) else {
                continue;
            };
            let due = self
                .workers
                .change(id, |worker| worker.health.take_due(now, &checks));
            match due.flatten() {
                Some(Due::Ask) => self.ask(now, id, &checks),
                Some(Due::Late) => {
                    let worker = id;
                    self.effects.push(Effect::ExplainLateCheck { worker });
                }
                None => {}
            }
        }
    }

    /// By a listener that it has alone: the answer of another is no answer about this one.
    fn ask(&mut self, now: Time, id: WorkerId, checks: &HealthChecks) {
        let kind = match checks.by {
            CheckBy::Accept => ProbeKind::Accept,
            CheckBy::Http => ProbeKind::Http,
            CheckBy::Watchdog => return,
        };
        let own = self.workers.get(id).and_then(|worker| {
            let mut listening = worker.listening().map(|(listener, _)| listener);
            listening.find(|listener| self.has_alone(id, *listener))
        });
        match own {
            Some(listener) => self.effects.push(Effect::CheckHealth(Probe {
                worker: id,
                listener,
                kind,
                shared: false,
            })),
            None => {
                self.workers
                    .change(id, |worker| worker.health.skip(now, worker.slot, checks));
            }
        }
    }

    pub(super) fn has_alone(&self, id: WorkerId, listener: ListenerId) -> bool {
        self.workers.holders(listener).all(|worker| worker.id == id)
    }

    pub(super) fn health_passed(&mut self, now: Time, id: WorkerId) {
        let Some((checks, worker)) = self.checked(id) else {
            return;
        };
        let is_avoided = worker.health.standing == Standing::Avoided;
        // It is left for good, unless those that were better fail.
        let is_left = is_avoided && self.is_being_replaced(worker);
        let was_unhealthy = self
            .workers
            .change(id, |worker| worker.health.passed(now, worker.slot, &checks));
        if !is_left && (is_avoided || was_unhealthy == Some(true)) {
            self.recovered(id);
            self.steer();
        }
    }

    pub(super) fn health_failed(&mut self, now: Time, id: WorkerId, failure: &CheckFailure) {
        let Some((checks, worker)) = self.checked(id) else {
            return;
        };
        let since = worker.ready_since.unwrap_or(worker.started);
        let counts = now.since(since) >= checks.start_period;
        let consequence = self.workers.change(id, |worker| {
            let slot = worker.slot;
            worker.health.failed(now, slot, &checks, failure, counts)
        });
        match consequence {
            Some(Consequence::Unhealthy) => {
                self.news(id, HealthNews::Unhealthy(failure.clone()));
            }
            Some(Consequence::Again) => {}
            Some(Consequence::None) | None => return,
        }
        if consequence == Some(Consequence::Unhealthy) {
            if self.fails_trial(now, id, failure) {
                return;
            }
            if self.workers.serving().all(|it| it.health.is_unhealthy()) {
                return self.all_are_unhealthy(id);
            }
        }
        self.turn_away(now, id, failure);
    }

    pub(super) fn check_not_made(&mut self, now: Time, id: WorkerId) {
        if let Some((checks, _)) = self.checked(id) {
            self.workers
                .change(id, |worker| worker.health.skip(now, worker.slot, &checks));
        }
    }

    /// A worker whose checks count: one that serves.
    fn checked(&self, id: WorkerId) -> Option<(HealthChecks, &Worker)> {
        let worker = self.workers.get(id)?;
        let checks = worker.checks?;
        (worker.is_serving() && !worker.is_drained()).then_some((checks, worker))
    }

    /// Whether others are being started in its place alone. In a reload it may serve until the flip.
    fn is_being_replaced(&self, worker: &Worker) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| {
            let is_alone = match rollout.kind {
                ChangeKind::Restart | ChangeKind::Recycling => true,
                ChangeKind::Start
                | ChangeKind::Reload
                | ChangeKind::Scale
                | ChangeKind::Rollback => false,
            };
            is_alone && rollout.batch.replaced.contains(&worker.slot)
        })
    }

    /// Whether a new worker that has to prove itself takes its change back with it.
    fn fails_trial(&mut self, now: Time, id: WorkerId, failure: &CheckFailure) -> bool {
        let Some(slot) = self.workers.get(id).map(|worker| worker.slot) else {
            return false;
        };
        let failure = Failure::Unhealthy {
            worker: id,
            slot,
            failure: failure.clone(),
        };
        if self.is_canary(id) {
            self.fail_change(now, failure);
            return true;
        }
        let fails = self.soak_deadline().is_some() && self.fails_soak(id, false);
        let goes_back = fails && self.may_flip_back();
        if goes_back {
            self.flip_back(now, Cause::Unhealthy { failure });
        }
        goes_back
    }

    pub(super) fn news(&mut self, worker: WorkerId, news: HealthNews) {
        self.log(WorkerEvent::Health { worker, news });
    }
}

//! Telling one worker to stop, and what follows if it does not.
//!
//! ```text
//!  its rescuer gets it ready ─► the message, if its program knows one ─► the stop signal ─► killed
//! ```

use super::Fleet;
use crate::fleet::phase::{Phase, QuiescedBy, StopReason};
use crate::fleet::vocabulary::*;

impl Fleet {
    /// Tells a worker to stop; first its rescuer, if one has its connections.
    pub(super) fn stop(&mut self, now: Time, id: WorkerId, reason: StopReason) {
        let Some(phase) = self.workers.get(id).map(|worker| worker.phase) else {
            return;
        };
        match phase {
            Phase::Quiescing {
                settled,
                by: QuiescedBy::Rescuer { .. },
                ..
            } => {
                let preparing = Phase::PreparingStop {
                    reason,
                    settled,
                    deadline: now.plus(self.policy.prepare_timeout),
                };
                self.set_phase(id, preparing);
                self.effects.push(Effect::PrepareStop { worker: id });
            }
            Phase::PreparingStop { .. } => {}
            Phase::Starting { .. }
            | Phase::Ready
            | Phase::Serving
            | Phase::StandingBy
            | Phase::Settling { .. }
            | Phase::Quiescing { .. }
            | Phase::Draining { .. }
            | Phase::Killed { .. } => self.send_stop(now, id, reason),
        }
    }

    pub(super) fn stop_prepared(&mut self, now: Time, id: WorkerId) {
        let phase = self.workers.get(id).map(|worker| worker.phase);
        if let Some(Phase::PreparingStop { reason, .. }) = phase {
            self.send_stop(now, id, reason);
        }
    }

    pub(super) fn check_preparing(&mut self, now: Time) {
        let late = self.due(now, |phase| matches!(phase, Phase::PreparingStop { .. }));
        for id in late.iter().map(|worker| worker.id).collect::<Vec<_>>() {
            self.log(WorkerEvent::StopNotPrepared { worker: id });
            self.stop_prepared(now, id);
        }
    }

    pub(super) fn send_stop(&mut self, now: Time, id: WorkerId, reason: StopReason) {
        let worker = self.workers.get(id);
        // Who has never served has nothing to bring to an end.
        let message = worker
            .filter(|it| it.has_served())
            .and_then(|it| it.stop_message);
        let listeners = worker
            .into_iter()
            .flat_map(|it| it.listeners.keys().copied());
        let listeners = listeners.collect();
        self.effects.push(Effect::SendStop {
            worker: id,
            listeners,
            by: message.map_or(StopBy::Signal, |_| StopBy::Message),
        });
        let draining = Phase::Draining {
            reason,
            signal: message.map(|after| now.plus(after)),
            deadline: now.plus(self.policy.drain_timeout),
        };
        self.set_phase(id, draining);
        // Where nobody follows, there is nobody to steer to.
        if !self.nobody_follows() {
            self.steer();
        }
    }

    pub(super) fn kill(&mut self, id: WorkerId, reason: StopReason) {
        self.effects.push(Effect::Kill { worker: id });
        self.set_phase(id, Phase::Killed { reason });
    }

    pub(super) fn check_draining(&mut self, now: Time) {
        let due = self.due(now, |phase| matches!(phase, Phase::Draining { .. }));
        let due: Vec<(WorkerId, Phase)> =
            due.iter().map(|worker| (worker.id, worker.phase)).collect();
        for (id, phase) in due {
            let Phase::Draining {
                reason, deadline, ..
            } = phase
            else {
                continue;
            };
            if deadline <= now {
                self.log(WorkerEvent::DrainTimedOut { worker: id });
                self.kill(id, reason);
            } else {
                self.effects.push(Effect::SendSignal { worker: id });
                let signal = None;
                let draining = Phase::Draining {
                    reason,
                    signal,
                    deadline,
                };
                self.set_phase(id, draining);
            }
        }
    }
}

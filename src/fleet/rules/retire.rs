//! Retiring a worker so that nothing is lost: settle, quiesce, prepare, and only then tell it to stop.
//!
//! The order matters at each step. Steering comes first; then the fence, because a SYN that was
//! under way when the program changed may still reach the old listener; then looks at the old
//! listeners until they are empty, because a handshake that has begun ends where it began; then
//! looks at the connections, because a server may drop them when it is told to stop. Where they can
//! be rescued, a rescuer adopts them, and the worker is told to stop when none has a request in flight;
//! where they cannot, when none is left.

use core::time::Duration;

use super::Fleet;
use crate::fleet::phase::{Fence, Phase, QuiescedBy, Settled, StopReason, interval};
use crate::fleet::vocabulary::*;
use crate::fleet::worker::Worker;

/// How long a SYN can be under way in the kernel, where the kernel does not say: far longer than
/// the grace periods that were seen (78 ms at most).
const FENCE_FALLBACK_DELAY: Duration = Duration::from_millis(100);

impl Fleet {
    /// Takes these workers out of service.
    pub(super) fn retire(&mut self, now: Time, workers: &[WorkerId]) {
        if workers.is_empty() {
            return;
        }
        if !self.policy.steering {
            return self.retire_unsteered(now, workers);
        }
        self.settle(now, workers);
    }

    /// Steers away from workers, and waits until what had begun by then is accepted.
    pub(super) fn settle(&mut self, now: Time, workers: &[WorkerId]) {
        if workers.is_empty() {
            return;
        }
        for id in workers {
            let settling = Phase::Settling {
                since: now,
                fence: Fence::Asked,
                next_look: now,
                pending: 0,
            };
            self.set_phase(*id, settling);
        }
        self.steer();
        self.effects.push(Effect::Fence);
    }

    /// The next generation accepts from the same listeners, so there is nothing to settle. New connections
    /// go on arriving, so a worker would never be quiet: it is told to stop as soon as those that a rescuer
    /// has adopted are idle.
    fn retire_unsteered(&mut self, now: Time, workers: &[WorkerId]) {
        if !self.policy.rescue {
            return workers
                .iter()
                .for_each(|id| self.stop(now, *id, StopReason::Retired));
        }
        let settled: Vec<_> = workers.iter().map(|id| (*id, Settled::Empty)).collect();
        self.quiesce(now, &settled);
        self.adopt_connections(&settled);
    }

    pub(super) fn fenced(&mut self, now: Time, passed: bool) {
        let is_asked = |worker: &&Worker| {
            matches!(
                worker.phase,
                Phase::Settling {
                    fence: Fence::Asked,
                    ..
                }
            )
        };
        let waiting = self.workers.iter().filter(is_asked);
        for id in waiting.map(|worker| worker.id).collect::<Vec<_>>() {
            self.workers.change(id, |worker| {
                if let Phase::Settling { fence, .. } = &mut worker.phase {
                    *fence = if passed {
                        Fence::Passed
                    } else {
                        Fence::Until(now.plus(FENCE_FALLBACK_DELAY))
                    };
                }
            });
        }
    }

    /// Asks for the state of every retired worker whose time it is.
    pub(super) fn look_at_retired(&mut self, now: Time) {
        let is_retired =
            |phase: &Phase| matches!(phase, Phase::Settling { .. } | Phase::Quiescing { .. });
        let due: Vec<WorkerId> = self
            .due(now, is_retired)
            .iter()
            .map(|worker| worker.id)
            .collect();
        let (mut settling, mut quiescing) = (Vec::new(), Vec::new());
        for id in due {
            match self.next_look(now, id) {
                Some(Look::Backlog(listeners)) => settling.push((id, listeners)),
                Some(Look::Connections) => quiescing.push(id),
                Some(Look::TooLate) => {
                    self.log(WorkerEvent::QuietTimedOut { worker: id });
                    self.stop(now, id, StopReason::Retired);
                }
                None => {}
            }
        }
        if !settling.is_empty() {
            self.effects
                .push(Effect::MeasureBacklogs { workers: settling });
        }
        if !quiescing.is_empty() {
            self.effects
                .push(Effect::MeasureConnections { workers: quiescing });
        }
    }

    /// What is to be looked at now of a retired worker; the next look comes a while later.
    fn next_look(&mut self, now: Time, id: WorkerId) -> Option<Look> {
        let look = self.workers.change(id, |worker| match &mut worker.phase {
            Phase::Settling {
                since,
                fence,
                next_look,
                ..
            } => {
                *fence = Fence::Passed;
                *next_look = now.plus(interval(now.since(*since)));
                Some(Look::Backlog(worker.listeners.keys().copied().collect()))
            }
            Phase::Quiescing {
                since,
                by: QuiescedBy::Looks { next_look },
                ..
            } => {
                *next_look = now.plus(interval(now.since(*since)));
                Some(Look::Connections)
            }
            Phase::Quiescing {
                by: QuiescedBy::Rescuer { .. },
                ..
            } => Some(Look::TooLate),
            Phase::Starting { .. }
            | Phase::Ready
            | Phase::Serving
            | Phase::StandingBy
            | Phase::PreparingStop { .. }
            | Phase::Draining { .. }
            | Phase::Killed { .. } => None,
        });
        look.flatten()
    }

    pub(super) fn backlogs_measured(&mut self, now: Time, backlogs: &[(WorkerId, u64)]) {
        let (mut settled, mut late) = (Vec::new(), Vec::new());
        for &(id, count) in backlogs {
            if count > 0 {
                self.drain_avoided(id);
            }
            let since = self.workers.change(id, |worker| match &mut worker.phase {
                Phase::Settling { since, pending, .. } => {
                    *pending = count;
                    Some(*since)
                }
                Phase::Starting { .. }
                | Phase::Ready
                | Phase::Serving
                | Phase::StandingBy
                | Phase::Quiescing { .. }
                | Phase::PreparingStop { .. }
                | Phase::Draining { .. }
                | Phase::Killed { .. } => None,
            });
            let Some(since) = since.flatten() else {
                continue;
            };
            if count == 0 {
                settled.push((id, Settled::Empty));
            } else if self.will_not_accept(id) {
                late.push(id);
                settled.push((id, Settled::TimedOut));
            } else if now.since(since) >= self.policy.settle_timeout {
                self.log(WorkerEvent::SettleTimedOut {
                    worker: id,
                    pending: count,
                });
                late.push(id);
                settled.push((id, Settled::TimedOut));
            }
        }
        // First all phases: which listeners nobody empties is known only when all of them are set.
        self.quiesce(now, &settled);
        // Before what takes time: whoever comes meanwhile would wait in a queue that counts as empty.
        self.refuse_if_settled();
        self.drain_backlogs_of(&late);
        self.adopt_connections(&settled);
    }
}

/// What is to be looked at of a retired worker.
enum Look {
    Backlog(Vec<ListenerId>),
    Connections,
    /// Nothing: its time is over.
    TooLate,
}

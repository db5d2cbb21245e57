//! Retiring a worker so that nothing is lost: settle, quiesce, and only then tell it to stop.
//!
//! The order matters at each step. Steering comes first; then the fence, because a SYN that was
//! under way when the program changed may still reach the old listener; then looks at the old
//! listeners until they are empty, because a handshake that has begun ends where it began; then
//! looks at the connections, because a server may drop them when it is told to stop. Where they can
//! be rescued, they are held by somebody else from then on, and the worker is told to stop when none
//! has a request in flight; where they cannot, when none is left.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::fleet::{Fleet, interval};
use super::vocabulary::*;
use super::worker::{Fence, Phase, QuiescedBy, Worker};

/// How long a SYN can be under way in the kernel, where the kernel does not say: far longer than
/// the grace periods that were seen (78 ms at most).
const UNFENCED: Duration = Duration::from_millis(100);

impl Worker {
    /// When to look at it again; none while the kernel is being asked.
    pub(super) fn next_look(&self) -> Option<Time> {
        match self.phase {
            Phase::Settling {
                fence: Fence::Asked,
                ..
            } => None,
            Phase::Settling {
                fence: Fence::Until(until),
                ..
            } => Some(until),
            Phase::Settling { next_look, .. }
            | Phase::Quiescing {
                by: QuiescedBy::Looks { next_look },
                ..
            } => Some(next_look),
            Phase::Quiescing {
                by: QuiescedBy::Rescuer { until },
                ..
            } => Some(until),
            Phase::Starting { .. }
            | Phase::Ready
            | Phase::Serving
            | Phase::PreparingStop { .. }
            | Phase::Draining { .. }
            | Phase::Killed => None,
        }
    }
}

impl Fleet {
    /// Takes these workers out of service.
    pub(super) fn retire(&mut self, now: Time, workers: &[WorkerId]) {
        if workers.is_empty() {
            return;
        }
        if !self.policy.steering {
            // The next generation accepts from the same queues: nothing to settle, and new
            // connections go on arriving, so the worker would never be quiet.
            return workers.iter().for_each(|id| self.tell(now, *id));
        }
        for id in workers {
            self.set_phase(
                *id,
                Phase::Settling {
                    since: now,
                    fence: Fence::Asked,
                    next_look: now,
                    pending: 0,
                },
            );
        }
        self.steer();
        self.out.push(Effect::Fence);
    }

    pub(super) fn fenced(&mut self, now: Time, passed: bool) {
        for worker in self.workers.values_mut() {
            if let Phase::Settling {
                fence: fence @ Fence::Asked,
                ..
            } = &mut worker.phase
            {
                *fence = if passed {
                    Fence::Passed
                } else {
                    Fence::Until(now.plus(UNFENCED))
                };
            }
        }
    }

    /// Asks for the state of every retired worker whose time it is.
    pub(super) fn look_at_retired(&mut self, now: Time) {
        let (mut settling, mut quiescing, mut late) = (Vec::new(), Vec::new(), Vec::new());
        for worker in self
            .workers
            .values_mut()
            .filter(|worker| worker.next_look().is_some_and(|at| at <= now))
        {
            match &mut worker.phase {
                Phase::Settling {
                    since,
                    fence,
                    next_look,
                    ..
                } => {
                    *fence = Fence::Passed;
                    *next_look = now.plus(interval(now.since(*since)));
                    settling.push((worker.id, worker.listeners.keys().copied().collect()));
                }
                Phase::Quiescing {
                    since,
                    by: QuiescedBy::Looks { next_look },
                } => {
                    *next_look = now.plus(interval(now.since(*since)));
                    quiescing.push(worker.id);
                }
                Phase::Quiescing {
                    by: QuiescedBy::Rescuer { .. },
                    ..
                } => late.push(worker.id),
                Phase::Starting { .. }
                | Phase::Ready
                | Phase::Serving
                | Phase::PreparingStop { .. }
                | Phase::Draining { .. }
                | Phase::Killed => {}
            }
        }
        for id in late {
            self.out
                .push(Effect::Log(WorkerEvent::QuietTimedOut { worker: id }));
            self.tell(now, id);
        }
        if !settling.is_empty() {
            self.out.push(Effect::MeasureBacklogs { workers: settling });
        }
        if !quiescing.is_empty() {
            self.out
                .push(Effect::MeasureConnections { workers: quiescing });
        }
    }

    pub(super) fn queues_measured(&mut self, now: Time, queues: &[(WorkerId, u64)]) {
        let (mut settled, mut late) = (Vec::new(), Vec::new());
        for &(id, count) in queues {
            let timeout = self.policy.settle_timeout;
            let Some(worker) = self.workers.get_mut(&id) else {
                continue;
            };
            let Phase::Settling { since, pending, .. } = &mut worker.phase else {
                continue;
            };
            *pending = count;
            if count > 0 && now.since(*since) >= timeout {
                self.out.push(Effect::Log(WorkerEvent::SettleTimedOut {
                    worker: id,
                    pending: count,
                }));
                worker.is_overdue = true;
                late.push(id);
                settled.push(id);
            } else if count == 0 {
                settled.push(id);
            }
        }
        self.settle_timed_out(&late);
        self.quiesce(now, &settled);
    }

    /// Each queue is handed over once, when none of its workers has time left to empty it.
    fn settle_timed_out(&mut self, late: &[WorkerId]) {
        let mut drained_by_rescuer = BTreeSet::new();
        for id in late {
            let worker = self.workers.get(id);
            let listeners = worker
                .into_iter()
                .flat_map(|worker| worker.listeners.keys());
            let mut left = self.forsaken(listeners.copied());
            left.retain(|listener| drained_by_rescuer.insert(*listener));
            self.drain_backlog(*id, left);
        }
    }

    /// What waits in these listeners will not be accepted by their worker.
    pub(super) fn drain_backlog(&mut self, worker: WorkerId, listeners: Vec<ListenerId>) {
        if !self.policy.rescue || listeners.is_empty() {
            return;
        }
        let retirement = self
            .retirement_of(worker)
            .unwrap_or_else(|| self.new_retirement());
        self.out.push(Effect::DrainBacklog {
            retirement,
            worker,
            listeners,
        });
    }

    pub(super) fn new_retirement(&mut self) -> RetirementId {
        let id = RetirementId(self.next_retirement);
        self.next_retirement += 1;
        id
    }

    fn quiesce(&mut self, now: Time, workers: &[WorkerId]) {
        if !self.policy.rescue {
            return workers.iter().for_each(|id| {
                self.set_phase(
                    *id,
                    Phase::Quiescing {
                        since: now,
                        by: QuiescedBy::Looks { next_look: now },
                    },
                )
            });
        }
        let mut together: BTreeMap<RetirementId, Vec<WorkerId>> = BTreeMap::new();
        for id in workers {
            self.set_phase(
                *id,
                Phase::Quiescing {
                    since: now,
                    by: QuiescedBy::Rescuer {
                        until: now.plus(self.policy.quiet_timeout),
                    },
                },
            );
            let retirement = self.retirement_of(*id);
            retirement
                .into_iter()
                .for_each(|retirement| together.entry(retirement).or_default().push(*id));
        }
        for (retirement, workers) in together {
            self.out.push(Effect::AdoptConnections {
                retirement,
                workers,
            });
        }
    }

    pub(super) fn connections_idle(&mut self, now: Time, id: WorkerId) {
        if matches!(
            self.workers.get(&id).map(|worker| worker.phase),
            Some(Phase::Quiescing {
                by: QuiescedBy::Rescuer { .. },
                ..
            })
        ) {
            self.tell(now, id);
        }
    }

    /// Nobody holds its connections: it is told when none is left, as without rescue.
    pub(super) fn rescue_lost(&mut self, now: Time, id: WorkerId) {
        let Some(Phase::Quiescing {
            since,
            by: QuiescedBy::Rescuer { .. },
        }) = self.workers.get(&id).map(|worker| worker.phase)
        else {
            return;
        };
        let by = QuiescedBy::Looks { next_look: now };
        self.set_phase(id, Phase::Quiescing { since, by });
    }

    fn retirement_of(&self, id: WorkerId) -> Option<RetirementId> {
        let mut retirements = self.retirements.iter();
        retirements
            .find(|retirement| retirement.workers.contains(&id))
            .map(|retirement| retirement.id)
    }

    pub(super) fn connections_measured(&mut self, now: Time, workers: &[(WorkerId, bool)]) {
        for &(id, quiet) in workers {
            let Some(Phase::Quiescing {
                since,
                by: QuiescedBy::Looks { .. },
            }) = self.workers.get(&id).map(|worker| worker.phase)
            else {
                continue;
            };
            let is_late = now.since(since) >= self.policy.quiet_timeout;
            if is_late && !quiet {
                self.out
                    .push(Effect::Log(WorkerEvent::QuietTimedOut { worker: id }));
            }
            if quiet || is_late {
                self.tell(now, id);
            }
        }
    }
}

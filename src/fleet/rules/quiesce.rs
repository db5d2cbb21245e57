//! The connections of a worker whose listeners have settled come to an end, by themselves or in the hands of a
//! rescuer.

use std::collections::BTreeMap;

use super::Fleet;
use crate::fleet::phase::{Phase, QuiescedBy, Settled, StopReason};
use crate::fleet::vocabulary::*;

impl Fleet {
    pub(super) fn quiesce(&mut self, now: Time, workers: &[(WorkerId, Settled)]) {
        let by = if self.policy.rescue {
            QuiescedBy::Rescuer {
                until: now.plus(self.policy.quiet_timeout),
            }
        } else {
            QuiescedBy::Looks { next_look: now }
        };
        for (id, settled) in workers {
            let quiescing = Phase::Quiescing {
                since: now,
                settled: *settled,
                by,
            };
            self.set_phase(*id, quiescing);
        }
    }

    /// Workers that retire together have one rescuer.
    pub(super) fn adopt_connections(&mut self, workers: &[(WorkerId, Settled)]) {
        if !self.policy.rescue {
            return;
        }
        let mut together: BTreeMap<RetirementId, Vec<WorkerId>> = BTreeMap::new();
        let mut last = Vec::new();
        for (id, _) in workers {
            match self.retirements.of(*id) {
                Some(retirement) => together.entry(retirement).or_default().push(*id),
                None => last.push(*id),
            }
        }
        for (retirement, workers) in together {
            self.effects.push(Effect::AdoptConnections {
                retirement,
                workers,
            });
        }
        if let Some(shutdown) = &self.shutdown
            && !last.is_empty()
        {
            self.effects.push(Effect::EndConnections {
                retirement: shutdown.retirement,
                workers: last,
            });
        }
    }

    pub(super) fn connections_idle(&mut self, now: Time, id: WorkerId) {
        if self.has_rescuer(id) {
            self.stop(now, id, StopReason::Retired);
        }
    }

    /// Whether a worker quiesces with the help of a rescuer.
    fn has_rescuer(&self, id: WorkerId) -> bool {
        let phase = self.workers.get(id).map(|worker| worker.phase);
        matches!(
            phase,
            Some(Phase::Quiescing {
                by: QuiescedBy::Rescuer { .. },
                ..
            })
        )
    }

    /// No rescuer has its connections: it is told when none is left, as without rescue. If it was about to be
    /// told, there is nobody to wait for.
    pub(super) fn rescue_lost(&mut self, now: Time, id: WorkerId) {
        let Some(phase) = self.workers.get(id).map(|worker| worker.phase) else {
            return;
        };
        match phase {
            Phase::Quiescing {
                since,
                settled,
                by: QuiescedBy::Rescuer { .. },
            } => {
                let by = QuiescedBy::Looks { next_look: now };
                let quiescing = Phase::Quiescing { since, settled, by };
                self.set_phase(id, quiescing);
            }
            Phase::PreparingStop { .. } => self.stop_prepared(now, id),
            Phase::Quiescing {
                by: QuiescedBy::Looks { .. },
                ..
            }
            | Phase::Starting { .. }
            | Phase::Ready
            | Phase::Serving
            | Phase::StandingBy
            | Phase::Settling { .. }
            | Phase::Draining { .. }
            | Phase::Killed { .. } => {}
        }
    }

    pub(super) fn connections_measured(&mut self, now: Time, workers: &[(WorkerId, bool)]) {
        for &(id, quiet) in workers {
            let phase = self.workers.get(id).map(|worker| worker.phase);
            let Some(Phase::Quiescing {
                since,
                by: QuiescedBy::Looks { .. },
                ..
            }) = phase
            else {
                continue;
            };
            let is_late = now.since(since) >= self.policy.quiet_timeout;
            if is_late && !quiet {
                self.log(WorkerEvent::QuietTimedOut { worker: id });
            }
            if quiet || is_late {
                self.stop(now, id, StopReason::Retired);
            }
        }
    }
}

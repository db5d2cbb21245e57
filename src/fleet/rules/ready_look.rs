//! Ready is a state: before workers take over, it is looked whether they still are.
//!
//! A server may listen to see whether it can, and close again and fail; or die right after it has listened. So when all
//! workers of a batch are ready, and have been for as long as is asked for (`--min-uptime`), they are looked at once:
//! each is alive, and a process of it has its listeners. One that has let go of a listener is starting still: it may
//! be about to listen in earnest.

use super::Fleet;
use crate::fleet::listener::{LATE_START, Usage};
use crate::fleet::phase::{Phase, interval};
use crate::fleet::rollout::{Proof, Rollout};
use crate::fleet::vocabulary::*;

impl Fleet {
    /// Has the batch looked at that is ready, when it has been for long enough; one of nobody flips at once.
    pub(super) fn flip_if_ready(&mut self, now: Time) {
        let flips_at = self.flips_at();
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        let is_asked = rollout.batch.proof == Proof::Asked;
        rollout.batch.proof = match flips_at {
            None => Proof::None,
            Some(at) if at > now => Proof::Due(at),
            Some(_) => Proof::Asked,
        };
        if rollout.batch.proof != Proof::Asked || is_asked {
            return;
        }
        let listeners = |worker: &crate::fleet::worker::Worker| {
            let listening = worker.listening();
            listening.map(|(id, _)| id).collect()
        };
        let incoming = rollout.batch.incoming().iter();
        let workers: Vec<(WorkerId, Vec<ListenerId>)> = incoming
            .filter_map(|id| Some((*id, listeners(self.workers.get(*id)?))))
            .collect();
        if workers.is_empty() {
            self.flip_now(now);
        } else {
            if self.policy.limits.max_rss.is_some() {
                let ids: Vec<WorkerId> = workers.iter().map(|(id, _)| *id).collect();
                self.measure_usage(&ids);
            }
            self.effects.push(Effect::LookAtReady { workers });
        }
    }

    fn flip_now(&mut self, now: Time) {
        let Some(rollout) = self.rollout.take() else {
            return;
        };
        match rollout.canary {
            Some(canary) => self.begin_trial(now, rollout, canary),
            None => self.flip(now, rollout),
        }
    }

    pub(super) fn check_flip(&mut self, now: Time) {
        let due = self.rollout.as_ref().and_then(Rollout::deadline);
        // Where there are to be fewer workers, a batch may have none that is waited for.
        let is_of_nobody = self.rollout.as_ref().is_some_and(Rollout::waits_for_nobody);
        if is_of_nobody || due.is_some_and(|at| at <= now) {
            self.flip_if_ready(now);
        }
    }

    /// When the batch may flip: all are ready, and had their time.
    fn flips_at(&self) -> Option<Time> {
        let rollout = self.rollout.as_ref().filter(|it| it.batch.is_ready())?;
        let incoming = rollout.batch.incoming().iter();
        let incoming = incoming.filter_map(|id| self.workers.get(*id));
        let times = incoming.map(|worker| {
            let since = worker.ready_since.unwrap_or_default();
            let proven = since.plus(self.policy.min_uptime);
            match self.hoped_for(worker).is_empty() {
                true => proven,
                false => proven.max(since.plus(LATE_START)),
            }
        });
        Some(times.max().unwrap_or_default())
    }

    pub(super) fn ready_seen(&mut self, now: Time, seen: &[(WorkerId, Seen)]) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        if std::mem::take(&mut rollout.batch.proof) != Proof::Asked {
            return;
        }
        let mut all_live = true;
        for (id, seen) in seen {
            match seen {
                Seen::Serves => {}
                Seen::LetGo(listeners) => self.has_let_go(now, *id, listeners),
                // It is waited for the rest of what there is to say of it.
                Seen::Ended => all_live = false,
            }
        }
        let is_ready = |rollout: &Rollout| rollout.batch.is_ready();
        if all_live && self.rollout.as_ref().is_some_and(is_ready) {
            self.flip_now(now);
        }
    }

    /// A worker that listens wherever it has to without these listeners goes on without them; else it is starting.
    fn has_let_go(&mut self, now: Time, id: WorkerId, listeners: &[ListenerId]) {
        self.workers.change(id, |worker| {
            for (listener, facts) in &mut worker.listeners {
                if listeners.contains(listener) {
                    facts.usage = Usage::LetGo;
                }
            }
        });
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        if self.is_ready(worker) {
            return self.close_what_was_let_go(id);
        }
        let endpoints = worker.let_go().map(|(_, endpoint)| endpoint).collect();
        let starting = Phase::Starting {
            deadline: worker.started.plus(self.policy.start_timeout),
            next_probe: now.plus(interval(now.since(worker.started))),
        };
        self.workers.change(id, |worker| worker.ready_since = None);
        self.set_phase(id, starting);
        if let Some(rollout) = &mut self.rollout {
            rollout.batch.not_ready(id);
        }
        self.log(WorkerEvent::Unready {
            worker: id,
            endpoints,
        });
        self.steer();
    }

    fn close_what_was_let_go(&mut self, id: WorkerId) {
        let gone = self.workers.change(id, |worker| {
            let gone: Vec<(ListenerId, Endpoint)> = worker.let_go().collect();
            for (listener, _) in &gone {
                worker.listeners.remove(listener);
            }
            gone
        });
        self.steer();
        let gone = gone.unwrap_or_default();
        self.drain_unserved(id, gone.iter().copied());
        self.release(gone.into_iter().map(|(listener, _)| listener));
    }
}

//! The end: of a worker, however it comes, and of everything.
//!
//! What a worker's end means depends on what it was doing: an incoming one fails its change, one
//! that serves has crashed, one that was told to stop has done as it was told.

use std::collections::{BTreeMap, BTreeSet};

use super::fleet::{Fleet, Stopping};
use super::vocabulary::*;
use super::worker::{Phase, QuiescedBy};

impl Fleet {
    pub(super) fn exited(&mut self, now: Time, id: WorkerId, exit: Exit) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        let incoming = self.is_incoming(id);
        match worker.phase {
            Phase::Starting { .. } | Phase::Ready if incoming => {
                self.incoming_exited(now, id, exit)
            }
            Phase::Starting { .. } | Phase::Ready | Phase::Serving if !worker.superseded => {
                self.crashed(now, id, exit)
            }
            Phase::Draining { .. } | Phase::Killed => self.gone(id, exit, true),
            // It was being retired, or would have been as soon as it listened.
            Phase::Starting { .. }
            | Phase::Ready
            | Phase::Serving
            | Phase::Settling { .. }
            | Phase::Quiescing { .. }
            | Phase::PreparingStop { .. } => self.gone(id, exit, false),
        }
    }

    pub(super) fn incoming_exited(&mut self, now: Time, id: WorkerId, exit: Exit) {
        let Some(slot) = self.workers.get(&id).map(|worker| worker.slot) else {
            return;
        };
        self.set_phase(id, Phase::Killed);
        let failure = Failure::Exited {
            worker: id,
            slot,
            exit,
        };
        // While it still has its listeners: an empty slot may keep the same ones.
        self.fail_change(now, failure);
        let listeners = self.workers.remove(&id).map(|worker| worker.listeners);
        self.release(listeners.into_iter().flat_map(BTreeMap::into_keys));
    }

    /// Drops a worker that has ended, and the listeners that nobody else has.
    fn gone(&mut self, id: WorkerId, exit: Exit, told: bool) {
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        if !told && !worker.is_overdue {
            // Nobody comes after it to accept what it leaves.
            let left = self.forsaken(worker.listeners.keys().copied());
            self.drain_backlog(id, left);
        }
        self.out.push(Effect::Log(WorkerEvent::Gone {
            worker: id,
            exit,
            told,
        }));
        self.steer();
        self.release(worker.listeners.into_keys());
    }

    /// Closes those of `listeners` that nobody has any more: siblings of the same queue may have
    /// them, and where nothing is steered the next generation has.
    pub(super) fn release(&mut self, listeners: impl IntoIterator<Item = ListenerId>) {
        let distinct: BTreeSet<ListenerId> = listeners.into_iter().collect();
        for listener in distinct {
            let is_used = self
                .workers
                .values()
                .any(|worker| worker.listeners.contains_key(&listener));
            let is_kept = self
                .vacancies
                .values()
                .any(|vacancy| vacancy.kept.contains_key(&listener));
            if !is_used && !is_kept {
                self.out.push(Effect::Close { listener });
            }
        }
    }

    pub(super) fn stop_asked(&mut self, now: Time, reply_to: Option<ClientId>, at_once: bool) {
        let is_repeated = self.stopping.is_some();
        self.begin_stopping(now, ExitReason::Stopped);
        if let Some(stopping) = &mut self.stopping {
            stopping.clients.extend(reply_to);
        }
        if at_once {
            self.tell_all(now);
            self.kill_all();
        } else if is_repeated || self.policy.pre_stop.is_zero() {
            self.tell_all(now);
        }
    }

    /// Nothing new begins from now on.
    pub(super) fn begin_stopping(&mut self, now: Time, exit_reason: ExitReason) {
        if self.stopping.is_some() {
            return;
        }
        let tell_at = Some(now.plus(self.policy.pre_stop));
        self.stopping = Some(Stopping {
            tell_at,
            clients: Vec::new(),
            exit_reason,
            rescuers_until: None,
        });
        if self.change.is_some() {
            self.fail_change(now, Failure::Stopped);
        }
        // Nobody fills them now, so they must not wake anybody.
        for vacancy in self.vacancies.values_mut() {
            vacancy.until = None;
        }
    }

    /// Tells every worker to stop, once.
    pub(super) fn tell_all(&mut self, now: Time) {
        if let Some(stopping) = &mut self.stopping {
            stopping.tell_at = None;
        }
        let untold = self.workers.values().filter(|worker| !worker.is_told());
        for id in untold.map(|worker| worker.id).collect::<Vec<_>>() {
            self.tell(now, id);
        }
        let vacancies = std::mem::take(&mut self.vacancies);
        self.release(
            vacancies
                .into_values()
                .flat_map(|vacancy| vacancy.kept.into_keys()),
        );
    }

    pub(super) fn kill_all(&mut self) {
        for id in self.workers.keys().copied().collect::<Vec<_>>() {
            self.kill(id);
        }
    }

    /// Tells a worker to stop; before that its rescuer, if one has its connections.
    pub(super) fn tell(&mut self, now: Time, id: WorkerId) {
        let phase = self.workers.get(&id).map(|worker| worker.phase);
        match phase {
            Some(Phase::Quiescing {
                by: QuiescedBy::Rescuer { .. },
                ..
            }) => {
                let deadline = now.plus(self.policy.prepare_timeout);
                self.set_phase(id, Phase::PreparingStop { deadline });
                self.out.push(Effect::PrepareStop { worker: id });
            }
            Some(Phase::PreparingStop { .. }) => {}
            _ => self.send_stop(now, id),
        }
    }

    pub(super) fn stop_prepared(&mut self, now: Time, id: WorkerId) {
        let phase = self.workers.get(&id).map(|worker| worker.phase);
        if let Some(Phase::PreparingStop { .. }) = phase {
            self.send_stop(now, id);
        }
    }

    pub(super) fn check_preparing(&mut self, now: Time) {
        let late = self.workers.values().filter(
            |worker| matches!(worker.phase, Phase::PreparingStop { deadline } if deadline <= now),
        );
        for id in late.map(|worker| worker.id).collect::<Vec<_>>() {
            self.out
                .push(Effect::Log(WorkerEvent::StopNotPrepared { worker: id }));
            self.send_stop(now, id);
        }
    }

    fn send_stop(&mut self, now: Time, id: WorkerId) {
        self.out.push(Effect::SendStop { worker: id });
        self.set_phase(
            id,
            Phase::Draining {
                deadline: now.plus(self.policy.drain_timeout),
            },
        );
        self.steer_unless_stopping();
    }

    /// A worker that is told to stop while nothing else serves goes on getting what comes: the
    /// alternative is a queue that nobody empties.
    pub(super) fn steer_unless_stopping(&mut self) {
        if self.stopping.is_none() {
            self.steer();
        }
    }

    pub(super) fn kill(&mut self, id: WorkerId) {
        self.out.push(Effect::Kill { worker: id });
        self.set_phase(id, Phase::Killed);
    }

    pub(super) fn check_draining(&mut self, now: Time) {
        let late = self.workers.values().filter(
            |worker| matches!(worker.phase, Phase::Draining { deadline } if deadline <= now),
        );
        for id in late.map(|worker| worker.id).collect::<Vec<_>>() {
            self.out
                .push(Effect::Log(WorkerEvent::DrainTimedOut { worker: id }));
            self.kill(id);
        }
    }

    pub(super) fn finish_if_over(&mut self, now: Time) {
        let is_over = self.workers.is_empty();
        let Some(stopping) = &mut self.stopping else {
            return;
        };
        if !is_over || stopping.tell_at.is_some() {
            return;
        }
        match stopping.rescuers_until {
            None => {
                stopping.rescuers_until = Some(now.plus(self.policy.rescuers_end_timeout));
                self.out.push(Effect::EndRescuers);
            }
            Some(until) if until <= now => self.finish(),
            Some(_) => {}
        }
    }

    pub(super) fn rescuers_ended(&mut self) {
        if let Some(Stopping {
            rescuers_until: Some(_),
            ..
        }) = self.stopping
        {
            self.finish();
        }
    }

    fn finish(&mut self) {
        let Some(stopping) = self.stopping.as_ref().filter(|_| !self.finished) else {
            return;
        };
        let exit_reason = stopping.exit_reason.clone();
        for reply_to in stopping.clients.clone() {
            self.out.push(Effect::Reply {
                reply_to: Some(reply_to),
                result: ChangeResult::Stopped,
            });
        }
        self.finished = true;
        self.out.push(Effect::Finish { exit_reason });
    }
}

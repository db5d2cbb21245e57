//! The end of everything.

use super::Fleet;
use crate::fleet::phase::{Phase, StopReason};
use crate::fleet::shutdown::{Shutdown, Stage};
use crate::fleet::vocabulary::*;
use crate::fleet::worker::Worker;

impl Fleet {
    /// | asked for | first | again |
    /// | --- | --- | --- |
    /// | drain | serve on, then drain | nothing changes: an orchestrator may ask twice |
    /// | interrupt | serve on, then drain | kill: somebody at a terminal has had enough |
    /// | now | kill | kill |
    pub(super) fn stop_asked(&mut self, now: Time, reply_to: Option<ClientId>, how: StopHow) {
        let is_repeated = self.is_shutting_down();
        self.begin_shutdown(now, ExitReason::Stopped);
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.clients.extend(reply_to);
        }
        let at_once = match how {
            StopHow::Drain => false,
            StopHow::Interrupt => is_repeated,
            StopHow::Now => true,
        };
        if at_once {
            self.kill_all(now);
        } else if !is_repeated && self.policy.pre_stop.is_zero() {
            self.stop_all(now);
        } else {
            self.report_stop(now, reply_to.into_iter().collect());
        }
    }

    fn report_stop(&mut self, now: Time, clients: Vec<ClientId>) {
        let Some(shutdown) = &self.shutdown else {
            return;
        };
        let waits_for = match shutdown.stage {
            Stage::Serving { until } => StopWait::PreStop(until.since(now)),
            Stage::Settling | Stage::Stopping | Stage::EndingRescuers { .. } | Stage::Finished => {
                StopWait::Drain
            }
            Stage::Killing => StopWait::Kill,
        };
        self.effects.push(Effect::ReportStop(StopProgress {
            clients,
            after: now.since(shutdown.since),
            waits_for,
            workers: self.workers.iter().count(),
        }));
    }

    /// Tells all clients that wait.
    fn report_stop_to_all(&mut self, now: Time) {
        let clients = self.shutdown.iter().flat_map(|it| it.clients.clone());
        self.report_stop(now, clients.collect());
    }

    /// Nothing new begins from now on.
    pub(super) fn begin_shutdown(&mut self, now: Time, exit_reason: ExitReason) {
        if self.is_shutting_down() {
            return;
        }
        let serve_until = now.plus(self.policy.pre_stop);
        let retirement = self.retirements.next_id();
        self.shutdown = Some(Shutdown::new(exit_reason, now, serve_until, retirement));
        if self.rollout.is_some() {
            self.fail_change(now, Failure::Stopped);
        }
        self.end_soak(now);
        // Where nobody stood by any more, its client hears of that now: there may be no step after this one.
        self.report_retirements(now);
        self.deny_pending();
        self.empty_slots.give_up_all();
    }

    /// Begins to end every worker, once. Those that serve are the last of all, so the order is that of a retirement:
    /// a worker that is told at once resets what waits in its queue, and cuts off what it is answering if it does not
    /// finish that by itself.
    pub(super) fn stop_all(&mut self, now: Time) {
        if self.nobody_follows() {
            return;
        }
        self.advance_shutdown(Stage::Settling);
        self.report_stop_to_all(now);
        let staying = self.workers.iter();
        let staying = staying.filter(|it| it.is_serving() || !it.has_served());
        let (accepting, starting): (Vec<_>, Vec<_>) =
            staying.partition(|worker| self.may_have_connections(worker));
        let ids = |workers: Vec<&Worker>| -> Vec<WorkerId> {
            workers.into_iter().map(|worker| worker.id).collect()
        };
        let (accepting, starting) = (ids(accepting), ids(starting));
        for id in starting {
            self.stop(now, id, StopReason::Shutdown);
        }
        let kept = self.empty_slots.take_listeners();
        self.release(kept);
        self.effects.push(Effect::KeepOut);
        self.settle(now, &accepting);
    }

    /// Whether connections came to a worker: also one that is not ready may share a listener that is live.
    pub(super) fn may_have_connections(&self, worker: &Worker) -> bool {
        let mut given = worker.listeners.keys();
        worker.has_served()
            || worker.listening().next().is_some()
            || given.any(|listener| self.workers.is_served(*listener))
    }

    /// Refuses new connections as soon as nothing is under way to a listener: before that, a handshake that has begun
    /// would have nobody to end it.
    pub(super) fn refuse_if_settled(&mut self) {
        let stage = self.shutdown.as_ref().map(|shutdown| shutdown.stage);
        let is_settling = |worker: &Worker| matches!(worker.phase, Phase::Settling { .. });
        if stage == Some(Stage::Settling) && !self.workers.iter().any(is_settling) {
            self.advance_shutdown(Stage::Stopping);
            self.effects.push(Effect::Refuse);
        }
    }

    /// Whether no worker will get new connections any more.
    pub(super) fn nobody_follows(&self) -> bool {
        self.shutdown
            .as_ref()
            .is_some_and(|shutdown| match shutdown.stage {
                Stage::Serving { .. } => false,
                Stage::Settling
                | Stage::Stopping
                | Stage::Killing
                | Stage::EndingRescuers { .. }
                | Stage::Finished => true,
            })
    }

    /// Kills every worker. Each is told first, so that it knows why; nobody prepares what is killed.
    fn kill_all(&mut self, now: Time) {
        self.advance_shutdown(Stage::Killing);
        self.report_stop_to_all(now);
        let all: Vec<_> = self
            .workers
            .iter()
            .map(|worker| (worker.id, worker.is_stopping()))
            .collect();
        for (id, is_stopping) in &all {
            if !is_stopping {
                self.send_stop(now, *id, StopReason::Shutdown);
            }
        }
        let kept = self.empty_slots.take_listeners();
        self.release(kept);
        for (id, _) in all {
            self.kill(id, StopReason::Shutdown);
        }
    }

    /// The end does not go back.
    fn advance_shutdown(&mut self, stage: Stage) {
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.stage = match (shutdown.stage, stage) {
                (Stage::Serving { .. }, next)
                | (Stage::Settling, next @ (Stage::Stopping | Stage::Killing))
                | (Stage::Stopping, next @ Stage::Killing) => next,
                (present, _) => present,
            };
        }
    }

    /// When all workers are gone the rescuers end, and when these have ended all is over.
    pub(super) fn end_if_over(&mut self, now: Time) {
        let is_over = self.workers.is_empty();
        let until = now.plus(self.policy.rescuers_end_timeout);
        let Some(shutdown) = &mut self.shutdown else {
            return;
        };
        match shutdown.stage {
            Stage::Stopping | Stage::Killing if is_over => {
                shutdown.stage = Stage::EndingRescuers { until };
                self.effects.push(Effect::EndRescuers);
            }
            Stage::EndingRescuers { until } if until <= now => self.finish(),
            Stage::Serving { .. }
            | Stage::Settling
            | Stage::Stopping
            | Stage::Killing
            | Stage::EndingRescuers { .. }
            | Stage::Finished => {}
        }
    }

    pub(super) fn rescuers_ended(&mut self) {
        let stage = self.shutdown.as_ref().map(|shutdown| shutdown.stage);
        if let Some(Stage::EndingRescuers { .. }) = stage {
            self.finish();
        }
    }

    fn finish(&mut self) {
        let Some(shutdown) = &mut self.shutdown else {
            return;
        };
        shutdown.stage = Stage::Finished;
        let exit_reason = shutdown.exit_reason;
        for client in std::mem::take(&mut shutdown.clients) {
            self.effects.push(Effect::Reply {
                reply_to: Some(client),
                result: ChangeResult::Stopped,
            });
        }
        self.effects.push(Effect::Finish { exit_reason });
    }
}

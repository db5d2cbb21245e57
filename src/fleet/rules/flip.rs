//! The flip: the incoming workers of a batch take over in one step, and those that they replace retire.
//!
//! Until the flip nothing has happened to those that serve, so failing means no more than telling the
//! incoming ones to stop.

use std::collections::BTreeSet;

use super::Fleet;
use crate::fleet::phase::{Phase, StopReason};
use crate::fleet::retirements::{Change, Course};
use crate::fleet::rollout::Rollout;
use crate::fleet::vocabulary::*;
use crate::fleet::worker::{Role, Worker};

impl Fleet {
    /// Says what incoming workers do not listen on although those before them did.
    fn log_less(&mut self, rollout: &Rollout) {
        for id in rollout.batch.incoming() {
            let worker = self.workers.get(*id);
            let less = worker.map_or_else(BTreeSet::new, |worker| self.hoped_for(worker));
            if !less.is_empty() {
                self.log(WorkerEvent::ListensOnLess {
                    worker: *id,
                    endpoints: less.into_iter().collect(),
                });
            }
        }
    }

    /// The order is policy. First who leaves is settled, for after the next step all of them serve. Then the
    /// incoming serve *before* the outgoing retire: in between no listener of a slot may be without a worker
    /// that is live, and one effect steers away from the old and to the new at once.
    pub(super) fn flip(&mut self, now: Time, mut rollout: Rollout) {
        let (lost, outgoing) = self.outgoing(&rollout);
        self.log_less(&rollout);
        self.serve_incoming(now, &rollout);
        let before = (self.generations.serving, self.wanted);
        self.restarts.forget(&rollout.batch.replaced);
        // Clients that wait hear of the flip before anything of the retirement.
        let is_last = rollout.later.is_empty();
        if is_last {
            self.generations.serving = rollout.generation;
            self.wanted = rollout.wanted;
            self.count_done(&rollout);
            self.report_serving(now, &rollout);
        }
        let drain_only = self.keep_only_to_drain(now, &rollout);
        // One that an earlier flip left to drain is counted there until it has gone: taken over by this
        // retirement, it would be missed there for ever, and the earlier client never answered.
        let is_new = |id: &&WorkerId| self.retirements.of(**id).is_none();
        let newly_left = drain_only.iter().filter(is_new).copied();
        let newly_left: Vec<WorkerId> = newly_left.chain(lost.iter().copied()).collect();
        self.note_flipped(&rollout, &outgoing, before);
        let change = change_of(&rollout);
        if self.flipped.is_some() && self.soaks(&rollout) {
            self.retirements
                .add(rollout.retirement, change, Course::GoesOn, &newly_left);
            self.begin_soak(now, &outgoing);
            // Last: what is steered away from together is fenced after that.
            self.retire(now, &lost);
        } else {
            let retiring = [newly_left, outgoing.clone()].concat();
            let course = if is_last {
                Course::Flipped
            } else {
                Course::GoesOn
            };
            self.retirements
                .add(rollout.retirement, change, course, &retiring);
            // The retirement is known before its workers are on their way: what they come to is counted there.
            self.retire(now, &[lost, outgoing].concat());
        }
        // Where nobody retires, the new ones are live all the same.
        self.steer();
        if !is_last {
            rollout.flipped_batch();
            self.rollout = Some(rollout);
            self.begin_next(now);
        }
        // After the flip: what they owe depends on what serves in their slots now.
        for id in drain_only {
            self.readiness_changed(now, id);
        }
    }

    fn count_done(&mut self, rollout: &Rollout) {
        self.tally.reloads += u64::from(rollout.kind == ChangeKind::Reload);
        if rollout.recycling.is_some() {
            self.recyclings.done();
        }
    }

    fn report_serving(&mut self, now: Time, rollout: &Rollout) {
        self.effects.push(Effect::Report(Progress {
            reply_to: rollout.reply_to,
            after: now.since(rollout.since),
            milestone: Milestone::Serving,
            kind: rollout.kind,
            generation: rollout.generation,
            workers: rollout.done.len() + rollout.batch.incoming().len(),
        }));
    }

    fn serve_incoming(&mut self, now: Time, rollout: &Rollout) {
        for id in rollout.batch.incoming() {
            let worker = self.workers.get(*id);
            if worker.is_some_and(|worker| !worker.is_serving()) {
                self.serve(now, *id);
            }
        }
    }

    /// The workers that serve in the batch's slots now. Those that a soak need not keep, for nobody goes back to a worker
    /// that has been drained; and the others.
    fn outgoing(&self, rollout: &Rollout) -> (Vec<WorkerId>, Vec<WorkerId>) {
        let slots = rollout.batch.replaced.iter();
        let present = slots.flat_map(|slot| self.workers.in_slot(*slot));
        let mut outgoing: Vec<&Worker> = present
            .filter(|worker| worker.is_serving() && !rollout.has(worker.id))
            .collect();
        outgoing.sort_by_key(|worker| worker.id);
        let soaks = self.soaks(rollout);
        let (lost, others): (Vec<_>, Vec<_>) = outgoing
            .into_iter()
            .partition(|worker| soaks && worker.is_drained());
        let ids = |workers: Vec<&Worker>| workers.iter().map(|worker| worker.id).collect();
        (ids(lost), ids(others))
    }

    /// What is between two lives in these slots is not needed any more, but for one thing: to
    /// accept what waits on the listeners that were kept. So a replacement that is starting goes
    /// on, one that waits starts at once, and each retires when it listens.
    fn keep_only_to_drain(&mut self, now: Time, rollout: &Rollout) -> Vec<WorkerId> {
        let slots = &rollout.batch.replaced;
        for slot in slots {
            let Some(empty) = self.empty_slots.remove(*slot) else {
                continue;
            };
            // Workers that share the listeners and retire now will do it.
            let mut kept = empty.listeners.keys();
            if !kept.all(|listener| self.is_emptied(*listener)) {
                self.spawn(now, *slot, empty.set, empty.generation, empty.listeners);
            }
        }
        let present = slots.iter().flat_map(|slot| self.workers.in_slot(*slot));
        let between = present.filter(|worker| worker.is_between_lives() && !rollout.has(worker.id));
        let between: BTreeSet<WorkerId> = between.map(|worker| worker.id).collect();
        for id in &between {
            self.workers
                .change(*id, |worker| worker.role = Role::DrainOnly);
        }
        between.into_iter().collect()
    }

    /// The change that is under way fails: everything is as it was before.
    pub(super) fn fail_change(&mut self, now: Time, failure: Failure) {
        self.fail_change_for(now, failure, None);
    }

    /// Likewise; a client that has asked for it hears when those that served already are gone.
    pub(super) fn fail_change_for(
        &mut self,
        now: Time,
        failure: Failure,
        asked_by: Option<ClientId>,
    ) {
        let Some(rollout) = self.rollout.take() else {
            return;
        };
        self.retirements.failed(rollout.retirement);
        self.tally.reloads_failed += u64::from(rollout.kind == ChangeKind::Reload);
        if rollout.kind != ChangeKind::Start && !self.is_shutting_down() {
            self.withdraw(now, &rollout, asked_by);
        }
        self.stop_incoming(now, &rollout);
        if rollout.kind == ChangeKind::Reload {
            self.put_back();
        }
        // Where everything ends, or what failed was to make that good, there is nothing to go back to.
        let is_undone = match rollout.kind {
            ChangeKind::Reload => !self.is_shutting_down(),
            ChangeKind::Start
            | ChangeKind::Restart
            | ChangeKind::Scale
            | ChangeKind::Rollback
            | ChangeKind::Recycling => false,
        };
        if let Some((slot, empty)) = rollout.filled.clone() {
            self.empty_slots.insert(slot, empty);
        }
        if !is_undone && !self.is_shutting_down() {
            self.refill_left(now, &rollout);
        }
        self.effects.push(Effect::Reply {
            reply_to: rollout.reply_to,
            result: ChangeResult::Failed {
                kind: rollout.kind,
                failure,
                undone: if is_undone {
                    rollout.replaced_so_far()
                } else {
                    0
                },
            },
        });
        if let Some(recycling) = rollout.recycling {
            self.recycling_failed(now, recycling);
        }
        if is_undone && rollout.replaced_so_far() > 0 {
            self.undo(now, &rollout);
        }
        if rollout.kind == ChangeKind::Start {
            self.begin_shutdown(now, ExitReason::StartFailed);
            self.stop_all(now);
        }
    }

    /// Tells the workers of a change that has failed to stop, but those that end as gently as others.
    fn stop_incoming(&mut self, now: Time, rollout: &Rollout) {
        for id in rollout.batch.incoming() {
            // After a start that failed everything ends, for those that have connections already as gently as ever.
            let ends_gently = |worker: &Worker| match rollout.kind {
                ChangeKind::Start => self.may_have_connections(worker),
                ChangeKind::Reload
                | ChangeKind::Restart
                | ChangeKind::Scale
                | ChangeKind::Rollback
                | ChangeKind::Recycling => worker.has_served(),
            };
            let worker = self.workers.get(*id);
            if worker.is_some_and(|worker| !worker.is_stopping() && !ends_gently(worker)) {
                self.stop(now, *id, StopReason::RolledBack);
            }
        }
    }

    /// A worker of the change exited before it was ready.
    pub(super) fn incoming_exited(&mut self, now: Time, id: WorkerId, exit: Exit) {
        let Some(slot) = self.workers.get(id).map(|worker| worker.slot) else {
            return;
        };
        let reason = StopReason::RolledBack;
        self.set_phase(id, Phase::Killed { reason });
        let failure = Failure::Exited {
            worker: id,
            slot,
            exit,
        };
        // While it still has its listeners: an empty slot may keep the same ones.
        self.fail_change(now, failure);
        let worker = self.workers.remove(id);
        self.release(worker.into_iter().flat_map(|it| it.listeners.into_keys()));
    }

    /// Ends everything when every slot is given up. That may be long after the last one was: a
    /// change or a retired worker was there still, from which something could have come.
    pub(super) fn end_if_hopeless(&mut self, now: Time) {
        let is_hopeless = !self.empty_slots.is_empty()
            && self.rollout.is_none()
            && self.workers.nobody_stays()
            && self.empty_slots.all_are_given_up();
        if is_hopeless {
            self.begin_shutdown(now, ExitReason::CrashLoop);
            self.stop_all(now);
        }
    }
}

pub(super) fn change_of(rollout: &Rollout) -> Change {
    Change {
        kind: rollout.kind,
        reply_to: rollout.reply_to,
        since: rollout.since,
        generation: rollout.generation,
    }
}

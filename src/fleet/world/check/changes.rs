//! Of changes: what is reported of them, what becomes of them, and within which bounds.

use super::*;
use crate::fleet::Bounds;

impl World {
    /// How many workers may be missing while others are replaced.
    pub(super) fn most_missing(&self) -> u32 {
        let most = |policy: &crate::fleet::Policy| match policy.strategy {
            Strategy::AllAtOnce => 0,
            Strategy::Rolling(bounds) => bounds.unavailable(self.fleet.workers_wanted()),
        };
        // What is undone began within the bounds of what has failed.
        match self.open_change {
            Some(ChangeKind::Rollback) => self.policies.values().map(most).max().unwrap_or(0),
            _ => most(self.policy()),
        }
    }

    /// How many slots may have no worker now.
    pub(super) fn may_leave(&self) -> u32 {
        match self.open_change {
            None | Some(ChangeKind::Start | ChangeKind::Scale) => 0,
            // A restart of a slot that was given up may wait for room.
            Some(ChangeKind::Restart) => self.most_missing().max(1),
            Some(ChangeKind::Reload | ChangeKind::Rollback | ChangeKind::Recycling) => {
                self.most_missing()
            }
        }
    }

    /// What a roll back needs, which cannot be denied: those that share a queue are replaced together.
    fn least_surge(&self, bounds: Bounds) -> u32 {
        let wanted = self.fleet.workers_wanted();
        let most = bounds.surge(wanted).max(bounds.unavailable(wanted));
        let queues = self.policy().queues.unwrap_or(wanted).min(wanted);
        let together = wanted.div_ceil(queues.max(1));
        match self.open_change == Some(ChangeKind::Rollback) && together > most {
            true => together,
            false => 0,
        }
    }

    /// While workers are replaced within bounds, no more run. What only drains a backlog is not one of them.
    pub(super) fn check_room(&self, new: WorkerId, before: &Before) -> Checked {
        let Strategy::Rolling(bounds) = self.policy().strategy else {
            return Ok(());
        };
        let is_rolling = matches!(
            self.open_change,
            Some(
                ChangeKind::Reload
                    | ChangeKind::Restart
                    | ChangeKind::Rollback
                    | ChangeKind::Recycling
            )
        );
        let alive = self.processes.iter().filter(|(_, it)| it.is_alive());
        let counted = alive.filter(|(id, _)| !self.drain_only.contains(id));
        let slots: Vec<Slot> = counted.map(|(_, it)| it.slot).collect();
        let running = slots.len() + usize::from(!self.drain_only.contains(&new));
        let slots = BTreeSet::from_iter(slots).len() as u32;
        // The number may change, too.
        let wanted = self.fleet.workers_wanted().max(self.policy().workers);
        let wanted = wanted.max(slots);
        let most = (wanted + bounds.surge(wanted).max(self.least_surge(bounds))) as usize;
        // After a crash nothing is waited for: what is too many was so before.
        let most = most.max(before.phases.len());
        ensure(!is_rolling || running <= most, || {
            format!("{running} workers run, and {most} may")
        })
    }

    pub(super) fn is_served(&self, slot: Slot) -> bool {
        let view = self.fleet.view(self.now);
        let mut serving = view.iter().filter(|line| line.phase == "serving");
        serving.any(|line| line.slot == slot)
    }

    /// The workers that start in a slot which has a later worker by now, or which is not wanted any more. Such a
    /// worker only drains the backlog, and no other worker does that if it fails.
    pub(super) fn note_drain_only(&mut self) {
        let view = self.fleet.view(self.now);
        let wanted = self.fleet.workers_wanted();
        let serving = view.iter().filter(|line| line.phase == "serving");
        let taken: BTreeMap<Slot, WorkerId> = serving.map(|it| (it.slot, it.worker)).collect();
        let is_successor = |id| self.processes.get(&id).is_some_and(|it| it.is_successor);
        let is_taken = |slot: &Slot, id: WorkerId| {
            taken
                .get(slot)
                .is_some_and(|by| *by > id || is_successor(id))
        };
        let starting = view.iter().filter(|line| line.phase == "starting");
        let drain_only = starting.filter(|it| it.slot.0 >= wanted || is_taken(&it.slot, it.worker));
        self.drain_only.extend(drain_only.map(|line| line.worker));
    }

    pub(super) fn check_report(
        &mut self,
        reply_to: Option<ClientId>,
        milestone: Milestone,
        kind: ChangeKind,
        generation: Generation,
        leaving: BTreeSet<WorkerId>,
    ) -> Checked {
        match milestone {
            Milestone::Starting => {
                ensure(self.open_change.is_none(), || {
                    format!("a {kind} begins before the flip of another change")
                })?;
                let view = self.fleet.view(self.now);
                let is_on_its_way =
                    |phase: &str| matches!(phase, "standing-by" | "settling" | "quiescing");
                // Not those that the change itself has begun to retire.
                let mut others = view.iter().filter(|line| {
                    let process = self.processes.get(&line.worker);
                    is_on_its_way(line.phase) && process.is_some_and(|it| is_on_its_way(it.phase.0))
                });
                // What is undone waits for nobody.
                let is_undone = kind == ChangeKind::Rollback;
                ensure(is_undone || others.next().is_none(), || {
                    format!(
                        "a {kind} begins while workers of another change have no stop signal yet"
                    )
                })?;
                self.check_recycling(kind)?;
                self.open_change = Some(kind);
                self.listened_before = self.kernel.listeners();
            }
            Milestone::Canary => self.on_trial = Some(generation),
            Milestone::Serving => {
                self.on_trial = self.on_trial.filter(|tried| *tried != generation);
                self.open_change = None;
                self.is_mixed &= kind != ChangeKind::Reload;
                self.has_started = true;
                self.note_drain_only();
            }
            _ => {}
        }
        let Some(request) = reply_to.and_then(|reply_to| self.requests.get_mut(&reply_to)) else {
            return Ok(());
        };
        ensure(!request.is_answered, || {
            format!("{reply_to:?} hears more after the end")
        })?;
        if milestone == Milestone::Starting {
            self.may_change
                .extend(request.accepts_changes.then_some(generation));
            // It may have waited its turn.
            request.at = self.now;
        }
        ensure(request.heard < Some(milestone), || {
            format!(
                "{reply_to:?} hears of {milestone} after {:?}",
                request.heard
            )
        })?;
        request.heard = Some(milestone);
        request.leaving.extend(leaving);
        Ok(())
    }

    fn check_failed(
        &mut self,
        kind: ChangeKind,
        failure: &Failure,
        batch: &[Effect],
        before: &Before,
    ) -> Checked {
        let tried = self.on_trial.take();
        self.open_change = None;
        self.is_mixed |= kind == ChangeKind::Rollback;
        if let Failure::NotReady { missing, .. } = failure
            && !before.serving.is_empty()
        {
            // Of who says that it is ready it is believed that it uses what it was passed.
            let is_owed = |it: &&Endpoint| before.common.contains(it) || self.passed().contains(it);
            let not_owed = missing.iter().find(|it| !is_owed(it));
            ensure(not_owed.is_none(), || {
                format!("the {kind} failed for {not_owed:?}, which not all listen on")
            })?;
        }
        let serving = self.serving();
        // Who was tried is withdrawn.
        let is_tried = |id: &WorkerId| {
            let process = self.processes.get(id);
            process.is_some_and(|it| Some(it.generation) == tried)
        };
        let stays = before
            .serving
            .iter()
            .filter(|id| before.ended != Some(**id) && !is_tried(id));
        let wanted = self.fleet.workers_wanted();
        let is_wanted = |id: &&WorkerId| {
            let phase = before.phases.get(id);
            phase.is_some_and(|(_, slot)| *slot < wanted)
        };
        let stays = stays.filter(is_wanted);
        // What is undone may begin at once, with workers that leave.
        let left = stays.filter(|id| !serving.contains(id)).count();
        let is_kept = left <= self.most_missing() as usize;
        // What signals asked for may follow at once: fewer workers.
        let is_back = matches!(
            failure,
            Failure::Died { .. } | Failure::Unhealthy { .. } | Failure::RolledBack
        );
        let is_over = self.is_stopping() || batch.iter().any(is_flip) || is_back;
        ensure(is_kept || is_over, || {
            format!("the {kind} failed ({failure:?}) and who served does not any more")
        })
    }

    pub(super) fn check_result(
        &mut self,
        reply_to: Option<ClientId>,
        result: &ChangeResult,
        batch: &[Effect],
        before: &Before,
    ) -> Checked {
        // That nobody serves any more is said when all have gone, of a change that is over.
        if let ChangeResult::Failed { kind, failure, .. } = result
            && *failure != Failure::NobodyServes
        {
            self.check_failed(*kind, failure, batch, before)?;
        }
        let Some(reply_to) = reply_to else {
            return Ok(());
        };
        let is_turned_away = matches!(
            result,
            ChangeResult::Denied(Denial::Busy {
                kind: ChangeKind::Recycling,
                ..
            })
        );
        ensure(!is_turned_away, || {
            format!("{reply_to:?} is turned away for a recycling")
        })?;
        let Some(request) = self.requests.get_mut(&reply_to) else {
            return Err(format!("{reply_to:?} has asked for nothing"));
        };
        ensure(!request.is_answered, || {
            format!("{reply_to:?} is answered twice")
        })?;
        request.is_answered = true;
        // A trial takes as long as it takes.
        let is_late = self.now.since(request.at) >= ANSWER_TIMEOUT;
        ensure(!is_late || request.heard >= Some(Milestone::Canary), || {
            format!("{reply_to:?} is answered late")
        })?;
        let is_done = matches!(result, ChangeResult::Done { .. });
        let here = |id: &&WorkerId| {
            let process = self.processes.get(id);
            process.is_some_and(Process::is_alive)
        };
        let left = request.leaving.iter().find(here);
        ensure(left.is_none() || !is_done, || {
            format!("{reply_to:?} hears that all is done, and worker {left:?} is here")
        })
    }

    /// What somebody has asked for goes first.
    pub(super) fn check_recycling(&self, kind: ChangeKind) -> Checked {
        let mut waiting = self
            .requests
            .iter()
            .filter(|(_, it)| !it.is_answered && it.heard.is_none());
        let waiting = waiting.next().map(|(reply_to, _)| reply_to);
        let is_first = kind == ChangeKind::Recycling && waiting.is_some();
        ensure(!is_first, || {
            format!("a recycling begins while {waiting:?} waits its turn")
        })
    }
}

//! Of all there is after a step.

use core::time::Duration;
use std::collections::BTreeSet;

use super::{Before, Checked, ensure, is_flip, is_taken_back};
use crate::fleet::world::World;
use crate::fleet::world::process::Process;
use crate::fleet::{
    ChangeKind, Effect, ListenerId, ListenerSetId, Milestone, Progress, ReadyWhen, Slot, Time,
    WorkerEvent, WorkerId, WorkerView,
};

/// The most steps without time passing: more are an endless loop of events.
const MAX_STEPS_AT_ONCE: usize = 120;
/// The longest that a look at a retired worker may be late, with a refused fence that stood for
/// those of others which were asked for later; and as many slow fences.
const MAX_FENCE_DELAY: Duration = Duration::from_millis(260);

impl World {
    pub(in crate::fleet::world) fn check_state(
        &mut self,
        before: &Before,
        batch: &[Effect],
        is_settled: bool,
    ) -> Checked {
        ensure(self.steps_now < MAX_STEPS_AT_ONCE, || {
            "too many steps at one moment".to_owned()
        })?;
        let deadline = self.fleet.next_deadline();
        ensure(deadline.is_none_or(|at| at > self.now), || {
            format!("the next deadline is not in the future: {deadline:?}")
        })?;
        if self.is_finished {
            return ensure(deadline.is_none(), || "a deadline after the end".to_owned());
        }
        self.check_capacity(batch, before)?;
        self.check_signals()?;
        self.check_deadlines()?;
        if !self.is_stopping() {
            self.check_steering()?;
            self.check_sets()?;
            self.check_crash(batch, before)?;
            self.check_ready(before)?;
            self.check_generation(batch, before)?;
            self.check_in_effect()?;
        }
        if is_settled {
            self.check_no_leak()?;
        }
        Ok(())
    }

    /// How many workers there are to be at least: a rolling reload to fewer takes away one after the other.
    fn least_wanted(&self) -> u32 {
        let wanted = self.fleet.workers_wanted();
        match self.open_change {
            Some(ChangeKind::Reload) => wanted.min(self.policy().workers),
            _ => wanted,
        }
    }

    /// Workers cease to serve for no other reason than that there are as many others, or that they
    /// have crashed, or that fewer are wanted, or none.
    fn check_capacity(&self, batch: &[Effect], before: &Before) -> Checked {
        if self.is_stopping() {
            return Ok(());
        }
        let serving = self.serving();
        let wanted = self.least_wanted();
        let is_wanted = |id: &&WorkerId| {
            before
                .phases
                .get(id)
                .is_some_and(|(_, slot)| *slot < wanted)
        };
        let stays = |id: &&WorkerId| before.ended != Some(**id);
        let had = before
            .serving
            .iter()
            .filter(is_wanted)
            .filter(stays)
            .filter(|id| !before.tried.contains(id))
            .count();
        let is_unready =
            |effect: &&Effect| matches!(effect, Effect::Log(WorkerEvent::Unready { .. }));
        let unready = batch.iter().filter(is_unready).count();
        let is_excused = batch.iter().any(is_taken_back);
        let least = had.min(wanted.saturating_sub(self.most_missing()) as usize);
        ensure(serving.len() + unready >= least || is_excused, || {
            format!(
                "{} workers serve, before {had}, and {wanted} are wanted",
                serving.len()
            )
        })
    }

    /// No worker stays in a phase longer than its time-out allows.
    fn check_deadlines(&mut self) -> Checked {
        let policy = self.policy().clone();
        let phases: Vec<_> = self
            .fleet
            .view(self.now)
            .into_iter()
            .map(|line| (line.worker, line.phase))
            .collect();
        for (id, phase) in phases {
            let Some(process) = self.processes.get_mut(&id).filter(|it| it.is_alive()) else {
                continue;
            };
            if process.phase.0 != phase {
                process.phase = (phase, self.now);
            }
            let since = self.now.since(process.phase.1);
            ensure(process.is_killed || !self.was_told_to_stop_now, || {
                format!("worker {id} lives on after a stop now")
            })?;
            let fences = self.plan.fence_takes * 3;
            let is_late = !process.is_killed
                && match phase {
                    "starting" => self.now.since(process.started) >= policy.start_timeout,
                    "standing-by" => since > policy.soak,
                    "settling" => since > policy.settle_timeout + MAX_FENCE_DELAY + fences,
                    "quiescing" => since > policy.quiet_timeout + MAX_FENCE_DELAY,
                    "draining" => {
                        process.stop_sent_at.map(|at| self.now.since(at))
                            >= Some(policy.drain_timeout)
                    }
                    _ => false,
                };
            ensure(!is_late, || format!("worker {id} is {phase} for too long"))?;
        }
        Ok(())
    }

    /// New connections go to all serving workers, and to nobody else.
    fn check_steering(&self) -> Checked {
        if !self.policy().steering {
            return Ok(());
        }
        let mut expected = BTreeSet::new();
        for id in self.serving() {
            let process = self.processes.get(&id);
            let Some(process) = process.filter(|process| process.is_alive()) else {
                return Err(format!("worker {id} serves and has no process"));
            };
            ensure(!process.is_killed && process.stop_sent_at.is_none(), || {
                format!("worker {id} serves and has the stop signal")
            })?;
            expected.extend(&process.listens_on);
        }
        let live = &self.kernel.live;
        // Of a socket that is passed and used late nobody hears.
        let unheard = |id: &&ListenerId| {
            let endpoint = self.kernel.open.get(id).map(|socket| socket.endpoint);
            !endpoint.is_some_and(|endpoint| self.passed().contains(&endpoint))
        };
        let expected_now = self
            .serving()
            .into_iter()
            .filter(|id| !self.may_get_none(*id));
        let expected_now: BTreeSet<ListenerId> = expected_now
            .filter_map(|id| self.processes.get(&id))
            .flat_map(|it| it.listens_on.iter().copied())
            .collect();
        let forgotten = expected_now.difference(live).find(unheard);
        ensure(forgotten.is_none(), || {
            format!("{forgotten:?} of a serving worker gets no connections")
        })?;
        let wrong = live.difference(&expected).find(unheard);
        ensure(wrong.is_none(), || {
            format!("{wrong:?} gets connections, and nobody serves from it")
        })
    }

    /// Workers are in the same listener set exactly if their slots are, modulo the number of sets. Those of different
    /// generations never are.
    fn check_sets(&self) -> Checked {
        if self.is_mixed {
            return Ok(());
        }
        let count = self.policy().queues;
        let set_of = |slot: Slot| count.map_or(slot.0, |count| slot.0 % count);
        let view = self.fleet.view(self.now);
        let is_tried = |line: &&WorkerView| Some(line.generation) == self.on_trial;
        let serving = || {
            let serving = view.iter().filter(|line| line.phase == "serving");
            serving.filter(|line| !is_tried(line))
        };
        for line in serving() {
            for other in serving() {
                let is_shared = line.set == other.set;
                ensure(
                    is_shared == (set_of(line.slot) == set_of(other.slot)),
                    || format!("workers {} and {}: {is_shared}", line.worker, other.worker),
                )?;
            }
        }
        let mut all = view.iter().flat_map(|line| {
            let sockets = line.listeners.iter();
            sockets.filter_map(move |(id, _)| Some((line, self.kernel.open.get(id)?)))
        });
        let moved = all.find(|(line, socket)| line.set != socket.set);
        ensure(moved.is_none(), || {
            format!("a listener has changed its set: {moved:?}")
        })
    }

    /// A worker that dies while others serve its listeners changes nothing for new connections.
    fn check_crash(&self, batch: &[Effect], before: &Before) -> Checked {
        let ended = before.ended.filter(|id| before.serving.contains(id));
        let Some(process) = ended.and_then(|id| self.processes.get(&id)) else {
            return Ok(());
        };
        let serving = self.serving();
        let served: BTreeSet<&ListenerId> = serving
            .iter()
            .filter_map(|id| self.processes.get(id))
            .flat_map(|other| &other.listens_on)
            .collect();
        let is_served = process.listens_on.iter().all(|id| served.contains(id));
        let is_more =
            batch.iter().any(is_flip) || self.plan.passed || self.is_anybody_turned_away();
        let steers = |effect: &Effect| matches!(effect, Effect::Steer { .. });
        ensure(!is_served || is_more || !batch.iter().any(steers), || {
            format!("worker {ended:?} died, its listeners are served, and the steering changes")
        })
    }

    /// Nobody serves that is not ready.
    fn check_ready(&self, before: &Before) -> Checked {
        let serving = self.serving();
        let new = serving.difference(&before.serving);
        for (id, process) in new.filter_map(|id| Some((id, self.processes.get(id)?))) {
            let has_said_so = match process.ready {
                ReadyWhen::Listening => true,
                ReadyWhen::Notified | ReadyWhen::Probed => process.has_declared,
            };
            // What is passed is taken to be used by who says that it is ready.
            let is_used = |id: &ListenerId| {
                let socket = self.kernel.open.get(id);
                socket.is_some_and(|socket| self.passed().contains(&socket.endpoint))
            };
            // It was ready once; what it binds while it waits for its siblings is not waited for.
            let given = process.given.difference(&process.given_late);
            // What its predecessor opened when it was ready is not owed, nor is anything where addresses may change.
            let is_owed = |id: &&ListenerId| {
                !self.opened_late.contains(id) && !self.may_change.contains(&process.generation)
            };
            let mut given = given.filter(is_owed);
            let uses_all = given.all(|id| has_said_so && is_used(id));
            ensure(has_said_so && uses_all, || {
                format!("worker {id} serves before it is ready")
            })?;
        }
        Ok(())
    }

    /// After the flip of a reload the new generation serves and no other, wherever the old one did.
    fn check_generation(&self, batch: &[Effect], before: &Before) -> Checked {
        let reload = batch.iter().find_map(|effect| match effect {
            Effect::Report(Progress {
                milestone: Milestone::Serving,
                kind: ChangeKind::Reload,
                generation,
                reply_to,
                ..
            }) => Some((*generation, *reply_to)),
            _ => None,
        });
        let Some((generation, reply_to)) = reload else {
            return Ok(());
        };
        let serving = self.serving();
        let mut of_them = serving.iter().filter_map(|id| self.processes.get(id));
        ensure(of_them.all(|it| it.generation == generation), || {
            format!("after the flip not only generation {generation} serves")
        })?;
        let now = self.live_endpoints();
        let left = before.owed.difference(&now).next();
        let is_fewer = batch.iter().filter(|effect| is_flip(effect)).count() > 1;
        let request = reply_to.and_then(|client| self.requests.get(&client));
        let may_change = request.is_some_and(|request| request.accepts_changes);
        // What one worker alone serves in another slot does not tell what is common.
        let slot = |id: &WorkerId| before.phases.get(id).map(|(_, slot)| *slot);
        let is_known =
            before.serving.len() > 1 || before.serving.iter().all(|id| slot(id) == Some(0));
        ensure(
            left.is_none() || is_fewer || may_change || !is_known,
            || format!("after the flip nobody serves {left:?}"),
        )
    }

    /// When no change is under way, what serves is made by what is in effect.
    fn check_in_effect(&self) -> Checked {
        if self.fleet.phase_name() != "serving" || self.is_mixed {
            return Ok(());
        }
        let serving = self.serving();
        let mut of_them = serving.iter().filter_map(|id| self.processes.get(id));
        let is_other = |it: &&Process| self.made_by.get(&it.generation) != Some(&self.in_effect);
        let other = of_them.find(is_other);
        ensure(other.is_none(), || {
            let in_effect = self.in_effect;
            format!(
                "{in_effect:?} is in effect, and generation {:?} serves",
                other.map(|it| it.generation)
            )
        })
    }

    /// Every open listener and live process belongs to a worker; nothing accumulates.
    fn check_no_leak(&self) -> Checked {
        let view = self.fleet.view(self.now);
        let shown: BTreeSet<WorkerId> = view.iter().map(|line| line.worker).collect();
        let owned: BTreeSet<ListenerId> = view
            .iter()
            .flat_map(|line| line.listeners.iter().map(|(id, _)| *id))
            .collect();
        let leaked = self.kernel.open.keys().find(|id| !owned.contains(id));
        ensure(leaked.is_none(), || {
            format!("{leaked:?} is open and belongs to no worker")
        })?;
        let alive = self.processes.iter().filter(|(_, it)| it.is_alive());
        let mut forgotten = alive.map(|(id, _)| id).filter(|id| !shown.contains(id));
        let forgotten = forgotten.next();
        ensure(forgotten.is_none(), || {
            format!("worker {forgotten:?} is forgotten")
        })?;
        let (pile, crashes) = self.fleet.retained_counts();
        ensure(pile <= shown.len() + 1, || {
            format!("{pile} retirements accumulate")
        })?;
        let most = self.policy().max_restarts as usize + 1;
        ensure(crashes <= most, || {
            format!("{crashes} crashes are remembered")
        })?;
        if self.is_stopping() || !self.has_started {
            return Ok(());
        }
        self.check_slots()
    }

    /// Every slot has a worker that serves or will, or is known to have none, and not both.
    fn check_slots(&self) -> Checked {
        let view = self.fleet.view(self.now);
        let mut may_leave = self.may_leave();
        for slot in 0..self.least_wanted() {
            let here: Vec<_> = view.iter().filter(|line| line.slot.0 == slot).collect();
            let is_tried = |line: &WorkerView| Some(line.generation) == self.on_trial;
            let count = |phases: &[&str]| {
                let lines = here.iter().filter(|line| phases.contains(&line.phase));
                lines.count()
            };
            // Who is tried serves beside the one that is there.
            let tried = here
                .iter()
                .filter(|line| is_tried(line) && line.phase == "serving");
            let tried = tried.count();
            if count(&["serving", "ready", "starting", "waiting", "given-up"]) == 0 {
                ensure(may_leave > 0, || {
                    format!("slot {slot} is empty and will stay so")
                })?;
                may_leave -= 1;
            }
            ensure(
                count(&["serving", "waiting", "given-up"]) <= 1 + tried,
                || format!("slot {slot} is empty and is not"),
            )?;
        }
        let is_dead = view.iter().all(|line| line.phase == "given-up");
        ensure(!is_dead, || {
            "all slots are given up, and it goes on".to_owned()
        })
    }

    /// What waits for those that serve no more is for a rescuer, if there is one.
    pub(super) fn note_taken_back(&mut self) {
        let view = self.fleet.view(self.now);
        let serving = view.iter().filter(|line| line.phase == "serving");
        let sets: BTreeSet<ListenerSetId> = serving.map(|line| line.set).collect();
        for socket in self.kernel.open.values_mut() {
            socket.is_taken_back |= !sets.contains(&socket.set);
        }
    }

    pub(super) fn check_answered(&self) -> Checked {
        let mut unanswered = self.requests.iter().filter(|(_, it)| !it.is_answered);
        let unanswered = unanswered.next().map(|(reply_to, _)| reply_to);
        ensure(unanswered.is_none(), || {
            format!("{unanswered:?} is never answered")
        })
    }

    /// Long after the last wish everybody has an answer and no change is under way.
    pub(in crate::fleet::world) fn check_final(&self) -> Checked {
        self.check_answered()?;
        self.check_taken()?;
        // Workers come to their age again and again.
        let is_recycling = self.fleet.phase_name() == "recycling";
        let under_way = self.open_change;
        ensure(under_way.is_none() || is_recycling, || {
            format!("a {under_way:?} never ends")
        })?;
        let (left, _) = self.fleet.retained_counts();
        ensure(left == 0 || is_recycling, || {
            format!("{left} retirements never end")
        })?;
        let due = self.fleet.next_deadline();
        ensure(due != Some(Time::NEVER), || {
            "a slot waits for ever".to_owned()
        })
    }
}

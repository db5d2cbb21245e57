//! What must always hold: of each effect before it is performed, and (`state`) of all there is after each step.

mod state;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::kernel::Socket;
use super::process::Process;
use super::{State, World};
use crate::fleet::{
    ChangeKind, ChangeResult, ClientId, Denial, Effect, Endpoint, Event, Failure, Generation,
    ListenerId, ListenerSetId, Milestone, Progress, Slot, Spawn, Strategy, WorkerEvent, WorkerId,
};

/// A request that was not answered after this long is forgotten. The longest way: a change that
/// starts late, behind whose flip a replacement is awaited that has to accept what was left.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

type Checked = Result<(), String>;

/// How things were before a step.
pub(super) struct Before {
    serving: BTreeSet<WorkerId>,
    /// Endpoints that the new workers of a change owe: where all of those that serve listened when it
    /// began. What these open later is not owed.
    owed: BTreeSet<Endpoint>,
    /// Endpoints that all of those that serve listen on.
    common: BTreeSet<Endpoint>,
    phases: BTreeMap<WorkerId, (&'static str, u32)>,
    is_stopping: bool,
    /// Those that serve on trial.
    tried: BTreeSet<WorkerId>,
    /// Who has ended, if that is the event.
    ended: Option<WorkerId>,
}

fn ensure(holds: bool, wrong: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(wrong()) }
}

impl World {
    pub(super) fn snapshot(&self, event: &Event) -> Before {
        let ended = match event {
            Event::Exited { worker, .. } | Event::SpawnFailed { worker, .. } => Some(*worker),
            _ => None,
        };
        let view = self.fleet.view(self.now);
        Before {
            serving: self.serving(),
            owed: self.owed(),
            common: self.common(&self.kernel.listeners()),
            phases: view
                .iter()
                .map(|line| (line.worker, (line.phase, line.slot.0)))
                .collect(),
            is_stopping: self.is_stopping(),
            tried: self.tried(),
            ended,
        }
    }

    pub(super) fn serving(&self) -> BTreeSet<WorkerId> {
        let view = self.fleet.view(self.now);
        let serving = view.iter().filter(|line| line.phase == "serving");
        serving.map(|line| line.worker).collect()
    }

    /// Those that serve on trial.
    fn tried(&self) -> BTreeSet<WorkerId> {
        let mut tried = self.serving();
        tried.retain(|id| {
            let process = self.processes.get(id);
            self.on_trial.is_some() && process.map(|it| it.generation) == self.on_trial
        });
        tried
    }

    fn owed(&self) -> BTreeSet<Endpoint> {
        let mut owed = &self.live_endpoints() & &self.common(&self.listened_before);
        // Not the port that a slot alone has, nor what is opened later.
        owed.retain(|endpoint| endpoint.address.port() < 9000);
        owed
    }

    /// Where all of those that serve listen.
    fn common(&self, listeners: &BTreeSet<(WorkerId, Endpoint)>) -> BTreeSet<Endpoint> {
        let mut serving = self.serving();
        serving.retain(|id| self.processes.get(id).is_some_and(Process::is_alive));
        let mut endpoints: BTreeSet<Endpoint> = listeners.iter().map(|(_, it)| *it).collect();
        endpoints.retain(|it| serving.iter().all(|id| listeners.contains(&(*id, *it))));
        endpoints
    }

    /// Endpoints that new connections are steered to.
    fn live_endpoints(&self) -> BTreeSet<Endpoint> {
        let live = self.kernel.live.iter();
        live.filter_map(|id| self.kernel.open.get(id))
            .map(|socket| socket.endpoint)
            .collect()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.fleet.phase_name() == "stopping"
    }

    pub(super) fn check_effect(
        &mut self,
        effect: &Effect,
        batch: &[Effect],
        before: &Before,
    ) -> Checked {
        match effect {
            Effect::ReadDeployment { deployment } => {
                ensure(!self.policies.contains_key(deployment), || {
                    format!("{deployment:?} is read twice")
                })
            }
            Effect::Apply { deployment } => ensure(self.policies.contains_key(deployment), || {
                format!("{deployment:?} is in effect, and was not read")
            }),
            Effect::Spawn(Spawn {
                worker,
                generation,
                deployment,
                slot,
                set,
                adopt,
                ..
            }) => {
                ensure(!before.is_stopping, || {
                    format!("worker {worker} is started while stopping")
                })?;
                ensure(!self.processes.contains_key(worker), || {
                    format!("the id of worker {worker} is used again")
                })?;
                // One that comes after the flip of its slot, too.
                if !adopt.is_empty() && self.is_served(*slot) {
                    self.drain_only.insert(*worker);
                }
                let made_by = *self.made_by.entry(*generation).or_insert(*deployment);
                ensure(made_by == *deployment, || {
                    format!(
                        "worker {worker} is made by {deployment:?}, and its generation by {made_by:?}"
                    )
                })?;
                self.check_room()?;
                ensure(slot.0 < self.policy().most_workers, || {
                    format!("slot {slot} is beyond the most workers")
                })?;
                self.check_adopted_listeners(*set, adopt)
            }
            Effect::Steer { live } => live.keys().try_for_each(|id| {
                ensure(self.kernel.open.contains_key(id), || {
                    format!("new connections go to {id:?}, which is closed")
                })
            }),
            Effect::SendStop { worker, .. } => self.check_send_stop(*worker, batch),
            Effect::Kill { worker } => self.check_kill(*worker),
            Effect::Close { listener } => self.check_close(*listener, batch, before),
            Effect::Report(Progress {
                reply_to,
                milestone,
                kind,
                generation,
                ..
            }) => {
                self.check_replacement(effect)?;
                let flips = batch.iter().filter(|effect| is_flip(effect)).count();
                let begins = batch.iter().any(is_beginning);
                // Of two in one step nobody can tell who left with which.
                let leaving = match (milestone, flips) {
                    (Milestone::Serving, 1) if !begins => &before.serving - &self.serving(),
                    _ => BTreeSet::new(),
                };
                self.check_report(*reply_to, *milestone, *kind, *generation, leaving)
            }
            Effect::Reply { reply_to, result } => {
                if is_taken_back(effect) {
                    self.note_taken_back();
                }
                self.check_result(*reply_to, result, batch, before)
            }
            Effect::Finish { .. } => self.check_finish(),
            Effect::Probe(probe) | Effect::CheckHealth(probe) => {
                self.process_of(probe.worker).map(drop)
            }
            Effect::ExplainLateCheck { worker } => self.process_of(*worker).map(drop),
            Effect::PrepareStop { worker } => self.check_prepare_stop(*worker),
            Effect::Log(note) => {
                if let WorkerEvent::Serving { worker, .. } = note {
                    // It may retire again in the same step.
                    if let Some(process) = self.processes.get_mut(worker) {
                        process.phase = ("serving", self.now);
                    }
                    self.note_drain_only();
                }
                self.check_health_log(note)?;
                self.check_log(note)
            }
            Effect::DrainBacklog { listeners, .. } => listeners
                .iter()
                .try_for_each(|id| self.check_drain_backlog(*id)),
            Effect::Refuse => self.check_refuse(),
            Effect::AdoptConnections { workers, .. } | Effect::EndConnections { workers, .. } => {
                workers.iter().try_for_each(|id| {
                    let process = self.process_of(*id)?;
                    ensure(process.is_busy.is_none(), || {
                        format!("worker {id} is adopted twice")
                    })
                })
            }
            Effect::MeasureUsage { workers } | Effect::LookAtReady { workers } => workers
                .iter()
                .try_for_each(|(id, _)| self.process_of(*id).map(drop)),
            Effect::GiveBack { .. }
            | Effect::EndCheck { .. }
            | Effect::Fence
            | Effect::KeepOut
            | Effect::ReportWait { .. }
            | Effect::ReportStop(_)
            | Effect::MeasureBacklogs { .. }
            | Effect::MeasureConnections { .. } => Ok(()),
            Effect::EndRescuers => {
                let mut alive = self.processes.values().filter(|it| it.is_alive());
                ensure(alive.next().is_none(), || {
                    "rescuers are told to end while workers are alive".to_owned()
                })
            }
        }
    }

    /// How many workers may be missing while others are replaced.
    fn most_missing(&self) -> u32 {
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
    fn may_leave(&self) -> u32 {
        match self.open_change {
            None | Some(ChangeKind::Start | ChangeKind::Scale) => 0,
            // A restart of a slot that was given up may wait for room.
            Some(ChangeKind::Restart) => self.most_missing().max(1),
            Some(ChangeKind::Reload | ChangeKind::Rollback | ChangeKind::Recycling) => {
                self.most_missing()
            }
        }
    }

    /// While workers are replaced within bounds, no more run. What only drains a backlog is not one of them.
    fn check_room(&self) -> Checked {
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
        let running = alive
            .filter(|(id, _)| !self.drain_only.contains(id))
            .count()
            + 1;
        // The number may change, too.
        let wanted = self.fleet.workers_wanted().max(self.policy().workers);
        let most = (wanted + bounds.surge(wanted)) as usize;
        ensure(!is_rolling || running <= most, || {
            format!("{running} workers run, and {most} may")
        })
    }

    /// A rescuer gets a worker ready once, and only one whose connections it has.
    fn check_prepare_stop(&self, id: WorkerId) -> Checked {
        let process = self.process_of(id)?;
        ensure(!process.is_prepared, || {
            format!("worker {id} is prepared twice")
        })?;
        ensure(process.is_busy.is_some() && !process.is_rescue_lost, || {
            format!("worker {id} is prepared, and no rescuer has its connections")
        })
    }

    /// A worker that an effect is for: it has a process, or never had one.
    fn process_of(&self, id: WorkerId) -> Result<&Process, String> {
        let process = self.processes.get(&id);
        process
            .filter(|process| process.state != State::Dead)
            .ok_or_else(|| format!("worker {id} has ended, and something is done to it"))
    }

    /// A time-out in the log has really passed.
    fn check_log(&self, event: &WorkerEvent) -> Checked {
        let policy = self.policy();
        let (worker, phase, timeout) = match event {
            WorkerEvent::SettleTimedOut { worker, .. } => {
                (worker, "settling", policy.settle_timeout)
            }
            WorkerEvent::QuietTimedOut { worker } => (worker, "quiescing", policy.quiet_timeout),
            _ => return Ok(()),
        };
        let (was, since) = self.process_of(*worker)?.phase;
        // With no time at all it is over before it was seen.
        let is_so = was == phase && self.now.since(since) >= timeout;
        ensure(is_so || timeout.is_zero(), || {
            format!("worker {worker} has been {was} since {since:?}, and {event:?}")
        })
    }

    /// A replacement adopts listeners of its own set only.
    fn check_adopted_listeners(&self, set: ListenerSetId, adopt: &[ListenerId]) -> Checked {
        for id in adopt {
            let Some(socket) = self.kernel.open.get(id) else {
                return Err(format!("{id:?} is given to a new worker, and is closed"));
            };
            ensure(socket.set == set, || {
                format!("{id:?} of {:?} is given to a worker of {set:?}", socket.set)
            })?;
        }
        Ok(())
    }

    /// A rescuer drains a backlog once, and only if no worker has time left to empty it.
    fn check_drain_backlog(&self, id: ListenerId) -> Checked {
        let Some(socket) = self.kernel.open.get(&id) else {
            return Err(format!("{id:?} is drained by a rescuer, and is closed"));
        };
        // What comes to one that serves is another matter than what it leaves.
        let is_again = socket.is_rescued && !self.is_drained_alive(id);
        ensure(!is_again, || {
            format!("{id:?} is drained by a rescuer twice")
        })?;
        let has_time = |id: &&WorkerId| {
            let process = self.processes.get(id);
            process.is_some_and(|it| {
                let will_not_accept = it.settle_timed_out || it.may_not_accept();
                it.stop_sent_at.is_none() && !will_not_accept && !it.is_killed
            })
        };
        let able = socket.listeners.iter().find(has_time);
        ensure(able.is_none(), || {
            format!("{id:?} is drained by a rescuer, and worker {able:?} serves from it")
        })?;
        ensure(self.others_are_at(id, socket), || {
            format!("{id:?} is drained by a rescuer, and nobody else is at its address")
        })
    }

    /// Whether another listener is at a socket's address, so that what waits for it can be passed on.
    fn others_are_at(&self, id: ListenerId, socket: &Socket) -> bool {
        // What was taken of one that has died is another matter than what its successor accepts.
        let has_successor = |other: &ListenerId| {
            let mut all = self.processes.values();
            all.any(|it| it.is_alive() && it.stop_sent_at.is_none() && it.given.contains(other))
        };
        let mut open = self.kernel.open.iter();
        open.any(|(other, it)| {
            let accepts = !it.is_rescued || has_successor(other);
            *other != id && it.endpoint == socket.endpoint && accepts
        })
    }

    /// Whether new connections to a socket's address have somewhere to go.
    fn others_serve_at(&self, socket: &Socket) -> bool {
        let live = self.kernel.live.iter();
        let mut live = live.filter_map(|id| self.kernel.open.get(id));
        live.any(|it| it.endpoint == socket.endpoint)
    }

    fn check_send_stop(&self, id: WorkerId, batch: &[Effect]) -> Checked {
        let process = self.process_of(id)?;
        ensure(process.stop_sent_at.is_none(), || {
            format!("{id} gets the stop signal twice")
        })?;
        // With shared sockets nothing is lost. Who never served has nothing to lose, and who is killed has no time.
        let is_killed =
            |effect: &Effect| matches!(effect, Effect::Kill { worker } if *worker == id);
        let is_excused = !process.was_live || batch.iter().any(is_killed);
        if !self.policy().steering || (self.is_stopping() && is_excused) {
            return Ok(());
        }
        let sockets = &process.listens_on;
        ensure(sockets.is_disjoint(&self.kernel.live), || {
            format!("worker {id} gets the stop signal while it gets new connections")
        })?;
        if batch.iter().any(is_failure) {
            return ensure(!process.was_live, || {
                format!("a change failed, and worker {id}, which served, gets the stop signal")
            });
        }
        ensure(sockets.is_disjoint(&self.kernel.unfenced), || {
            format!("worker {id} gets the stop signal while a connection may be on the way to it")
        })?;
        let is_settled = process.measured.0 || process.settle_timed_out;
        let will_not_accept = process.may_not_accept() && self.plan.policy.rescue;
        ensure(is_settled || will_not_accept, || {
            format!("worker {id} gets the stop signal before its backlogs were seen empty")
        })?;
        // A rescuer that dies while it prepares has seen it quiet.
        let is_rescued = !process.is_rescue_lost || process.is_prepared;
        let rescue = self.policy().rescue && is_rescued;
        ensure(!rescue || process.is_prepared, || {
            format!("worker {id} gets the stop signal before its rescuer has prepared it")
        })?;
        ensure(!rescue || process.is_busy.is_some(), || {
            format!("worker {id} gets the stop signal before its connections are adopted")
        })?;
        let is_quiet = if rescue {
            process.is_busy == Some(false)
        } else {
            process.measured.1
        };
        ensure(is_quiet || process.quiet_timed_out, || {
            format!("worker {id} gets the stop signal before it was seen quiet")
        })?;
        let mut open = sockets.iter().filter_map(|id| self.kernel.open.get(id));
        let mut open_too = open.clone();
        let is_excused = process.settle_timed_out
            || open.any(|socket| socket.is_last_resort)
            || open_too.all(|socket| socket.pending == 0 || socket.is_rescued);
        let pending: u64 = self.pending(sockets);
        ensure(is_excused || pending == 0, || {
            format!("worker {id} gets the stop signal while {pending} connections wait for it")
        })?;
        let is_excused = rescue || process.quiet_timed_out;
        ensure(is_excused || process.connections == 0, || {
            format!("worker {id} gets the stop signal while it has connections")
        })
    }

    fn pending(&self, sockets: &BTreeSet<ListenerId>) -> u64 {
        let open = sockets.iter().filter_map(|id| self.kernel.open.get(id));
        open.map(|socket| socket.pending).sum()
    }

    /// Who is refused cannot be one who has been answered already.
    fn check_refuse(&self) -> Checked {
        if !self.policy().steering {
            return Ok(());
        }
        let served = self
            .processes
            .iter()
            .filter(|(_, it)| it.is_alive() && it.was_live);
        for (id, process) in served {
            let sockets = &process.listens_on;
            let is_settled = process.measured.0 && sockets.is_disjoint(&self.kernel.unfenced);
            let will_not_accept = process.may_not_accept() && self.policy().rescue;
            let is_given_up = process.settle_timed_out || will_not_accept;
            let is_excused = is_given_up || process.stop_sent_at.is_some();
            ensure(is_settled || is_excused, || {
                format!("new connections are refused while one may be on the way to worker {id}")
            })?;
        }
        Ok(())
    }

    fn check_kill(&self, id: WorkerId) -> Checked {
        let process = self.process_of(id)?;
        let policy = self.policy();
        let has_drained = process
            .stop_sent_at
            .is_some_and(|at| self.now.since(at) >= policy.drain_timeout);
        let has_started = self.now.since(process.started) >= policy.start_timeout;
        let is_late =
            process.drain_timed_out && has_drained || process.start_timed_out && has_started;
        let is_end = self.was_told_to_stop_now;
        ensure(is_late || is_end || process.state == State::Unborn, || {
            format!("worker {id} is killed for no reason")
        })
    }

    fn check_close(&self, id: ListenerId, batch: &[Effect], before: &Before) -> Checked {
        let Some(socket) = self.kernel.open.get(&id) else {
            return Err(format!("{id:?} is closed, and is not open"));
        };
        ensure(socket.listeners.is_empty(), || {
            format!(
                "{id:?} is closed while {:?} serve from it",
                socket.listeners
            )
        })?;
        let mut alive = self.processes.iter().filter(|(_, it)| it.is_alive());
        // What is owed by nobody is closed when its time is over.
        let is_owed = |it: &Process| {
            !self.opened_late.contains(&id) && !self.may_change.contains(&it.generation)
        };
        let owner = alive.find(|(_, it)| it.given.contains(&id) && is_owed(it));
        let owner = owner.map(|(owner, _)| owner);
        ensure(owner.is_none(), || {
            format!("{id:?} is closed, and worker {owner:?} was given it")
        })?;
        let is_given_up = batch
            .iter()
            .any(|effect| matches!(effect, Effect::Log(WorkerEvent::GivenUp { .. })));
        let rescue = self.policy().rescue;
        let is_excused = self.is_stopping()
            || socket.is_rescued
            || self.opened_late.contains(&id)
            || is_given_up && !rescue
            || (socket.is_taken_back || batch.iter().any(is_taken_back)) && !rescue
            || !self.policy().steering
            || !socket.was_live
            || !self.others_serve_at(socket)
            || before
                .ended
                .is_some_and(|worker| self.is_excused(worker, socket.is_last_resort, before));
        ensure(is_excused || socket.pending == 0, || {
            format!("{id:?} is closed with {} connections", socket.pending)
        })
    }

    /// Whether what a worker leaves behind when it ends may be lost.
    fn is_excused(&self, id: WorkerId, is_last_resort: bool, before: &Before) -> bool {
        let Some(process) = self.processes.get(&id) else {
            return false;
        };
        let Some((phase, _)) = before.phases.get(&id) else {
            return false;
        };
        // The connection came to a group that no present worker serves.
        let is_last_resort_left = process.stop_sent_at.is_some() && is_last_resort;
        let has_crashed_late = matches!(*phase, "standing-by" | "settling" | "quiescing");
        let is_drain_only = self.drain_only.contains(&id);
        let is_unserved = process.settle_timed_out || has_crashed_late || is_drain_only;
        // These are what a rescuer is for.
        is_last_resort_left || is_unserved && !self.policy().rescue
    }

    fn is_served(&self, slot: Slot) -> bool {
        let view = self.fleet.view(self.now);
        let mut serving = view.iter().filter(|line| line.phase == "serving");
        serving.any(|line| line.slot == slot)
    }

    /// The workers that start in a slot which has a later worker by now, or which is not wanted any more. Such a
    /// worker only drains the backlog, and no other worker does that if it fails.
    fn note_drain_only(&mut self) {
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

    fn check_report(
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

    fn check_result(
        &mut self,
        reply_to: Option<ClientId>,
        result: &ChangeResult,
        batch: &[Effect],
        before: &Before,
    ) -> Checked {
        if let ChangeResult::Failed { kind, failure, .. } = result {
            let tried = self.on_trial.take();
            self.open_change = None;
            self.is_mixed |= *kind == ChangeKind::Rollback;
            if let Failure::NotReady { missing, .. } = failure
                && !before.serving.is_empty()
            {
                // Of who says that it is ready it is believed that it uses what it was passed.
                let is_owed =
                    |it: &&Endpoint| before.common.contains(it) || self.passed().contains(it);
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
            })?;
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
    fn check_recycling(&self, kind: ChangeKind) -> Checked {
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

    fn check_finish(&self) -> Checked {
        let mut alive = self.processes.iter().filter(|(_, it)| it.is_alive());
        let left = alive.next().map(|(id, _)| id);
        ensure(left.is_none(), || {
            format!("it finishes, and worker {left:?} is here")
        })?;
        ensure(self.kernel.open.is_empty(), || {
            format!("it finishes with open sockets: {:?}", self.kernel.open)
        })?;
        self.check_answered()
    }
}

fn is_flip(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Report(Progress {
            milestone: Milestone::Serving,
            ..
        })
    )
}

fn is_beginning(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Report(Progress {
            milestone: Milestone::Starting,
            ..
        })
    )
}

/// Whether a flip is taken back.
fn is_taken_back(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Reply {
            result: ChangeResult::Failed {
                failure: Failure::Died { .. } | Failure::Unhealthy { .. } | Failure::RolledBack,
                ..
            },
            ..
        }
    )
}

fn is_failure(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Reply {
            result: ChangeResult::Failed { .. },
            ..
        }
    )
}

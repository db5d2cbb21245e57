//! The fleet: every rule of starting, reloading, crashing, scaling and stopping.
//!
//! The contract with the runtime:
//! 1. Every wake-up calls [`Fleet::step`]; each call checks all deadlines, so a late, early or
//!    spurious wake-up is harmless.
//! 2. Effects are performed in their order. Order is policy: steer before fence, fence before
//!    look, stop signal last.
//! 3. What an effect brings about at once (a failed spawn, a fence passed, a measurement) is fed
//!    back before any other event.
//! 4. An effect for a worker that never got a process is dropped by the runtime.
//! 5. After a step [`Fleet::next_deadline`] is in the future or none: else the loop would spin.
//! 6. Ordered containers only, so one history of events gives one history of effects.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::change::{Change, Queued, Retirement};
use super::respawn::Vacancy;
use super::vocabulary::*;
use super::worker::{Listener, Phase, Worker};

/// The numbers that the rules go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Workers at the start, at least 1.
    pub workers: u32,
    /// The most workers that can be asked for.
    pub most_workers: u32,
    /// What makes a worker ready, beside listening.
    pub ready: ReadyWhen,
    /// Whether groups can be steered; else every generation gets the same sockets.
    pub steering: bool,
    /// A worker that is not ready after this has failed.
    pub start_timeout: Duration,
    /// How long a retired listener may take to become empty.
    pub settle_timeout: Duration,
    /// How long a retired worker may take to become quiet.
    pub quiet_timeout: Duration,
    /// How long a worker may take to exit.
    pub drain_timeout: Duration,
    /// How long to serve on when told to stop.
    pub pre_stop: Duration,
    /// So many crashes of a slot within `restart_window` are let pass; one more is a loop.
    pub max_restarts: u32,
    /// See `max_restarts`.
    pub restart_window: Duration,
    /// Whether a crash loop ends everything, not the slot alone.
    pub crash_loop_ends_all: bool,
}

/// What makes a worker ready, beside listening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyWhen {
    /// Nothing.
    Listening,
    /// `READY=1`.
    Notified,
    /// An answered probe.
    Probed,
}

/// All workers of one supervisor, and what is being done with them.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub(super) policy: Policy,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) vacancies: BTreeMap<Slot, Vacancy>,
    pub(super) crashes: BTreeMap<Slot, Vec<Time>>,
    pub(super) wanted: u32,
    /// The generation that serves.
    pub(super) serving: Generation,
    /// The newest generation that was begun.
    pub(super) newest: Generation,
    pub(super) change: Option<Change>,
    pub(super) retirements: Vec<Retirement>,
    pub(super) queued: Queued,
    pub(super) stopping: Option<Stopping>,
    pub(super) tally: Tally,
    pub(super) out: Vec<Effect>,
    next_worker: u64,
    live: BTreeMap<ListenerId, u32>,
    finished: bool,
}

/// The end has been asked for.
#[derive(Clone, Debug)]
pub(super) struct Stopping {
    /// Workers are told then; none if they have been.
    pub(super) tell_at: Option<Time>,
    pub(super) askers: Vec<Asker>,
    pub(super) outcome: Outcome,
}

/// What `status` counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) reloads: u64,
    pub(super) reloads_failed: u64,
}

impl Fleet {
    /// A fleet that has done nothing yet; [`Event::Opened`] starts the first generation.
    pub fn new(policy: Policy) -> Self {
        Self {
            wanted: policy.workers,
            policy,
            workers: BTreeMap::new(),
            vacancies: BTreeMap::new(),
            crashes: BTreeMap::new(),
            serving: Generation(1),
            newest: Generation(0),
            change: None,
            retirements: Vec::new(),
            queued: Queued::default(),
            stopping: None,
            tally: Tally::default(),
            out: Vec::new(),
            next_worker: 0,
            live: BTreeMap::new(),
            finished: false,
        }
    }

    /// The only way in: what happened, and when. The answer is what to do, in order.
    pub fn step(&mut self, now: Time, event: Event) -> Vec<Effect> {
        if !self.finished {
            self.handle(now, event);
            self.check_deadlines(now);
            self.report_retirements(now);
            while self.begin_queued(now) {
                // What has begun may be over, or due, at once.
                self.check_deadlines(now);
                self.report_retirements(now);
            }
            self.end_if_hopeless(now);
            self.finish_if_over();
        }
        std::mem::take(&mut self.out)
    }

    /// When [`Event::TimePassed`] is due at the latest; none while nothing is timed.
    pub fn next_deadline(&self) -> Option<Time> {
        let workers = self
            .workers
            .values()
            .filter_map(|worker| self.deadline_of(worker));
        let vacancies = self.vacancies.values().filter_map(|vacancy| vacancy.until);
        let stop = self.stopping.iter().filter_map(|stopping| stopping.tell_at);
        workers
            .chain(vacancies)
            .chain(stop)
            .min()
            .filter(|_| !self.finished)
    }

    fn handle(&mut self, now: Time, event: Event) {
        match event {
            Event::Opened => self.begin_start(now),
            Event::SpawnFailed { worker, reason } => {
                self.exited(now, worker, Exit::NotStarted(reason))
            }
            Event::Prepared {
                worker,
                listener,
                endpoint,
            } => self.prepared(worker, listener, endpoint),
            Event::Listened {
                worker,
                listener,
                endpoint,
            } => self.listened(now, worker, listener, endpoint),
            Event::Notified { worker } => {
                self.declared(now, worker, |worker| worker.notified = true)
            }
            Event::Probed { worker } => self.declared(now, worker, |worker| worker.probed = true),
            Event::Exited { worker, exit } => self.exited(now, worker, exit),
            Event::Fenced => self.fenced(now, true),
            Event::FenceRefused => self.fenced(now, false),
            Event::QueueMeasured { pending } => self.queues_measured(now, &pending),
            Event::ConnectionsMeasured { quiet } => self.connections_measured(now, &quiet),
            Event::ReloadAsked { asker } => self.reload_asked(now, asker),
            Event::ScaleAsked { asker, to } => self.scale_asked(now, asker, to),
            Event::RestartAsked { asker, worker } => self.restart_asked(now, asker, worker),
            Event::StopAsked {
                asker,
                now: at_once,
            } => self.stop_asked(now, asker, at_once),
            Event::TimePassed => {}
        }
    }

    fn check_deadlines(&mut self, now: Time) {
        self.check_starting(now);
        self.fill_vacancies(now);
        self.look_at_retired(now);
        if self
            .stopping
            .as_ref()
            .and_then(|stopping| stopping.tell_at)
            .is_some_and(|at| at <= now)
        {
            self.tell_all(now);
        }
        // Last: a drain time-out of 0 is over as soon as a worker is told.
        self.check_draining(now);
    }

    fn deadline_of(&self, worker: &Worker) -> Option<Time> {
        match worker.phase {
            Phase::Starting { .. } if worker.timed_out => None,
            Phase::Starting {
                deadline,
                next_probe,
            } => {
                let probe = self.is_probed(worker).then_some(next_probe);
                Some(probe.map_or(deadline, |probe| probe.min(deadline)))
            }
            Phase::Ready | Phase::Serving | Phase::Killed => None,
            Phase::Settling { .. } | Phase::Quiescing { .. } => worker.next_look(),
            Phase::Draining { deadline } => Some(deadline),
        }
        .filter(|time| *time != Time::NEVER)
    }

    // ---- starting a worker ------------------------------------------------------------------

    /// Starts a worker that gets `adopt` in the place of listeners of its own.
    pub(super) fn spawn(
        &mut self,
        now: Time,
        slot: Slot,
        generation: Generation,
        adopt: BTreeMap<ListenerId, Listener>,
    ) -> WorkerId {
        let id = WorkerId(self.next_worker);
        self.next_worker += 1;
        let mut worker = Worker::new(
            id,
            slot,
            generation,
            now,
            now.plus(self.policy.start_timeout),
        );
        self.out.push(Effect::Spawn {
            worker: id,
            generation,
            slot,
            workers: self.wanted,
            adopt: adopt.keys().copied().collect(),
        });
        worker.listeners = adopt;
        for listener in worker.listeners.values_mut() {
            listener.listening = false;
        }
        self.workers.insert(id, worker);
        id
    }

    fn prepared(&mut self, worker: WorkerId, listener: ListenerId, endpoint: Endpoint) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.listeners.insert(
                listener,
                Listener {
                    endpoint,
                    listening: false,
                    passed: true,
                },
            );
        }
    }

    fn listened(&mut self, now: Time, id: WorkerId, listener: ListenerId, endpoint: Endpoint) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let fresh = Listener {
            endpoint,
            listening: false,
            passed: false,
        };
        worker.listeners.entry(listener).or_insert(fresh).listening = true;
        self.readiness_changed(now, id);
    }

    /// A worker said, in one of the ways there are, that it is ready.
    fn declared(&mut self, now: Time, id: WorkerId, how: impl FnOnce(&mut Worker)) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        how(worker);
        worker.uses_passed_listeners();
        self.readiness_changed(now, id);
    }

    pub(super) fn readiness_changed(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        if worker.is_serving() {
            self.steer();
        } else if worker.is_starting() && self.is_ready(worker) {
            self.became_ready(now, id);
        }
    }

    fn became_ready(&mut self, now: Time, id: WorkerId) {
        let kind = self
            .change
            .as_ref()
            .filter(|change| change.incoming.contains(&id))
            .map(|change| change.kind);
        match kind {
            Some(ChangeKind::Start) => {
                self.serve(id);
                self.steer();
                self.flip_if_ready(now);
            }
            Some(_) => {
                self.set_phase(id, Phase::Ready);
                self.out.push(Effect::Log(Note::Ready { worker: id }));
                self.flip_if_ready(now);
            }
            None if self
                .workers
                .get(&id)
                .is_some_and(|worker| worker.superseded) =>
            {
                self.retire(now, &[id])
            }
            None => {
                self.serve(id);
                self.steer();
            }
        }
    }

    pub(super) fn serve(&mut self, id: WorkerId) {
        self.set_phase(id, Phase::Serving);
        self.out.push(Effect::Log(Note::Serving { worker: id }));
    }

    pub(super) fn set_phase(&mut self, id: WorkerId, phase: Phase) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.phase = phase;
        }
    }

    /// Whether a worker may serve.
    fn is_ready(&self, worker: &Worker) -> bool {
        let declared = match self.policy.ready {
            ReadyWhen::Listening => true,
            ReadyWhen::Notified => worker.notified,
            ReadyWhen::Probed => worker.probed,
        };
        let endpoints = worker.endpoints();
        declared
            && !worker.timed_out
            && worker.uses_all_listeners()
            && !endpoints.is_empty()
            && self.expected(worker).is_subset(&endpoints)
    }

    /// The endpoints that a worker has to listen on before it may serve: those that its slot
    /// serves now. A slot that serves none yet owes what all workers have in common; one worker
    /// alone does not tell what is common, since it may listen on ports of its own. Who is needed
    /// only for listeners that were kept owes no more than these.
    pub(super) fn expected(&self, worker: &Worker) -> BTreeSet<Endpoint> {
        let is_start = |change: &Change| change.kind == ChangeKind::Start;
        if worker.superseded || self.change.as_ref().is_some_and(is_start) {
            return BTreeSet::new();
        }
        if let Some(owed) = self.served_in_slot(worker) {
            return owed;
        }
        let served: Vec<&Worker> = self
            .workers
            .values()
            .filter(|other| other.is_serving())
            .collect();
        let mut all = served.iter().map(|other| other.endpoints());
        match (all.next(), served.len()) {
            (Some(first), 2..) => all.fold(first, |common, more| &common & &more),
            _ => BTreeSet::new(),
        }
    }

    /// What others serve in this worker's slot, or what was kept of that for who comes next; none
    /// if that is nothing.
    fn served_in_slot(&self, worker: &Worker) -> Option<BTreeSet<Endpoint>> {
        let others = self
            .workers
            .values()
            .filter(|other| other.slot == worker.slot && other.id != worker.id);
        let mut present = others.filter(|other| !self.is_incoming(other.id));
        if let Some(serving) = present.clone().find(|other| other.is_serving()) {
            return Some(serving.endpoints());
        }
        let replacement = present.find(|other| other.is_starting() && !other.superseded);
        let vacancy = self.vacancies.get(&worker.slot);
        let kept = replacement
            .map(|replacement| &replacement.listeners)
            .or(vacancy.map(|vacancy| &vacancy.kept))?;
        let endpoints = kept.values().map(|listener| listener.endpoint);
        Some(endpoints.collect()).filter(|kept: &BTreeSet<Endpoint>| !kept.is_empty())
    }

    /// Whether it belongs to the change that is under way.
    fn is_incoming(&self, id: WorkerId) -> bool {
        let change = self.change.as_ref();
        change.is_some_and(|change| change.incoming.contains(&id))
    }

    /// Whether only a probe can tell that this worker is ready.
    pub(super) fn is_probed(&self, worker: &Worker) -> bool {
        match self.policy.ready {
            ReadyWhen::Listening => worker.needs_accept_probe(),
            ReadyWhen::Notified => false,
            ReadyWhen::Probed => !worker.listeners.is_empty(),
        }
    }

    fn check_starting(&mut self, now: Time) {
        let due: Vec<WorkerId> = self
            .workers
            .values()
            .filter(|worker| worker.is_starting() && !worker.timed_out)
            .map(|worker| worker.id)
            .collect();
        for id in due {
            let Some(worker) = self.workers.get(&id) else {
                continue;
            };
            let Phase::Starting {
                deadline,
                next_probe,
            } = worker.phase
            else {
                continue;
            };
            if deadline <= now {
                self.start_timed_out(now, id);
            } else if next_probe <= now && self.is_probed(worker) {
                let next_probe = now.plus(interval(now.since(worker.started)));
                self.set_phase(
                    id,
                    Phase::Starting {
                        deadline,
                        next_probe,
                    },
                );
                self.out.push(Effect::Probe { worker: id });
            }
        }
    }

    fn start_timed_out(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        if self.is_incoming(id) {
            let failure = Failure::NotReady {
                worker: id,
                slot: worker.slot,
                missing: self
                    .expected(worker)
                    .difference(&worker.endpoints())
                    .copied()
                    .collect(),
                listening: worker.endpoints().into_iter().collect(),
                after: now.since(worker.started),
            };
            self.fail_change(now, failure);
        } else {
            self.out
                .push(Effect::Log(Note::StartTimedOut { worker: id }));
            self.out.push(Effect::Kill { worker: id });
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.timed_out = true;
            }
        }
    }

    // ---- a worker's end ----------------------------------------------------------------------

    fn exited(&mut self, now: Time, id: WorkerId, exit: Exit) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        let incoming = self.is_incoming(id);
        match worker.phase {
            Phase::Starting { .. } | Phase::Ready if incoming => {
                self.incoming_exited(now, id, exit)
            }
            Phase::Starting { .. } | Phase::Ready if worker.superseded => {
                self.gone(id, exit, false)
            }
            Phase::Starting { .. } | Phase::Ready | Phase::Serving => self.crashed(now, id, exit),
            Phase::Settling { .. } | Phase::Quiescing { .. } => self.gone(id, exit, false),
            Phase::Draining { .. } | Phase::Killed => self.gone(id, exit, true),
        }
    }

    fn incoming_exited(&mut self, now: Time, id: WorkerId, exit: Exit) {
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        let failure = Failure::Exited {
            worker: id,
            slot: worker.slot,
            exit,
        };
        // Before anything is closed: it may have been given what an empty slot keeps.
        self.fail_change(now, failure);
        self.release(worker.listeners.into_keys());
    }

    fn gone(&mut self, id: WorkerId, exit: Exit, told: bool) {
        self.out.push(Effect::Log(Note::Gone {
            worker: id,
            exit,
            told,
        }));
        self.forget(id);
    }

    /// Drops a worker that has ended, and its listeners.
    fn forget(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        self.steer();
        self.release(worker.listeners.into_keys());
    }

    /// Closes those of `listeners` that nobody has any more. With shared sockets the next
    /// generation has them.
    pub(super) fn release(&mut self, listeners: impl IntoIterator<Item = ListenerId>) {
        for listener in listeners {
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

    // ---- steering ----------------------------------------------------------------------------

    /// Gives new connections to the serving workers' listeners, if these have changed.
    pub(super) fn steer(&mut self) {
        let serving = self.workers.values().filter(|worker| worker.is_serving());
        let listeners = serving.flat_map(|worker| &worker.listeners);
        let live: BTreeMap<_, _> = listeners
            .filter(|(_, listener)| listener.listening)
            .map(|(id, _)| (*id, 1))
            .collect();
        if live != self.live {
            self.live.clone_from(&live);
            if self.policy.steering {
                self.out.push(Effect::Steer { live });
            }
        }
    }

    /// Whether new connections are steered to this listener.
    pub fn is_live(&self, listener: ListenerId) -> bool {
        self.live.contains_key(&listener)
    }

    // ---- the end -----------------------------------------------------------------------------

    fn stop_asked(&mut self, now: Time, asker: Option<Asker>, at_once: bool) {
        let is_repeated = self.stopping.is_some();
        self.begin_stopping(now, Outcome::Stopped);
        if let Some(stopping) = &mut self.stopping {
            stopping.askers.extend(asker);
        }
        if at_once {
            self.tell_all(now);
            self.kill_all();
        } else if is_repeated || self.policy.pre_stop.is_zero() {
            self.tell_all(now);
        }
    }

    /// Nothing new begins from now on.
    pub(super) fn begin_stopping(&mut self, now: Time, outcome: Outcome) {
        if self.stopping.is_some() {
            return;
        }
        let tell_at = Some(now.plus(self.policy.pre_stop));
        self.stopping = Some(Stopping {
            tell_at,
            askers: Vec::new(),
            outcome,
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

    fn kill_all(&mut self) {
        for id in self.workers.keys().copied().collect::<Vec<_>>() {
            self.kill(id);
        }
    }

    pub(super) fn tell(&mut self, now: Time, id: WorkerId) {
        self.out.push(Effect::Signal { worker: id });
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
    fn steer_unless_stopping(&mut self) {
        if self.stopping.is_none() {
            self.steer();
        }
    }

    fn kill(&mut self, id: WorkerId) {
        self.out.push(Effect::Kill { worker: id });
        self.set_phase(id, Phase::Killed);
    }

    fn check_draining(&mut self, now: Time) {
        let late = self.workers.values().filter(
            |worker| matches!(worker.phase, Phase::Draining { deadline } if deadline <= now),
        );
        for id in late.map(|worker| worker.id).collect::<Vec<_>>() {
            self.out
                .push(Effect::Log(Note::DrainTimedOut { worker: id }));
            self.kill(id);
        }
    }

    fn finish_if_over(&mut self) {
        let Some(stopping) = &self.stopping else {
            return;
        };
        if !self.workers.is_empty() || stopping.tell_at.is_some() {
            return;
        }
        let outcome = stopping.outcome.clone();
        for asker in stopping.askers.clone() {
            self.out.push(Effect::Tell {
                asker: Some(asker),
                verdict: Verdict::Stopped,
            });
        }
        self.finished = true;
        self.out.push(Effect::Finish { outcome });
    }
}

/// How long to wait before looking again at what has taken `so_far`: often at first, when most
/// things happen, and never so rarely that an operator would notice.
pub(super) fn interval(so_far: Duration) -> Duration {
    (so_far / 4).clamp(Duration::from_millis(1), Duration::from_millis(50))
}

//! The fleet: every rule of starting, reloading, crashing, scaling and stopping.
//!
//! The contract with the runtime:
//! 1. Every wake-up calls [`Fleet::step`]; each call checks all deadlines, so a late, early or
//!    spurious wake-up is harmless.
//! 2. Effects are performed in their order. Order is policy: steer before fence, fence before
//!    look, stop signal last.
//! 3. What an effect brings about at once (a failed spawn, a measurement) is fed
//!    back before any other event.
//! 4. An effect for a worker that never got a process is dropped by the runtime.
//! 5. After a step [`Fleet::next_deadline`] is in the future or none: else the loop would spin.
//! 6. Ordered containers only, so one history of events gives one history of effects.

use core::time::Duration;
use std::collections::BTreeMap;

use super::change::{Change, Retirement};
use super::request::Queued;
use super::respawn::Vacancy;
use super::vocabulary::*;
use super::worker::{Phase, Worker};

/// The numbers that the rules go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Workers at the start, at least 1.
    pub workers: u32,
    /// The most workers that can be asked for.
    pub most_workers: u32,
    /// How many queues the workers of a generation share; none: each worker has its own.
    pub queues: Option<u32>,
    /// What makes a worker ready, beside listening.
    pub ready: ReadyWhen,
    /// Whether groups can be steered; else every generation gets the same sockets.
    pub steering: bool,
    /// Whether connections that outlive their worker can be held; only with steering.
    pub rescue: bool,
    /// A worker that is not ready after this has failed.
    pub start_timeout: Duration,
    /// How long a retired listener may take to become empty.
    pub settle_timeout: Duration,
    /// How long a retired worker may take to become quiet.
    pub quiet_timeout: Duration,
    /// How long a rescuer may take to get a worker ready for its stop signal.
    pub prepare_timeout: Duration,
    /// How long a worker may take to exit.
    pub drain_timeout: Duration,
    /// How long rescuers may take to end when all workers are gone.
    pub rescuers_end_timeout: Duration,
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
    pub(super) next_retirement: u64,
    pub(super) next_worker: u64,
    pub(super) next_listener_set: u64,
    pub(super) live: BTreeMap<ListenerId, u32>,
    pub(super) finished: bool,
}

/// The end has been asked for.
#[derive(Clone, Debug)]
pub(super) struct Stopping {
    /// Workers are told then; none if they have been.
    pub(super) tell_at: Option<Time>,
    pub(super) clients: Vec<ClientId>,
    pub(super) exit_reason: ExitReason,
    /// When the rescuers, which were told to end, must have ended.
    pub(super) rescuers_until: Option<Time>,
}

impl Stopping {
    fn deadline(&self) -> Option<Time> {
        self.tell_at.or(self.rescuers_until)
    }
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
            next_retirement: 0,
            next_worker: 0,
            next_listener_set: 0,
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
            self.finish_if_over(now);
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
        let stop = self.stopping.iter().filter_map(Stopping::deadline);
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
            Event::Shared {
                worker,
                listener,
                endpoint,
            } => self.shared(worker, listener, endpoint),
            Event::Listened {
                worker,
                listener,
                endpoint,
            } => self.listened(now, worker, listener, endpoint),
            Event::Notified { worker } => {
                self.declared(now, worker, |worker| worker.notified = true)
            }
            Event::Probed { worker } => self.declared(now, worker, |worker| worker.probed = true),
            // It is made again when it is due.
            Event::ProbeFailed { .. } => {}
            Event::Exited { worker, exit } => self.exited(now, worker, exit),
            Event::Fenced => self.fenced(now, true),
            Event::FenceRefused => self.fenced(now, false),
            Event::BacklogsMeasured { pending } => self.queues_measured(now, &pending),
            Event::ConnectionsMeasured { quiet } => self.connections_measured(now, &quiet),
            Event::ConnectionsIdle { worker } => self.connections_idle(now, worker),
            Event::RescueLost { worker } => self.rescue_lost(now, worker),
            Event::StopPrepared { worker } => self.stop_prepared(now, worker),
            Event::RescuersEnded => self.rescuers_ended(),
            Event::ReloadAsked { reply_to } => self.reload_asked(now, reply_to),
            Event::ScaleAsked { reply_to, to } => self.scale_asked(now, reply_to, to),
            Event::RestartAsked { reply_to, worker } => self.restart_asked(now, reply_to, worker),
            Event::StopAsked {
                reply_to,
                now: at_once,
            } => self.stop_asked(now, reply_to, at_once),
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
        self.check_preparing(now);
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
            Phase::PreparingStop { deadline } | Phase::Draining { deadline } => Some(deadline),
        }
        .filter(|time| *time != Time::NEVER)
    }

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
}

/// How long to wait before looking again at what has taken `so_far`: often at first, when most
/// things happen, and never so rarely that an operator would notice.
pub(super) fn interval(so_far: Duration) -> Duration {
    (so_far / 4).clamp(Duration::from_millis(1), Duration::from_millis(50))
}

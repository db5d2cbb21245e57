//! The rules of starting, reloading, crashing, scaling and stopping.
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
//!
//! | file | what it decides |
//! | --- | --- |
//! | `requests` | what may begin, and when |
//! | `deploy` | what a reload is to start is read, and is in effect from then on; or what was before is again |
//! | `begin` | which slots get new workers, and on which listener sets |
//! | `batches` | which of them come next, where not all are replaced at once |
//! | `canary` | some of them serve first, for a share of the new connections |
//! | `start` | from a spawn to serving |
//! | `extras` | what a worker was given and does not owe |
//! | `readiness` | what makes a worker ready |
//! | `ready_look` | ready workers are looked at before they take over |
//! | `flip` | incoming workers take over, or their change fails |
//! | `soak` | they prove themselves, while those that they replaced stand by |
//! | `flip_back` | those that they replaced take over again |
//! | `verdict` | what somebody says of new workers: promote, pause, roll back |
//! | `health` | what follows from the checks of serving workers |
//! | `retire` | steer away, fence, settle |
//! | `quiesce` | connections come to an end |
//! | `backlog` | what waits in listeners that nobody will accept from |
//! | `abandon` | what becomes of a listener that its workers have let go of |
//! | `recycle` | a worker that has reached a limit is replaced |
//! | `age`, `limits` | which workers have: they have served for long enough, or use too much |
//! | `outcome` | how far outgoing workers have come, and what became of their change |
//! | `exit` | what the end of a worker means |
//! | `stop` | telling workers to stop; the end of everything |
//! | `passage` | what is due, what changes with a phase, who gets new connections |
//! | `status`, `change_status` | what outsiders may see |

mod abandon;
mod age;
mod avoided;
mod backlog;
mod batches;
mod begin;
mod bounds;
mod canary;
mod change_status;
mod deploy;
mod drain;
mod exit;
mod extras;
mod flip;
mod flip_back;
mod health;
mod limits;
mod outcome;
mod passage;
mod quiesce;
mod readiness;
mod ready_look;
mod recycle;
mod requests;
mod retire;
mod soak;
mod start;
pub(super) mod status;
mod stop;
mod verdict;

use serde::{Deserialize, Serialize};

use super::deployments::Deployments;
use super::listener_sets::ListenerSets;
use super::pending_requests::PendingRequests;
use super::policy::Policy;
use super::recyclings::Recyclings;
use super::retirements::Retirements;
use super::rollout::{Flipped, Rollout};
use super::shutdown::{Shutdown, Stage};
use super::slots::{EmptySlots, Restarts};
use super::usage::Usages;
use super::vocabulary::*;
use super::workers::Workers;
use deploy::Reading;

/// All workers of one supervisor, and what is being done with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    policy: Policy,
    workers: Workers,
    empty_slots: EmptySlots,
    restarts: Restarts,
    deployments: Deployments,
    /// The reload that waits for what it is to start.
    reading: Option<Reading>,
    sets: ListenerSets,
    /// How many workers there are to be.
    wanted: u32,
    generations: Generations,
    rollout: Option<Rollout>,
    /// The last flip, as long as it may be taken back.
    flipped: Option<Flipped>,
    retirements: Retirements,
    pending_requests: PendingRequests,
    recyclings: Recyclings,
    usages: Usages,
    shutdown: Option<Shutdown>,
    tally: Tally,
    /// What this step has decided so far; nothing between two steps.
    #[serde(skip)]
    effects: Vec<Effect>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Generations {
    /// The one that serves.
    serving: Generation,
    /// The newest that was begun.
    newest: Generation,
}

/// What `status` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    reloads: u64,
    reloads_failed: u64,
}

impl Fleet {
    /// A fleet that has done nothing yet; [`Event::Opened`] starts the first generation.
    pub fn new(policy: Policy) -> Self {
        Self {
            wanted: policy.workers,
            workers: Workers::new(),
            empty_slots: EmptySlots::default(),
            restarts: Restarts::new(policy.restart_window),
            sets: ListenerSets::new(&policy),
            deployments: Deployments::new(policy.clone()),
            reading: None,
            policy,
            generations: Generations {
                serving: Generation(1),
                newest: Generation(0),
            },
            rollout: None,
            flipped: None,
            retirements: Retirements::default(),
            pending_requests: PendingRequests::default(),
            recyclings: Recyclings::default(),
            usages: Usages::default(),
            shutdown: None,
            tally: Tally::default(),
            effects: Vec::new(),
        }
    }

    /// The only way in: what happened, and when. The answer is what to do, in order.
    pub fn step(&mut self, now: Time, event: Event) -> Vec<Effect> {
        if self.is_finished() {
            return Vec::new();
        }
        self.handle(now, event);
        self.check_deadlines(now);
        self.report_retirements(now);
        // After the reports: what waits its turn waits until the change before it is told of.
        while self.begin_pending(now) || self.begin_recycling(now) {
            // What has begun may be over, or due, at once.
            self.check_deadlines(now);
            self.report_retirements(now);
        }
        self.end_if_hopeless(now);
        self.refuse_if_settled();
        self.end_if_over(now);
        self.look_at_usage(now);
        std::mem::take(&mut self.effects)
    }

    /// When [`Event::TimePassed`] is due at the latest; none while nothing is timed.
    pub fn next_deadline(&self) -> Option<Time> {
        let all = [
            self.workers.next_deadline(),
            self.empty_slots.next_deadline(),
            self.shutdown.as_ref().and_then(Shutdown::deadline),
            self.rollout.as_ref().and_then(Rollout::deadline),
            self.soak_deadline(),
            self.reading_deadline(),
            self.recycling_deadline(),
            self.workers.next_age(),
            self.usages.next_look,
        ];
        all.into_iter()
            .flatten()
            .min()
            .filter(|_| !self.is_finished())
    }

    fn handle(&mut self, now: Time, event: Event) {
        match event {
            Event::Opened => self.begin_start(now),
            Event::SpawnFailed { worker, reason } => {
                self.exited(now, worker, Exit::NotStarted(reason));
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
            } => self.shared(now, worker, listener, endpoint),
            Event::Listened {
                worker,
                listener,
                endpoint,
            } => self.listened(now, worker, listener, endpoint),
            Event::Abandoned { listener } => self.abandoned(listener),
            Event::Notified { worker } => self.declared(now, worker, super::ReadyWhen::Notified),
            Event::Probed { worker } => self.declared(now, worker, super::ReadyWhen::Probed),
            // The probe is made again when it is due.
            Event::ProbeFailed { .. } => {}
            Event::HealthPassed { worker } => self.health_passed(now, worker),
            Event::CheckNotMade { worker } => self.check_not_made(now, worker),
            Event::HealthFailed { worker, failure } => self.health_failed(now, worker, &failure),
            Event::Exited { worker, exit } => self.exited(now, worker, exit),
            Event::Fenced => self.fenced(now, true),
            Event::FenceRefused => self.fenced(now, false),
            Event::ReadySeen { seen } => self.ready_seen(now, &seen),
            Event::BacklogsMeasured { pending } => self.backlogs_measured(now, &pending),
            Event::ConnectionsMeasured { quiet } => self.connections_measured(now, &quiet),
            Event::UsageMeasured { usage } => self.usage_measured(now, &usage),
            Event::ConnectionsIdle { worker } => self.connections_idle(now, worker),
            Event::RescueLost { worker } => self.rescue_lost(now, worker),
            Event::StopPrepared { worker } => self.stop_prepared(now, worker),
            Event::RescuersEnded => self.rescuers_ended(),
            Event::ReloadRequested {
                reply_to,
                if_busy,
                reload,
            } => self.reload_asked(now, reply_to, if_busy, reload),
            Event::DeploymentRead { deployment, policy } => {
                self.deployment_read(now, deployment, policy);
            }
            Event::ScaleRequested { reply_to, to } => self.scale_asked(now, reply_to, to),
            Event::RestartRequested { reply_to, worker } => {
                self.restart_asked(now, reply_to, worker)
            }
            Event::PromoteRequested { reply_to } => self.promote_asked(now, reply_to),
            Event::PauseRequested { reply_to } => self.pause_asked(reply_to),
            Event::RollbackRequested { reply_to } => self.rollback_asked(now, reply_to),
            Event::StopRequested { reply_to, how } => self.stop_asked(now, reply_to, how),
            Event::TimePassed => {}
        }
    }

    fn check_deadlines(&mut self, now: Time) {
        // Empty slots after starts that were too late: a worker that is killed for that leaves its slot only
        // when it has ended.
        self.check_starting(now);
        self.check_reading(now);
        self.fill_left(now);
        self.begin_next(now);
        self.check_trial(now);
        self.check_flip(now);
        self.check_soak(now);
        self.check_extras(now);
        self.check_health(now);
        self.fill_empty_slots(now);
        self.look_at_retired(now);
        if let Some(Shutdown {
            stage: Stage::Serving { until },
            ..
        }) = self.shutdown
            && until <= now
        {
            self.stop_all(now);
        }
        self.check_preparing(now);
        // Last: a drain time-out of 0 is over as soon as a worker is told.
        self.check_draining(now);
    }

    fn log(&mut self, event: WorkerEvent) {
        self.effects.push(Effect::Log(event));
    }

    fn is_finished(&self) -> bool {
        let stage = self.shutdown.as_ref().map(|shutdown| shutdown.stage);
        stage == Some(Stage::Finished)
    }

    fn is_shutting_down(&self) -> bool {
        self.shutdown.is_some()
    }
}

//! The words of the fleet: what is named, what happened, what is to be done.
//!
//! Events are in the past tense, effects in the imperative. Read this file first: it is the
//! specification of what the rules know of the world, and of all that they can do to it.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use super::change_result::{ChangeResult, Denial, Failure};
pub use super::check_failure::CheckFailure;
pub use super::name::{
    ClientId, DeploymentId, Endpoint, Generation, ListenerId, ListenerSetId, RetirementId, Slot,
    Time, WorkerId,
};
use super::policy::Policy;
pub use super::recycle_reason::RecycleReason;
pub use super::stop_order::{StopBy, StopHow};
pub use super::worker_event::{Ending, HealthNews, WorkerEvent};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The supervisor is set up: the first generation may start.
    Opened,
    /// No process could be made for a worker.
    SpawnFailed {
        /// The worker that has no process.
        worker: WorkerId,
        /// A clause: what failed and why.
        reason: String,
    },
    /// A listener was made for a worker's set, or was found in it, before the worker was started
    /// (`--listen`).
    Prepared {
        /// The worker.
        worker: WorkerId,
        /// The listener.
        listener: ListenerId,
        /// Where it listens.
        endpoint: Endpoint,
    },
    /// A worker bound a socket, and got a listener of its set in its place.
    Shared {
        /// The worker.
        worker: WorkerId,
        /// The listener.
        listener: ListenerId,
        /// Where it listens.
        endpoint: Endpoint,
    },
    /// A worker listens: on a new listener, or on one of its set.
    Listened {
        /// The worker.
        worker: WorkerId,
        /// Its listener.
        listener: ListenerId,
        /// Where it listens.
        endpoint: Endpoint,
    },
    /// No process has a listener any more, and something waits in its queue.
    Abandoned {
        /// The listener.
        listener: ListenerId,
    },
    /// How the ready workers of a change are, as asked.
    ReadySeen {
        /// What was seen of each.
        seen: Vec<(WorkerId, Seen)>,
    },
    /// A worker sent `READY=1`.
    Notified {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker answered the readiness probe well.
    Probed {
        /// The worker.
        worker: WorkerId,
    },
    /// A probe could not be made, was answered badly or by another worker, or was not answered in time.
    ProbeFailed {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker passed a health check, or said `WATCHDOG=1`.
    HealthPassed {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker failed a health check, or said `WATCHDOG=trigger`.
    HealthFailed {
        /// The worker.
        worker: WorkerId,
        /// Why.
        failure: CheckFailure,
    },
    /// A worker's health could not be checked: nothing is known.
    CheckNotMade {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker's process has ended, and so has its process group.
    Exited {
        /// The worker.
        worker: WorkerId,
        /// How it ended.
        exit: Exit,
    },
    /// Every SYN that used the steering before the fence has been handled.
    Fenced,
    /// The kernel refused the fence; time must do.
    FenceRefused,
    /// The state of retired workers' listeners, as asked.
    BacklogsMeasured {
        /// For each worker, the half-open and not yet accepted connections on all its listeners.
        pending: Vec<(WorkerId, u64)>,
    },
    /// The state of retired workers' connections, as asked.
    ConnectionsMeasured {
        /// For each worker, whether it has none left.
        quiet: Vec<(WorkerId, bool)>,
    },
    /// What workers use, as asked.
    UsageMeasured {
        /// What was seen of each.
        usage: Vec<(WorkerId, Usage)>,
    },
    /// No connection of a worker whose connections a rescuer has adopted has a request in flight.
    ConnectionsIdle {
        /// The worker.
        worker: WorkerId,
    },
    /// No rescuer can adopt the connections of a worker, or the rescuer that had them is gone.
    RescueLost {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker may be told to stop: its rescuer has its connections, and its readers stand still.
    StopPrepared {
        /// The worker.
        worker: WorkerId,
    },
    /// No rescuer is left.
    RescuersEnded,
    /// A reload was asked for.
    ReloadRequested {
        /// The client that waits; none for a signal.
        reply_to: Option<ClientId>,
        /// What is done while another change is under way.
        if_busy: IfBusy,
        /// What is to be started, and how.
        reload: Reload,
    },
    /// What a reload is to start was read, as asked.
    DeploymentRead {
        /// Which.
        deployment: DeploymentId,
        /// The numbers that the rules go by from then on; or a sentence that says what is wrong. What cannot change
        /// (`queues`, `steering`, `rescue`, `most_workers`) is as before.
        policy: Result<Box<Policy>, String>,
    },
    /// Another number of workers was asked for.
    ScaleRequested {
        /// The client that waits; none for a signal.
        reply_to: Option<ClientId>,
        /// The new number or the difference.
        to: ScaleTo,
    },
    /// The replacement of one worker was asked for.
    RestartRequested {
        /// The client that waits.
        reply_to: Option<ClientId>,
        /// Which worker.
        worker: WorkerId,
    },
    /// The end of the trial or of the soak was asked for: the new workers are good.
    PromoteRequested {
        /// The client that waits.
        reply_to: Option<ClientId>,
    },
    /// It was asked for that the trial has no end of its own.
    PauseRequested {
        /// The client that waits.
        reply_to: Option<ClientId>,
    },
    /// It was asked for that what served before serves again.
    RollbackRequested {
        /// The client that waits.
        reply_to: Option<ClientId>,
    },
    /// The end was asked for.
    StopRequested {
        /// The client that waits.
        reply_to: Option<ClientId>,
        /// Whether workers may finish what they have.
        how: StopHow,
    },
    /// A deadline may have passed.
    TimePassed,
}

/// A worker that is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spawn {
    /// The new worker's id.
    pub worker: WorkerId,
    /// Its generation.
    pub generation: Generation,
    /// What its generation is made by.
    pub deployment: DeploymentId,
    /// Its slot.
    pub slot: Slot,
    /// Its listener set: what it binds where that has a listener is replaced by that listener.
    pub set: ListenerSetId,
    /// How many workers there are to be.
    pub workers: u32,
    /// Listeners of the set that the worker has to use: its predecessor did.
    pub adopt: Vec<ListenerId>,
}

/// What was seen of a worker that had become ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is alive, and has its listeners, as far as can be seen.
    Serves,
    /// It is alive, and none of its processes has these listeners any more.
    LetGo(Vec<ListenerId>),
    /// Its process has ended: [`Event::Exited`] follows.
    Ended,
}

/// What was seen of what a worker uses; none of what cannot be seen, or is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The memory that its processes have in RAM, in bytes. What several of them share counts for each.
    pub rss: Option<u64>,
    /// The processor time that its processes have used, and those that they have waited for.
    pub cpu: Option<Duration>,
    /// How many connections its listeners have been given, ever, modulo 2^32.
    pub connections: Option<u32>,
}

/// A question to one worker, through the shared port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The worker.
    pub worker: WorkerId,
    /// Through which of its listeners.
    pub listener: ListenerId,
    /// What is to be found out.
    pub kind: ProbeKind,
    /// Whether other workers have the listener, too: any of them may accept.
    pub shared: bool,
}

/// How far a change has come, and for whom that is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The client that waits; none for a signal.
    pub reply_to: Option<ClientId>,
    /// Time since the change was asked for.
    pub after: Duration,
    /// The milestone.
    pub milestone: Milestone,
    /// What kind of change it is.
    pub kind: ChangeKind,
    /// The generation that the milestone is about.
    pub generation: Generation,
    /// How many workers it is about.
    pub workers: usize,
}

/// How far the end has come, and for whom that is of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopProgress {
    /// The clients that wait.
    pub clients: Vec<ClientId>,
    /// Time since the end was first asked for.
    pub after: Duration,
    /// What is waited for.
    pub waits_for: StopWait,
    /// How many workers are left.
    pub workers: usize,
}

/// What the end waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopWait {
    /// The time that workers serve on (`--pre-stop`): so much is left.
    PreStop(Duration),
    /// The workers, which finish what they have.
    Drain,
    /// The workers, which were killed.
    Kill,
}

/// What is done about a request that comes while another change is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfBusy {
    /// It is denied.
    Deny,
    /// It waits its turn.
    Wait,
}

/// Whether a new generation may serve other addresses than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Addresses {
    /// It must serve all of them.
    Owed,
    /// It may serve others (`--accept-changes`).
    MayChange,
}

/// What a reload is to start, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// What the new generation is made by. It is read when the reload begins.
    pub deployment: DeploymentId,
    /// Whether the new generation may serve other addresses.
    pub addresses: Addresses,
    /// Whether some workers try it first.
    pub canary: Option<Canary>,
}

/// Some workers of a new generation that serve first, beside all of those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// How many workers.
    pub workers: u32,
    /// How many of a hundred new connections they get together, 1 to 99.
    pub percent: u32,
    /// For how long; none: until it is asked for.
    pub hold: Option<Duration>,
}

/// What a probe finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Whether the worker accepts from a listener that was passed to it.
    Accept,
    /// Whether the worker answers an HTTP request well.
    Http,
}

/// How many workers there are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScaleTo {
    /// That many.
    Exactly(u32),
    /// So many more, or fewer.
    By(i64),
}

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
    /// It exited with code 0, and a process that it had put into the background still had its listener: that was killed.
    Daemonised,
    /// It never ran the command: a clause says why.
    NotStarted(String),
}

/// Something to do. Performing one decides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read what a reload is to start: [`Event::DeploymentRead`] follows, at once or later.
    ReadDeployment {
        /// Which.
        deployment: DeploymentId,
    },
    /// Go by this one from now on, in all that is not about one worker.
    Apply {
        /// Which.
        deployment: DeploymentId,
    },
    /// Start a process.
    Spawn(Spawn),
    /// Give new connections to these listeners, by weight, and to no other of their groups. A
    /// group with none of them stays as it is: a connection that waits is better than a reset.
    Steer {
        /// The live listeners.
        live: BTreeMap<ListenerId, u32>,
    },
    /// Give new connections to nobody, and let handshakes that have begun come to their end. A SYN that comes is refused,
    /// or not answered until [`Effect::Refuse`]; without steering it may be accepted still.
    KeepOut,
    /// Refuse new connections: no handshake is under way any more.
    Refuse,
    /// Wait until every SYN under way has seen the steering: [`Event::Fenced`] or
    /// [`Event::FenceRefused`] follows, once for all that asked before it.
    Fence,
    /// Look at the listeners of these workers: [`Event::BacklogsMeasured`] follows at once.
    MeasureBacklogs {
        /// The workers, and the listeners of each.
        workers: Vec<(WorkerId, Vec<ListenerId>)>,
    },
    /// Look at the connections of these workers: [`Event::ConnectionsMeasured`] follows at once.
    MeasureConnections {
        /// The workers.
        workers: Vec<WorkerId>,
    },
    /// Look at what these workers use: [`Event::UsageMeasured`] follows at once.
    MeasureUsage {
        /// The workers, and the listeners of each.
        workers: Vec<(WorkerId, Vec<ListenerId>)>,
    },
    /// Have a rescuer adopt the connections of these workers, so that what arrives on them is answered whatever
    /// the workers do: [`Event::ConnectionsIdle`] or [`Event::RescueLost`] follows for each, at once or later.
    AdoptConnections {
        /// Workers that retire together have one rescuer.
        retirement: RetirementId,
        /// The workers.
        workers: Vec<WorkerId>,
    },
    /// Have a rescuer see to it that nothing new begins on the connections of these workers, whom nobody follows: the
    /// same events follow.
    EndConnections {
        /// Workers that stop together have one rescuer.
        retirement: RetirementId,
        /// The workers.
        workers: Vec<WorkerId>,
    },
    /// Have a rescuer accept what waits in these listeners: their workers will not.
    DrainBacklog {
        /// The worker's retirement; one of its own where it does not retire but was given up.
        retirement: RetirementId,
        /// The last worker that had them.
        worker: WorkerId,
        /// The listeners.
        listeners: Vec<ListenerId>,
    },
    /// Try whether a worker is ready, or see how the attempt that is under way is doing:
    /// [`Event::Listened`], [`Event::Probed`] or [`Event::ProbeFailed`] follows, at once or later.
    Probe(Probe),
    /// Check a worker's health, or see how the check that is under way is doing: [`Event::HealthPassed`] or
    /// [`Event::HealthFailed`] follows, at once or later, or [`Event::CheckNotMade`] at once; or none of them, where nobody
    /// accepts the connection. It is held then,
    /// and the next check goes on with it, so that no more than one waits in a queue.
    CheckHealth(Probe),
    /// A worker has not passed its check in time: say what can be seen of that. One of the same events follows at
    /// once.
    ExplainLateCheck {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker is not checked any more: give up what is left of a check. Nothing follows.
    EndCheck {
        /// The worker.
        worker: WorkerId,
    },
    /// Look whether these workers, which have become ready, still are: [`Event::ReadySeen`] follows at once.
    LookAtReady {
        /// The workers, and the listeners of each.
        workers: Vec<(WorkerId, Vec<ListenerId>)>,
    },
    /// Let the workers of a retirement have their connections back from its rescuer: they go on serving.
    GiveBack {
        /// The retirement.
        retirement: RetirementId,
    },
    /// Get a worker whose connections a rescuer has adopted ready for its stop signal:
    /// [`Event::StopPrepared`] follows, at once or later.
    PrepareStop {
        /// The worker.
        worker: WorkerId,
    },
    /// Tell a worker to stop. From then on it may take its listeners out of their groups (shutdown(2)).
    SendStop {
        /// The worker.
        worker: WorkerId,
        /// Its listeners.
        listeners: Vec<ListenerId>,
        /// How it is told.
        by: StopBy,
    },
    /// Send the stop signal to a worker that was told by a message, and has not ended since.
    SendSignal {
        /// The worker.
        worker: WorkerId,
    },
    /// Kill a worker's whole process group.
    Kill {
        /// The worker.
        worker: WorkerId,
    },
    /// Take a listener out of its group and close it.
    Close {
        /// The listener.
        listener: ListenerId,
    },
    /// Write in the log what happened to a worker.
    Log(WorkerEvent),
    /// Say that a change has come to a new milestone, in the log and to the client that waits for it.
    Report(Progress),
    /// Say that a request waits its turn, in the log and to the client that asked for it.
    ReportWait {
        /// The client that waits; none for a signal.
        reply_to: Option<ClientId>,
        /// What it has asked for.
        asked: ChangeKind,
        /// The change that is under way.
        kind: ChangeKind,
        /// How far it has come.
        milestone: Milestone,
    },
    /// Say what the end waits for, in the log, to the clients and to the service manager.
    ReportStop(StopProgress),
    /// Say how a request ended, in the log and to the client that waits for it.
    Reply {
        /// The client that waits.
        reply_to: Option<ClientId>,
        /// What became of it.
        result: ChangeResult,
    },
    /// Tell the rescuers to end: nobody is left to pass a request on to. [`Event::RescuersEnded`] follows, at
    /// once or later.
    EndRescuers,
    /// Everything is over. Rescuers that are still there are killed.
    Finish {
        /// How.
        exit_reason: ExitReason,
    },
}

/// The kinds of change; one is under way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// The first generation starts.
    Start,
    /// A new generation replaces all workers.
    Reload,
    /// One worker is replaced.
    Restart,
    /// The number of workers changes.
    Scale,
    /// What served before serves again.
    Rollback,
    /// A worker that has reached a limit is replaced.
    Recycling,
}

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Milestone {
    /// New workers are being started.
    Starting,
    /// Some new workers get some of the new connections.
    Canary,
    /// New workers get the new connections.
    Serving,
    /// The old workers stand by, while the new ones prove themselves.
    Soaking,
    /// The old listeners finish the handshakes that they have.
    Settling,
    /// The old workers finish the connections that they have.
    Quiescing,
    /// The old workers were told to stop.
    Draining,
    /// The old workers have ended.
    Gone,
}

/// How everything ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// As asked.
    Stopped,
    /// The first generation could not be started.
    StartFailed,
    /// Workers crashed too often.
    CrashLoop,
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Canary => "canary",
            Self::Serving => "serving",
            Self::Soaking => "soaking",
            Self::Settling => "settling",
            Self::Quiescing => "quiescing",
            Self::Draining => "draining",
            Self::Gone => "gone",
        })
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Reload => "reload",
            Self::Restart => "restart",
            Self::Scale => "scale",
            Self::Rollback => "rollback",
            Self::Recycling => "recycling",
        })
    }
}

//! Does. One loop turns readiness into events, asks the [fleet](crate::fleet) what to do, and does
//! it. It holds no rules.
//!
//! | file | what it does |
//! | --- | --- |
//! | `event_loop` | waits, hands every event to the fleet, performs the effects |
//! | `perform` | one arm an effect |
//! | `sources` | what the loop waits for |
//! | `children` | starts launchers; which pid is which worker |
//! | `reaper` | reaps; when a worker has gone |
//! | `environment` | what a worker sees |
//! | `intercept` | answers the workers' bind and listen |
//! | `desk` | what one worker's calls have come to |
//! | `stranger` | somebody else on the port |
//! | `groups` | listeners and steering |
//! | `backend` | whether this kernel can be steered without harm |
//! | `fence` | waits until no packet is under way by a former steering |
//! | `queue` | listeners that several workers have |
//! | `departure` | how a listener leaves its group |
//! | `measure` | queues and connections of retired workers |
//! | `probe` | asks a worker whether it is ready |
//! | `rescue` | what rescuers are for in a retirement |
//! | `drain_backlog` | what waits where nobody accepts goes to a rescuer |
//! | `telling` | the last moment before the stop signal |
//! | `figures` | what became of connections, by retirement |
//! | `rescuer` | one rescuer: starting it, giving it connections |
//! | `notify` | hears workers' `READY=1`; speaks to the service manager |
//! | `control` | clients of `reuseport-ctl` |
//! | `status` | what `status` shows |
//! | `report` | what the log and the clients are told |
//! | `output` | the workers' output and our log |

mod event_loop;
pub mod listeners;
mod operators;
mod output;
mod perform;
pub mod retirement;
mod sources;
pub mod steering;
mod workers;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mio::{Interest, Poll};
use signal_hook::consts::{
    SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2,
};
use signal_hook_mio::v1_0::Signals;

use crate::config::{Config, CrashLoop, MAX_WORKERS, Readiness, Steering};
use crate::fleet::{
    ChangeResult, ClientId, Event, ExitReason, Fleet, Policy, ReadyWhen, Time, WorkerId,
};
use crate::sys::{pidfd, process, procfs, socket};
use listeners::Groups;
use operators::control::Control;
pub use output::LogQueue;
use output::Output;
use retirement::measure::Measures;
use retirement::rescuer::Rescuers;
use sources::{Source, Sources};
use steering::backend;
use steering::fence::{Fences, Ticket};
use workers::exiting::Grave;
use workers::notify::Notify;
use workers::probe::Probe;
use workers::{Children, Nursery};

/// Why there is no supervisor.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The control socket cannot be had.
    #[error(transparent)]
    Control(#[from] socket::BindError),
    /// The log file cannot be opened.
    #[error("cannot open the log file {}: {source}; give a --log-file that can be written", .path.display())]
    LogFile {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system refused something that we cannot do without.
    #[error("cannot {operation}: {source}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        source: io::Error,
    },
}

fn system(operation: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::System { operation, source }
}

/// Everything that one supervisor has.
struct Supervisor {
    config: Config,
    start: Instant,
    namespace: Option<u64>,
    poll: Poll,
    sources: Sources,
    signals: Signals,
    fleet: Fleet,
    inbox: VecDeque<Event>,
    children: Children,
    grave: Grave,
    nursery: Nursery,
    groups: Groups,
    fences: Fences,
    /// What the fleet waits for.
    settling: Option<Ticket>,
    /// What is to be told when the listeners of old workers are closed.
    deferred_replies: Vec<(Option<ClientId>, ChangeResult)>,
    measures: Measures,
    probes: BTreeMap<WorkerId, Probe>,
    rescuers: Rescuers,
    control: Control,
    notify: Notify,
    output: Output,
    exit_reason: Option<ExitReason>,
}

/// Runs the command as `config` says until it is told to stop, and says how it ended. `control` is
/// where the control socket shall be; `log` is where the log goes.
///
/// # Errors
/// See [`StartError`]; once workers run, nothing is an error any more but an event.
pub fn run(config: Config, control: &Path, log: LogQueue) -> Result<ExitReason, StartError> {
    let config = Config {
        steering: backend::chosen(config.steering),
        ..config
    };
    let mut supervisor = Supervisor::new(config, control, log)?;
    let exit_reason = supervisor.run_to_end();
    supervisor.output.finish(&mut supervisor.sources);
    exit_reason.map_err(system("wait for events"))
}

impl Supervisor {
    fn new(config: Config, control: &Path, log: LogQueue) -> Result<Self, StartError> {
        if let Some(path) = &config.log_file {
            output::redirect_to(path).map_err(|source| StartError::LogFile {
                path: path.clone(),
                source,
            })?;
        }
        let poll = Poll::new().map_err(system("make an epoll instance"))?;
        let mut sources = Sources::new(
            poll.registry()
                .try_clone()
                .map_err(system("duplicate the epoll instance"))?,
        );
        let file_limit =
            process::raise_file_limit().map_err(system("raise the limit on open files"))?;
        process::become_subreaper().map_err(system("become the reaper of orphans"))?;
        let signals = handle_signals(&mut sources).map_err(system("handle signals"))?;
        let control = Control::open(control, &mut sources)?;
        let notify = Notify::open(control.path(), &mut sources)?;
        let pid = i32::try_from(std::process::id())
            .map_err(|error| system("read the own pid")(io::Error::other(error)))?;
        Ok(Self {
            start: Instant::now(),
            namespace: procfs::network_namespace(pid).ok(),
            fleet: Fleet::new(policy(&config)),
            inbox: VecDeque::from([Event::Opened]),
            children: Children::default(),
            grave: Grave::default(),
            nursery: Nursery {
                supervisor: pid,
                file_limit,
                can_fetch: can_fetch(pid),
            },
            groups: Groups::new(config.steering == Steering::Cbpf),
            fences: handle_fences(&mut sources).map_err(system("make an event descriptor"))?,
            settling: None,
            deferred_replies: Vec::new(),
            measures: Measures::default(),
            probes: BTreeMap::new(),
            rescuers: Rescuers::default(),
            output: Output::new(log),
            exit_reason: None,
            config,
            poll,
            sources,
            signals,
            control,
            notify,
        })
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed())
    }
}

fn handle_signals(sources: &mut Sources) -> io::Result<Signals> {
    let mut signals = Signals::new([
        SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGQUIT, SIGTTIN, SIGTTOU, SIGCHLD,
    ])?;
    let token = sources.token(Source::Signals);
    sources
        .registry()
        .register(&mut signals, token, Interest::READABLE)?;
    Ok(signals)
}

fn handle_fences(sources: &mut Sources) -> io::Result<Fences> {
    let token = sources.token(Source::Fence);
    Fences::new(sources.registry(), token)
}

/// Whether the system call that fetches sockets is there at all: containers often forbid it, and
/// then they forbid it for our own process too.
fn can_fetch(own: i32) -> bool {
    pidfd::pidfd_open(own)
        .and_then(|process| pidfd::pidfd_getfd(&process, 2))
        .is_ok()
}

fn policy(config: &Config) -> Policy {
    Policy {
        workers: config.workers,
        most_workers: MAX_WORKERS,
        queues: config.queues,
        ready: match config.ready {
            Readiness::Listen => ReadyWhen::Listening,
            Readiness::Notify => ReadyWhen::Notified,
            Readiness::Http(_) => ReadyWhen::Probed,
        },
        steering: config.steering == Steering::Cbpf,
        rescue: config.rescue && config.steering == Steering::Cbpf,
        start_timeout: config.start_timeout,
        settle_timeout: config.settle_timeout,
        quiet_timeout: config.quiet_timeout,
        drain_timeout: config.drain_timeout,
        pre_stop: config.pre_stop,
        max_restarts: config.max_restarts,
        restart_window: config.restart_window,
        crash_loop_ends_all: config.crash_loop == CrashLoop::Exit,
    }
}

//! Does. One loop turns readiness into events, asks the [fleet](crate::fleet) what to do, and does
//! it. It holds no rules.
//!
//! This is the hall; the wings own their state, and their methods take what they need as arguments.
//!
//! | wing | what is in it |
//! | --- | --- |
//! | `workers` | the workers' processes: starting, reaping, notifications, probes |
//! | `listeners` | the listening sockets; intercepted calls; port conflicts |
//! | `steering` | which listeners get new connections; fences; how a listener leaves |
//! | `retirement` | looks at old workers; rescuers; the last moment before the stop signal |
//! | `output` | the workers' output and our log |
//! | `operators` | control clients, `status`, what people are told |
//! | `host` | what this host lets us do, tried before the first worker is started |
//!
//! | file | what it does |
//! | --- | --- |
//! | `event_loop` | waits, hands every event to the fleet |
//! | `ownership` | listeners that no process has any more |
//! | `policy` | what the fleet needs to know of the configuration |
//! | `perform`, `tell` | one arm an effect; what is told of what happens |
//! | `incoming` | what signals, notifications and clients bring |
//! | `left_behind` | what ended workers leave behind |
//! | `sources` | what the loop waits for |
//! | `socket_files` | makes the files of our sockets again where they are gone |
//! | `repeated` | a warning that can repeat is counted |
//! | `signals` | what signals mean |
//!
//! The arrows between the wings go one way: `host` knows `steering` and `retirement`; `operators` know all others but `host`; `retirement` knows `workers` and
//! `listeners`; `workers` know `listeners`, `steering` and `output`; `steering` knows `listeners`.

mod event_loop;
pub mod host;
mod incoming;
mod left_behind;
mod listeners;
mod operators;
mod output;
mod ownership;
mod perform;
mod policy;
mod repeated;
pub mod retirement;
mod signals;
mod socket_files;
mod sources;
pub mod steering;
mod tell;
mod workers;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use mio::{Interest, Poll, Waker};

use crate::config::Config;
use crate::fleet::{ChangeResult, ClientId, Event, ExitReason, Fleet, Time};
use crate::sys::bpf::LoadError;
use crate::sys::{process, socket};
use host::{Host, Sockets};
use listeners::Listeners;
use listeners::intercept::{Intercepts, Programs};
use operators::control::Control;
use operators::report::Reporter;
use operators::status::Inspection;
pub use output::LogQueue;
use output::Output;
use retirement::measure::Measures;
use retirement::peer_names::PeerNames;
use retirement::{Retirements, Surroundings};
use signals::Signals;
use socket_files::SocketFiles;
use sources::{Source, Sources};
use steering::Backend;
use steering::choice::{self, Choice};
use steering::fence::{Fences, Ticket};
use workers::checks::Checks;
use workers::notify::Notify;
use workers::probe::Probes;
use workers::{WorkerSpawner, Workers};

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
    /// The host lacks something that we cannot do without.
    #[error("{0}")]
    Host(String),
    /// `--steering ebpf` cannot be.
    #[error(
        "--steering ebpf: {0}; run as root, or give the supervisor CAP_BPF (AmbientCapabilities=CAP_BPF in its \
         systemd unit), or leave it to --steering auto"
    )]
    Ebpf(#[from] LoadError),
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
    poll: Poll,
    sources: Sources,
    signals: Signals,
    fleet: Fleet,
    /// What has happened and the fleet has not heard of yet.
    inbox: VecDeque<Event>,
    workers: Workers,
    probes: Probes,
    checks: Checks,
    notify: Notify,
    listeners: Listeners,
    intercepts: Intercepts,
    steering: Box<dyn Backend>,
    /// Why there is none although it was wanted.
    steering_refused: Option<String>,
    fences: Fences,
    /// The fence that the fleet waits for.
    awaited_fence: Option<Ticket>,
    measures: Measures,
    retirements: Retirements,
    output: Output,
    control: Control,
    socket_files: SocketFiles,
    /// What is to be said when the listeners of old workers are closed, and it is known what became of their connections.
    deferred_replies: Vec<(Option<ClientId>, ChangeResult)>,
    exit_reason: Option<ExitReason>,
}

/// Runs the command as `config` says until it is told to stop, and says how it ended. `control` is
/// where the control socket shall be; `log` is where the log goes.
///
/// # Errors
/// See [`StartError`]; once workers run, nothing is an error any more but an event.
pub fn run(config: Config, control: &Path, log: LogQueue) -> Result<ExitReason, StartError> {
    let host = Host::look(config.attributes.identity.as_ref());
    let sockets = match config.listen.is_empty() {
        true => Sockets::Own,
        false => Sockets::Passed,
    };
    if let Some(obstacle) = host.obstacle(sockets) {
        return Err(StartError::Host(obstacle));
    }
    let programs = Programs::wanted(config.steering);
    let Choice { steering, refused } = choice::chosen(config.steering)?;
    let config = Config { steering, ..config };
    let mut supervisor = Supervisor::new(config, control, log, &host)?;
    policy::warn_unless_steered(&supervisor.config);
    supervisor.steering_refused = refused;
    supervisor.intercepts = Intercepts::new(programs);
    let exit_reason = supervisor.run_to_end();
    supervisor.output.finish(&mut supervisor.sources);
    exit_reason.map_err(system("wait for events"))
}

impl Supervisor {
    fn new(config: Config, control: &Path, log: LogQueue, host: &Host) -> Result<Self, StartError> {
        if let Some(path) = &config.log_file {
            output::redirect_to(path).map_err(|source| StartError::LogFile {
                path: path.clone(),
                source,
            })?;
        }
        // After the log file is opened: an operator looks for it there.
        host.log(&config);
        let poll = Poll::new().map_err(system("make an epoll instance"))?;
        let mut sources = Sources::new(
            poll.registry()
                .try_clone()
                .map_err(system("duplicate the epoll instance"))?,
        );
        let file_limit =
            process::raise_file_limit().map_err(system("raise the limit on open files"))?;
        process::become_subreaper().map_err(system("become the reaper of orphans"))?;
        let signals = Signals::handle(&mut sources).map_err(system("handle signals"))?;
        let control = Control::open(control, &mut sources)?;
        let notify = Notify::open(control.path(), &mut sources, config.attributes.user())?;
        let pid = i32::try_from(std::process::id())
            .map_err(|error| system("read the own pid")(io::Error::other(error)))?;
        let socket_files = SocketFiles::new(&mut sources, [control.path(), notify.path()]);
        let listeners =
            listeners(&mut sources).map_err(system("wait for what comes to listeners"))?;
        let threads = sources.token(Source::Threads);
        let waker = Waker::new(sources.registry(), threads);
        let waker = Arc::new(waker.map_err(system("make an event descriptor"))?);
        Ok(Self {
            start: Instant::now(),
            fleet: Fleet::new(policy::of(&config)),
            inbox: VecDeque::from([Event::Opened]),
            workers: Workers::new(WorkerSpawner {
                supervisor: pid,
                file_limit,
                can_fetch: host.can_fetch(),
            }),
            probes: Probes::default(),
            checks: Checks::default(),
            notify,
            listeners,
            intercepts: Intercepts::default(),
            steering: steering::backend(config.steering),
            steering_refused: None,
            awaited_fence: None,
            measures: Measures::default(),
            retirements: Retirements::new(&waker, PeerNames::for_config(&config)),
            fences: Fences::new(waker),
            output: Output::new(log),
            control,
            socket_files,
            deferred_replies: Vec::new(),
            exit_reason: None,
            config,
            poll,
            sources,
            signals,
        })
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed())
    }

    fn with_retirements(&mut self) -> (&mut Retirements, Surroundings<'_>) {
        let around = Surroundings {
            config: &self.config,
            sources: &mut self.sources,
            workers: &self.workers,
            listeners: &mut self.listeners,
        };
        (&mut self.retirements, around)
    }

    fn reporter(&self) -> Reporter<'_> {
        Reporter {
            config: &self.config,
            workers: &self.workers,
            probes: &self.probes,
            listeners: &self.listeners,
            output: &self.output,
            steering_refused: self.steering_refused.as_deref(),
        }
    }

    fn inspection(&self) -> Inspection<'_> {
        Inspection {
            config: &self.config,
            uptime: self.start.elapsed(),
            fleet: &self.fleet,
            workers: &self.workers,
            checks: &self.checks,
            listeners: &self.listeners,
            steering: &*self.steering,
            steering_refused: self.steering_refused.as_deref(),
            rescues: self.retirements.statuses(),
        }
    }
}

/// No listener yet; the loop hears of what comes to those that will be there.
fn listeners(sources: &mut Sources) -> io::Result<Listeners> {
    let listeners = Listeners::new()?;
    sources.add(&listeners.queues(), Source::Queues, Interest::READABLE)?;
    Ok(listeners)
}

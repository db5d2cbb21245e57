//! Does. One loop turns readiness into events, asks the [fleet](crate::fleet) what to do, and does
//! it. It holds no rules.
//!
//! This is the hall; the wings own their state, and their methods take what they need as arguments.
//!
//! | wing | what is in it |
//! | --- | --- |
//! | `deployments` | what generations are made by: configurations as they were read |
//! | `channels` | what workers say, and what is said to them |
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
//! | `cluster` | what the primary of Node's cluster would do |
//! | `event_loop` | waits, hands every event to the fleet |
//! | `ownership` | listeners that no process has any more |
//! | `policy` | what the fleet needs to know of the configuration |
//! | `perform`, `tell` | one arm an effect; what is told of what happens |
//! | `questions` | what one worker is asked |
//! | `incoming` | what signals, notifications and clients bring |
//! | `left_behind` | what ended workers leave behind |
//! | `sources` | what the loop waits for |
//! | `socket_files` | makes the files of our sockets again where they are gone |
//! | `repeated` | a warning that can repeat is counted |
//! | `signals` | what signals mean |
//! | `start_error` | why there is no supervisor |
//!
//! The arrows between the wings go one way: `host` knows `steering` and `retirement`; `operators` know all others but `host`; `retirement` knows `workers` and
//! `listeners`; `workers` know `listeners`, `steering` and `output`; `steering` knows `listeners`.

mod channels;
mod cluster;
mod deployments;
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
mod questions;
mod repeated;
pub mod retirement;
mod signals;
mod socket_files;
mod sources;
mod start_error;
pub mod steering;
mod tell;
mod workers;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use mio::{Interest, Poll, Waker};

use crate::config::{Config, Readable, Steering};
use crate::fleet::{ChangeResult, ClientId, Event, ExitReason, Fleet, Time};
use crate::sys::process;
use channels::Channels;
use deployments::Deployments;
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
pub use start_error::StartError;
use start_error::system;
use steering::Backend;
use steering::choice::{self, Choice};
use steering::fence::{Fences, Ticket};
use workers::checks::Checks;
use workers::notify::Notify;
use workers::probe::Probes;
use workers::{WorkerSpawner, Workers};

/// Everything that one supervisor has.
struct Supervisor {
    /// The one that is in effect.
    config: Arc<Config>,
    deployments: Deployments,
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
    channels: Channels,
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

/// Runs the command as `configuration` says until it is told to stop, and says how it ended. `control` is
/// where the control socket shall be; `log` is where the log goes.
///
/// # Errors
/// See [`StartError`]; once workers run, nothing is an error any more but an event.
pub fn run(
    configuration: Readable,
    control: &Path,
    log: LogQueue,
) -> Result<ExitReason, StartError> {
    let config = &configuration.config;
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
    policy::counted(&config.limits, steering)?;
    let mut supervisor = Supervisor::new(configuration, steering, control, log, &host)?;
    policy::warn_unless_steered(&supervisor.config);
    supervisor.steering_refused = refused;
    supervisor.intercepts = Intercepts::new(programs);
    let exit_reason = supervisor.run_to_end();
    supervisor.output.finish(&mut supervisor.sources);
    exit_reason.map_err(system("wait for events"))
}

impl Supervisor {
    fn new(
        Readable { config, read }: Readable,
        steering: Steering,
        control: &Path,
        log: LogQueue,
        host: &Host,
    ) -> Result<Self, StartError> {
        let given = config.steering;
        let config = Arc::new(Config { steering, ..config });
        open_log(&config, host)?;
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
        let socket_files = SocketFiles::new(&mut sources, [control.path(), notify.path()]);
        let listeners =
            listeners(&mut sources).map_err(system("wait for what comes to listeners"))?;
        let waker = waker(&mut sources).map_err(system("make an event descriptor"))?;
        let current = Arc::clone(&config);
        Ok(Self {
            deployments: Deployments::new(current, given, read, Arc::clone(&waker)),
            start: Instant::now(),
            fleet: Fleet::new(policy::of(&config)),
            inbox: VecDeque::from([Event::Opened]),
            workers: Workers::new(WorkerSpawner {
                supervisor: nix::unistd::getpid().as_raw(),
                file_limit,
                can_fetch: host.can_fetch(),
            }),
            probes: Probes::default(),
            checks: Checks::default(),
            channels: Channels::default(),
            notify,
            listeners,
            intercepts: Intercepts::default(),
            steering: steering::backend(config.steering, policy::counting(&config.limits)),
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

/// Opens the log file, and says there what this host lacks: an operator looks for it there.
fn open_log(config: &Config, host: &Host) -> Result<(), StartError> {
    if let Some(path) = &config.log_file {
        output::redirect_to(path).map_err(|source| StartError::LogFile {
            path: path.clone(),
            source,
        })?;
    }
    host.log(config);
    Ok(())
}

/// What wakes the loop when a thread of ours has done its work.
fn waker(sources: &mut Sources) -> io::Result<Arc<Waker>> {
    let threads = sources.token(Source::Threads);
    Ok(Arc::new(Waker::new(sources.registry(), threads)?))
}

/// No listener yet; the loop hears of what comes to those that will be there.
fn listeners(sources: &mut Sources) -> io::Result<Listeners> {
    let listeners = Listeners::new()?;
    sources.add(&listeners.queues(), Source::Queues, Interest::READABLE)?;
    Ok(listeners)
}

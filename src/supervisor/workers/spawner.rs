//! Starting a worker: its streams, its environment, and the launcher that becomes it.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use log::debug;
use mio::{Interest, Token};

use super::environment::WorkerEnv;
use crate::config::{CheckedBy, Config, Readiness, Release};
use crate::fleet::{Endpoint, Generation, Slot, WorkerId};
use crate::launcher::{self, Intercept, LaunchSpec};
use crate::supervisor::output::{Output, Stream, pipe};
use crate::supervisor::sources::{Source, Sources};
use crate::sys::{channel, descriptor, process};

/// What is the same for all workers.
#[derive(Debug)]
pub(crate) struct WorkerSpawner {
    pub(crate) supervisor: i32,
    /// The soft limit on open files that we were given.
    pub(crate) file_limit: u64,
    /// Whether sockets of other processes can be fetched; else `IPV6_V6ONLY` must be trapped.
    pub(crate) can_fetch: bool,
}

/// A worker that is to be started.
#[derive(Debug)]
pub(crate) struct SpawnSpec<'a> {
    pub(crate) worker: WorkerId,
    pub(crate) slot: Slot,
    pub(crate) generation: Generation,
    pub(crate) workers: u32,
    /// Listeners that are passed as descriptors.
    pub(crate) passed: Vec<(Endpoint, i32)>,
    /// Where `READY=1` may be sent.
    pub(crate) notify: &'a Path,
    /// The worker's end of its channel, if it has one.
    pub(crate) channel: Option<BorrowedFd<'a>>,
}

impl WorkerSpawner {
    /// Starts a worker's launcher: its pid, and the channel to it.
    pub(super) fn start(
        &self,
        config: &Config,
        sources: &mut Sources,
        output: &mut Output,
        spec: &SpawnSpec<'_>,
    ) -> io::Result<(i32, (UnixStream, Token))> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut passed: Vec<i32> = spec.passed.iter().map(|(_, number)| *number).collect();
        passed.extend(spec.channel.map(|end| end.as_raw_fd()));
        if !passed.is_empty() {
            channel::send(&ours.as_raw_fd(), &[0], &passed)?;
        }
        let errors = open(output, sources, spec, Stream::Errors, config)?;
        let written = if config.log_prefix || config.log_file.is_some() {
            Some(open(output, sources, spec, Stream::Output, config)?)
        } else {
            None
        };
        let endpoints: Vec<Endpoint> = spec.passed.iter().map(|(endpoint, _)| *endpoint).collect();
        let env = spec.env(&endpoints, config);
        let pid = process::spawn(process::Spawn {
            name: launcher::NAME,
            arguments: self.arguments(config, spec, &env),
            environment: env.environment(std::env::vars_os()),
            input: theirs.into(),
            output: written,
            errors: Some(errors),
        })?;
        let token = sources.add(&ours, Source::Launcher(spec.worker), Interest::READABLE)?;
        Ok((pid, (ours, token)))
    }

    fn arguments(
        &self,
        config: &Config,
        spec: &SpawnSpec<'_>,
        env: &WorkerEnv<'_>,
    ) -> Vec<OsString> {
        let v6_only = !self.can_fetch;
        let intercept = if config.listen.is_empty() {
            Intercept::Needed { v6_only }
        } else {
            Intercept::Wanted { v6_only }
        };
        let launch = LaunchSpec {
            supervisor: self.supervisor,
            stop_signal: config.stop_signal,
            slot: spec.slot.0,
            file_limit: self.file_limit,
            attributes: config.attributes.clone(),
            must_notify: config.ready == Readiness::Notify || watchdog(config).is_some(),
            listeners: spec.passed.len(),
            has_channel: spec.channel.is_some(),
            intercept,
        };
        // It is made of numbers and names, which JSON never refuses.
        let mut arguments = vec![serde_json::to_string(&launch).unwrap_or_default().into()];
        let Release { directory, program } = config.release.clone();
        arguments.extend([directory, program].map(|path| path.unwrap_or_default().into()));
        arguments.extend(env.arguments(&config.command));
        arguments
    }
}

impl SpawnSpec<'_> {
    fn env<'a>(&'a self, passed: &'a [Endpoint], config: &'a Config) -> WorkerEnv<'a> {
        WorkerEnv {
            slot: self.slot,
            generation: self.generation,
            workers: self.workers,
            passed,
            notify: self.notify,
            channel: config.channel,
            worker: self.worker,
            given: &config.environment,
            watchdog: watchdog(config),
            login: config.attributes.login.as_ref(),
            is_another_user: config.attributes.identity.is_some(),
        }
    }
}

/// How long a worker may be silent; none: it need not say that it is well.
fn watchdog(config: &Config) -> Option<Duration> {
    let health = config.health.as_ref();
    let health = health.filter(|health| health.by == CheckedBy::Notify)?;
    Some(health.interval.saturating_add(health.timeout))
}

/// A worker's end of a stream that we read.
fn open(
    output: &mut Output,
    sources: &mut Sources,
    spec: &SpawnSpec<'_>,
    stream: Stream,
    config: &Config,
) -> io::Result<OwnedFd> {
    let (ours, theirs) = pipe()?;
    // Who has a pipe may write to it, but only its owner may open it again, as /dev/stderr.
    if let Some(user) = &config.attributes.identity
        && let Err(error) = descriptor::give_to(&theirs, user.user)
    {
        let user = &user.name;
        debug!("user {user} cannot open /dev/stderr: its pipe stays ours: {error}");
    }
    let prefix = config
        .log_prefix
        .then(|| format!("[{}.{}] ", spec.generation, spec.slot).into_bytes());
    output.add(sources, ours, spec.worker, stream, prefix)?;
    Ok(theirs)
}

//! The command line of `reuseport-run`.

use std::ffi::{OsStr, OsString};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::attributes::attributes;
use super::channel;
use super::context::Context;
use super::duration::{duration, positive};
use super::environment::environment as variables;
use super::exit::Exit;
use super::generate::{Artefact, generate};
use super::health::health;
use super::option_table::OPTIONS;
use super::options::command;
use super::sections::SECTIONS;
use super::settings::{Given, Layer, Settings};
use super::{contradictions, file, recycling, runtime_dir, value};
use crate::config::{Config, MAX_WORKERS, Release};
use crate::fleet::{Bounds, Endpoint, Strategy};
use crate::supervisor::host::{Host, Sockets};

/// Where a variable of the environment is looked up: `std::env::var_os`, or a test's own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What was asked for. `arguments` begin with the program's name.
///
/// Command line before environment (`REUSEPORT_*`) before file (`--config`) before default.
///
/// # Errors
/// An [`Exit`] with code 0 for `--help`, `--version` and `--generate`; with code 0 or 1 for `--probe`; with code 2
/// and a sentence that names the option, its value and what is allowed, for all that makes no sense.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment<'_>,
) -> Result<Config, Exit> {
    parse_with(arguments, environment, &Context::default())
}

/// Likewise, with what comes from elsewhere.
pub(super) fn parse_with(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment<'_>,
    context: &Context,
) -> Result<Config, Exit> {
    let matches = command().try_get_matches_from(arguments)?;
    if let Some(what) = matches.get_one::<Artefact>("generate") {
        return Err(generate(*what, command(), SECTIONS));
    }
    if matches.get_flag("probe") {
        return Err(probe(&Host::look(None)));
    }
    let typed = from_command_line(&matches);
    let from_environment = from_environment(environment);
    let from_file = config_file(&matches, environment)
        .map(|path| file::read(&path))
        .transpose()?;
    let layers = vec![
        context.strongest(),
        typed,
        from_environment,
        from_file.unwrap_or_default(),
        context.weakest(),
        defaults(),
    ];
    config(&Settings(layers), environment, context)
}

/// What was found; a failure if only servers that take sockets can be run, or none.
fn probe(host: &Host) -> Exit {
    match host.obstacle(Sockets::Own) {
        None => Exit::answer(host.to_string()),
        Some(obstacle) => Exit::failed(format!("{obstacle}\n{host}")),
    }
}

fn from_command_line(matches: &ArgMatches) -> Layer {
    let names = OPTIONS.iter().map(|opt| opt.name).chain(["command"]);
    let typed = names.filter(|name| is_typed(matches, name));
    typed
        .map(|name| {
            (
                name,
                raw(matches, name)
                    .map(|text| typed_as(name, text))
                    .collect(),
            )
        })
        .collect()
}

fn is_typed(matches: &ArgMatches, name: &str) -> bool {
    matches.value_source(name) == Some(ValueSource::CommandLine)
}

fn raw<'a>(matches: &'a ArgMatches, name: &str) -> impl Iterator<Item = &'a OsStr> {
    matches.get_raw(name).into_iter().flatten()
}

fn typed_as(name: &str, text: &OsStr) -> Given {
    Given::new(text, format!("--{name} {}", text.display()))
}

fn from_environment(environment: Environment<'_>) -> Layer {
    let mut layer = Layer::new();
    for opt in OPTIONS {
        let variable = variable(opt.name);
        let Some(text) = environment(&variable).filter(|text| !text.is_empty()) else {
            continue;
        };
        let given = |text: &OsStr| Given::new(text, format!("{variable}={}", text.display()));
        let texts = match text.to_str() {
            Some(text) if opt.repeats => text.split(',').map(|part| given(part.as_ref())).collect(),
            _ => vec![given(&text)],
        };
        layer.insert(opt.name, texts);
    }
    layer
}

/// `REUSEPORT_DRAIN_TIMEOUT` of `drain-timeout`.
fn variable(name: &str) -> String {
    format!("REUSEPORT_{}", name.to_uppercase().replace('-', "_"))
}

fn config_file(matches: &ArgMatches, environment: Environment<'_>) -> Option<PathBuf> {
    let typed = raw(matches, "config").next().map(OsStr::to_owned);
    let path = typed.or_else(|| environment(&variable("config")).filter(|path| !path.is_empty()));
    path.map(PathBuf::from)
}

fn defaults() -> Layer {
    let with_default = OPTIONS
        .iter()
        .filter_map(|opt| Some((opt.name, opt.default?)));
    let given = |(name, text): (&'static str, &str)| (name, vec![typed_as(name, text.as_ref())]);
    with_default.map(given).collect()
}

fn config(
    settings: &Settings,
    environment: Environment<'_>,
    context: &Context,
) -> Result<Config, Exit> {
    let command = words_of_command(settings)?;
    let chdir = settings.path("chdir")?;
    let program = command.first().map_or(OsStr::new(""), OsString::as_os_str);
    let release = Release::look(program, chdir.as_deref(), context.started_in.as_deref());
    let listen = distinct(settings.all("listen", value::listen)?)?;
    let config = Config {
        workers: settings
            .one("workers", value::workers)?
            .unwrap_or_else(available_cpus),
        queues: settings.one("queues", value::queues)?,
        attributes: attributes(settings, &context.accounts, listen.len())?,
        listen,
        name: settings
            .one("name", value::name)?
            .map_or_else(|| name_of(&command), Ok)?,
        command,
        control: settings.path("control")?,
        channel: settings.need("channel", channel::kind)?,
        ready: settings.need("ready", value::readiness)?,
        ready_host: settings.one("ready-host", value::host)?,
        health: health(settings)?,
        steering: settings.need("steering", value::steering)?,
        start_timeout: settings.need("start-timeout", positive)?,
        min_uptime: settings.need("min-uptime", duration)?,
        strategy: strategy(settings)?,
        soak: settings.need("soak", duration)?,
        soak_restarts: settings.need("soak-restarts", value::restarts)?,
        limits: recycling::limits(settings)?,
        settle_timeout: settings.need("settle-timeout", duration)?,
        quiet_timeout: settings.need("quiet-timeout", duration)?,
        rescue: !settings.need("no-rescue", value::switch)?,
        rescue_timeout: settings.need("rescue-timeout", duration)?,
        rescue_max: settings.need("rescue-max", value::connections)?,
        rescue_forwarded: settings.need("rescue-forwarded", value::forwarding)?,
        rescue_clients: settings.need("rescue-clients", value::rescue_clients)?,
        protocol: settings.need("protocol", value::protocol)?,
        drain_timeout: settings.need("drain-timeout", duration)?,
        stop_message: settings.one("stop-message", channel::message)?,
        stop_message_timeout: settings.need("stop-message-timeout", duration)?,
        kill_mode: settings.need("kill-mode", value::kill_mode)?,
        pre_stop: settings.need("pre-stop", duration)?,
        stop_signal: settings.need("stop-signal", value::stop_signal)?,
        max_restarts: settings.need("max-restarts", value::restarts)?,
        restart_window: settings.need("restart-window", positive)?,
        crash_loop: settings.need("crash-loop", value::crash_loop)?,
        log_prefix: settings.need("log-prefix", value::switch)?,
        log_file: settings.path("log-file")?,
        release,
        chdir,
        environment: variables(settings, &context.overrides)?,
    };
    contradictions::check(&config)?;
    check_control(&config, environment)?;
    Ok(config)
}

fn words_of_command(settings: &Settings) -> Result<Vec<OsString>, Exit> {
    let words = settings.words("command")?;
    match words.first() {
        None => Err(Exit::usage(
            "COMMAND is missing: give the server to run, such as reuseport-run -n 4 ./server",
        )),
        Some(word) if word.is_empty() => Err(Exit::usage("COMMAND is empty: give a program")),
        Some(_) => Ok(words),
    }
}

/// CPUs that this process may use (`sched_getaffinity`, cgroup quota).
fn available_cpus() -> u32 {
    let cpus = thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cpus).unwrap_or(MAX_WORKERS).min(MAX_WORKERS)
}

fn distinct(endpoints: Vec<Endpoint>) -> Result<Vec<Endpoint>, Exit> {
    let repeated = endpoints
        .iter()
        .enumerate()
        .find(|(i, this)| endpoints[..*i].contains(this));
    match repeated {
        Some((_, twice)) => Err(Exit::usage(format!("--listen {twice}: it is given twice"))),
        None => Ok(endpoints),
    }
}

fn name_of(command: &[OsString]) -> Result<String, Exit> {
    let program = command
        .first()
        .map(Path::new)
        .and_then(Path::file_name)
        .unwrap_or_default();
    program
        .to_str()
        .and_then(|text| value::name(text).ok())
        .ok_or_else(|| {
            let program = program.display();
            Exit::usage(format!(
                "the command's file name '{program}' cannot be a name: give --name"
            ))
        })
}

fn strategy(settings: &Settings) -> Result<Strategy, Exit> {
    let bounds = Bounds {
        surge: settings.need("max-surge", value::share)?,
        unavailable: settings.need("max-unavailable", value::share)?,
    };
    let is_rolling = settings.need("strategy", value::is_rolling)?;
    Ok(match is_rolling {
        true => Strategy::Rolling(bounds),
        false => Strategy::AllAtOnce,
    })
}

/// A path that the kernel will not take must be found out here, before any worker runs.
fn check_control(config: &Config, environment: Environment<'_>) -> Result<(), Exit> {
    let path = runtime_dir::control_path_in(config, &runtime_dir::own_directory(environment));
    runtime_dir::fits(&path).map_err(|reason| match &config.control {
        Some(path) => Exit::usage(format!("--control {}: {reason}", path.display())),
        None => Exit::usage(format!(
            "the control socket's default path {}: {reason}, or give --control",
            path.display()
        )),
    })
}

#[cfg(test)]
mod tests;

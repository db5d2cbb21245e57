//! Runs n copies of any server on one port and replaces them without losing a connection.

use std::env;
use std::io::Write;
use std::process::ExitCode;

use reuseport_run::cli::{Exit, again, runtime_dir};
use reuseport_run::config::Readable;
use reuseport_run::fleet::ExitReason;
use reuseport_run::supervisor::{self, LogQueue, host};
use reuseport_run::{launcher, rescue};

fn main() -> ExitCode {
    match env::args_os().next() {
        Some(name) if name == launcher::NAME => return ExitCode::from(launcher::run()),
        Some(name) if name == rescue::NAME => return ExitCode::from(rescue::run()),
        Some(name) if name == host::SAMPLE_NAME => return ExitCode::from(host::run_sample()),
        _ => {}
    }
    match again::read(env::args_os().collect()) {
        Ok(configuration) => supervise(configuration),
        Err(exit) => exit.report("reuseport-run"),
    }
}

fn supervise(configuration: Readable) -> ExitCode {
    let config = &configuration.config;
    let log = LogQueue::default();
    start_log(log.clone());
    let control = runtime_dir::control_path(config);
    if config.control.is_none()
        && let Some(directory) = control.parent()
        && let Err(sentence) = runtime_dir::make_directory(directory, config.directory_mode())
    {
        return Exit::absent(sentence).report("reuseport-run");
    }
    match supervisor::run(configuration, &control, log) {
        Ok(exit_reason) => ExitCode::from(code(&exit_reason)),
        Err(error) => Exit::absent(error.to_string()).report("reuseport-run"),
    }
}

/// One line an event, on standard error. The time is left out where the reader adds its own.
fn start_log(queue: LogQueue) {
    let wants_time = env::var_os("JOURNAL_STREAM").is_none();
    let settings = env_logger::Env::new().filter_or("REUSEPORT_LOG", "info");
    env_logger::Builder::from_env(settings)
        .target(env_logger::Target::Pipe(Box::new(queue)))
        .format(move |line, record| {
            let time = if wants_time {
                format!("{} ", line.timestamp_millis())
            } else {
                String::new()
            };
            writeln!(line, "{time}{:5} {}", record.level(), record.args())
        })
        .init();
}

/// The exit code for how it ended.
fn code(exit_reason: &ExitReason) -> u8 {
    match exit_reason {
        ExitReason::Stopped => 0,
        ExitReason::StartFailed => 3,
        ExitReason::CrashLoop => 4,
    }
}

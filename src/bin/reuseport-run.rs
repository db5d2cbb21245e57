//! Runs n copies of any server on one port and replaces them without losing a connection.

use std::env;
use std::process::ExitCode;

use reuseport_run::cli::{Exit, run};
use reuseport_run::config::Config;

fn main() -> ExitCode {
    match run::parse(env::args_os(), &|name| env::var_os(name)) {
        Ok(config) => supervise(config),
        Err(exit) => exit.report("reuseport-run"),
    }
}

/// The place for the supervisor: `reuseport_run::supervisor::run(config)`, its outcome mapped to
/// an exit code.
fn supervise(config: Config) -> ExitCode {
    let name = config.name;
    Exit::absent(format!("{name}: this build has no supervisor")).report("reuseport-run")
}

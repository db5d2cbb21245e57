//! Runs a command in a network of its own, if wanted with a delay and with less privilege.
//!
//! A server that listens on 0.0.0.0 or 10.9.0.1 is reached at 10.9.0.2 over the delayed way, and
//! at 127.0.0.1 without delay. The exit status is the command's; 77 where the kernel or the
//! privileges do not allow the set-up (the reason is on stderr), 70 if the network fails under it.

#[path = "../delay/mod.rs"]
mod delay;
#[path = "../process_tree.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)]
mod process_tree;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use clap::Parser;
use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use delay::confinement::{self, Refusal};
use delay::{Missing, hairpin, interface::Interface, namespace};

/// What automake and others take for "skipped".
const SKIPPED: u8 = 77;

/// Runs COMMAND in a private network namespace.
#[derive(Parser)]
struct Options {
    /// Make 10.9.0.2 this machine, so many milliseconds away (one way).
    #[arg(long, value_name = "MS")]
    delay_ms: Option<f64>,
    /// Run COMMAND as uid and gid 65534 without capabilities. Nothing to do for who is not root.
    #[arg(long)]
    nobody: bool,
    /// Refuse something to COMMAND; may be given more than once.
    #[arg(long, value_name = "WHAT")]
    refuse: Vec<Refusal>,
    /// Stay in the network that is there.
    #[arg(long, conflicts_with = "delay_ms")]
    same_network: bool,
    /// What to run.
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.same_network {
        // In place of this process, so that whoever started it knows the command's pid.
        let error = confined(&options).exec();
        eprintln!("rig: cannot run {:?}: {error}", options.command[0]);
        return ExitCode::from(126);
    }
    if let Err(missing) = set_up(options.delay_ms) {
        eprintln!("skipped: {missing}");
        return ExitCode::from(SKIPPED);
    }
    match command(&options).status() {
        Ok(status) => exit_code(status),
        Err(error) => {
            eprintln!("rig: cannot run {:?}: {error}", options.command[0]);
            ExitCode::from(if error.kind() == io::ErrorKind::NotFound {
                127
            } else {
                126
            })
        }
    }
}

fn set_up(delay_ms: Option<f64>) -> Result<(), Missing> {
    namespace::enter()?;
    let loopback = Interface::named("lo").and_then(|lo| lo.bring_up());
    loopback.map_err(|error| format!("needs a loopback interface: {error}"))?;
    namespace::widen_client_ports();
    let Some(delay_ms) = delay_ms else {
        return Ok(());
    };
    let delay = Duration::try_from_secs_f64(delay_ms / 1000.0);
    hairpin::start(delay.map_err(|error| format!("needs another delay: {error}"))?)
}

fn command(options: &Options) -> Command {
    let mut command = confined(options);
    // After the change of user, which would clear it. A trial ends what it started when it is told
    // to terminate.
    process_tree::die_with_parent(&mut command, Signal::SIGTERM);
    command
}

fn confined(options: &Options) -> Command {
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]);
    if options.nobody && geteuid().is_root() {
        confinement::as_nobody(&mut command);
    }
    confinement::refuse(&mut command, &options.refuse);
    command
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let signalled = || status.signal().map(|signal| 128 + signal);
    let code = status
        .code()
        .or_else(signalled)
        .and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

//! One shared queue: a listener is made once and inherited by n workers, which all accept from it.
//!
//! This is what a server does that forks after it has bound: gunicorn, PHP-FPM, nginx without
//! `reuseport`. Whoever wakes first has the connection. Without `--exclusive` a connection wakes
//! every worker that waits.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;

use clap::Parser;
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

use super::bench_workers::{BenchWorkers, LaunchOptions};

/// Starts workers that share one listener, and waits for SIGTERM.
#[derive(Clone, Debug, Parser)]
#[command(name = "share")]
struct Options {
    #[command(flatten)]
    launch: LaunchOptions,
}

/// Is that program until SIGTERM. `arguments` begin with the program's name.
///
/// # Errors
/// The port is taken, or workers cannot be started.
pub fn run(arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let Options { mut launch } = Options::parse_from(arguments);
    let mut signals = Signals::new([SIGTERM])?;
    let listener = launch.listen()?;
    launch.options.extend(["--listen-fd".into(), "0".into()]);
    let mut workers = BenchWorkers::default();
    for _ in 0..launch.workers {
        workers.start(listener.as_fd().try_clone_to_owned()?, &launch.options)?;
    }
    // The workers' now: it has to close when the last of them closes it.
    drop(listener);
    signals.forever().next();
    workers.stop()
}

//! Ways to share a port among workers: `cargo bench --bench ways`.
//!
//! No other software takes part: one server ([`lab::worker`]), eight ways to bring it connections.
//!
//! | subject | way |
//! | --- | --- |
//! | `queues` | reuseport-run: a listener, and so a queue, for each worker |
//! | `two-queues`, `one-queue` | reuseport-run with `--queues 2` and `--queues 1` |
//! | `one-queue-exclusive` | the latter, and the workers wait for it with `EPOLLEXCLUSIVE` |
//! | `shared` | one listener that all accept from, and a connection wakes all |
//! | `shared-exclusive` | the same with `EPOLLEXCLUSIVE`: it wakes one |
//! | `dispatch` | a master accepts and hands over to who has taken the one before (Node's way) |
//! | `dispatch-free` | a master accepts and hands over to who has nothing to do |
//!
//! What is asked of them is in [`experiments`], how they take turns in [`run`], and what is made of
//! the numbers in [`page`]. Each setting's table is printed when its last round is over; the report
//! is written at the end, or at ^C with what there is. `--quick` asks less, and is for trying this
//! out: its numbers are not for quoting.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "ways/experiments.rs"]
mod experiments;
mod lab;
#[path = "ways/page.rs"]
mod page;
#[path = "ways/run.rs"]
mod run;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use run::Run;

/// Measures the ways to share a port among workers.
#[derive(Clone, Debug, Parser)]
#[command(name = "ways")]
struct Options {
    /// Fewer settings, shorter and fewer rounds.
    #[arg(long)]
    quick: bool,
    /// Only these experiments: throughput, latency, blocking.
    #[arg(long, value_name = "EXPERIMENT")]
    only: Vec<String>,
    /// Rounds of each setting: a ratio needs five, and of eight one may be far off [default: 5,
    /// quick 2].
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds of each measurement [default: throughput 1, others 2, quick 0.6].
    #[arg(long)]
    seconds: Option<f64>,
    /// Of every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the report is written.
    #[arg(long, default_value = "target/ways", value_name = "DIRECTORY")]
    output: PathBuf,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // The same program is the server, and the masters.
    lab::role().unwrap_or_else(|| match measure(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ways: {error}");
            ExitCode::FAILURE
        }
    })
}

fn measure(options: &Options) -> io::Result<()> {
    let mut chosen = experiments::chosen(&options.only, options.quick)?;
    let seconds = options.seconds.or(options.quick.then_some(0.6));
    if let Some(seconds) = seconds {
        let length = std::time::Duration::try_from_secs_f64(seconds).map_err(io::Error::other)?;
        chosen.iter_mut().for_each(|it| it.length = length);
    }
    let rounds = options.rounds.unwrap_or(if options.quick { 2 } else { 5 });
    let mut run = Run::new(rounds, options.seed)?;
    println!("{}", run.preface(&chosen));
    for experiment in &chosen {
        run.ask(experiment);
    }
    page::publish(&options.output, &run.results, &chosen)
}

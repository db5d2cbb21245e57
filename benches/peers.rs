//! Us and the others, on this machine: `benches/compare`, which also brings the others.
//!
//! `cargo bench --bench peers -- [--quick] [--only EXPERIMENT] [--peers NAME,NAME] …` measures with
//! what is installed, and names what is not. All subjects take turns in every round, so that a
//! machine that gets slower does it to all. ^C ends it after the measurement that runs, and what
//! there is by then is written; a second ^C ends it at once.
#![allow(missing_docs, dead_code, unreachable_pub)]

mod lab {
    pub mod load;
    pub mod machine;
    pub mod peer;
    pub mod report;
    pub mod usage;
}

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use lab::peer::experiment::trial::Extent;
use lab::peer::run::Run;
use lab::report::page;

/// Measures reuseport-run and its peers, in turn.
#[derive(Parser, Debug)]
struct Options {
    /// A short run: to see that everything works, not to learn how fast it is
    #[arg(long)]
    quick: bool,
    /// Only this experiment; may be repeated
    #[arg(long, value_enum)]
    only: Vec<Experiment>,
    /// Only peers whose names begin so; we are always there
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    peers: Vec<String>,
    /// Rounds of each experiment
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Seconds of each measurement [default: 4, quick 1]
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Reloads in a row [default: 20, quick 3]
    #[arg(long, value_name = "N")]
    reloads: Option<usize>,
    /// What every random choice comes from
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Where the report is written
    #[arg(long, default_value = "target/compare", value_name = "DIRECTORY")]
    output: PathBuf,
    /// What `cargo bench` says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Experiment {
    /// Requests per second, latency, CPU, fairness
    Throughput,
    /// Reloads under load
    Reload,
    /// SIGKILL of a worker
    Crash,
    /// One server, wrapped over bare
    Wrapping,
}

impl Options {
    fn extent(&self) -> Extent {
        let seconds =
            |full: u64, quick: u64| Duration::from_secs(if self.quick { quick } else { full });
        Extent {
            rounds: self.rounds.unwrap_or(if self.quick { 2 } else { 5 }),
            length: self.seconds.map_or(seconds(4, 1), Duration::from_secs),
            warm_up: Duration::from_millis(if self.quick { 300 } else { 1000 }),
            workers: 4,
            connections: 32,
            rate: 500.0,
            reloads: self.reloads.unwrap_or(if self.quick { 3 } else { 20 }),
            seed: self.seed,
        }
    }

    fn wants(&self, experiment: Experiment) -> bool {
        self.only.is_empty() || self.only.contains(&experiment)
    }
}

fn main() -> ExitCode {
    let ended = run(&Options::parse());
    if let Err(error) = &ended {
        eprintln!("peers: {error}");
    }
    ended.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn run(options: &Options) -> io::Result<()> {
    let mut run = Run::new(options.extent(), &options.peers)?;
    println!("{}", page::setting(&run.results));
    for (what, why) in &run.results.skipped {
        println!("skipped: {what}: {why}");
    }
    for experiment in Experiment::value_variants() {
        if options.wants(*experiment) && !run.is_over() {
            experiment.measure(&mut run);
        }
    }
    run.publish(&options.output)
}

impl Experiment {
    fn measure(self, run: &mut Run) {
        match self {
            Self::Throughput => run.throughput(),
            Self::Reload => run.reloads(),
            Self::Crash => run.crashes(),
            Self::Wrapping => run.wrapping(),
        }
    }
}

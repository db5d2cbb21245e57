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
    pub mod note;
    pub mod peer;
    pub mod report;
    pub mod usage;
}

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use lab::peer::experiment::experiments::Experiment;
use lab::peer::experiment::extent::Extent;
use lab::peer::page::{self, columns, methods};
use lab::peer::run::Run;
use lab::report::page as report_page;

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
    /// Rounds of throughput and wrapping [default: 5, quick 2]
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Seconds of each measurement of throughput and latency [default: 1]
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Reloads in a row, at most [default: 20, quick 3]
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

impl Options {
    fn extent(&self) -> Extent {
        let full = Extent {
            rounds: 5,
            length: Duration::from_secs(1),
            first_load: Duration::from_secs(3),
            warm_up: Duration::from_millis(500),
            workers: 4,
            connections: 32,
            rate: 500.0,
            reloads: 20,
            longest: Duration::from_secs(12),
            kills: 5,
            windows: 12,
            window: Duration::from_millis(200),
            scales: &[10, 100, 1000],
            seed: self.seed,
        };
        let quick = Extent {
            rounds: 2,
            first_load: Duration::from_millis(500),
            warm_up: Duration::from_millis(300),
            reloads: 3,
            kills: 2,
            windows: 6,
            window: Duration::from_millis(100),
            scales: &[10],
            ..full
        };
        let base = if self.quick { quick } else { full };
        Extent {
            rounds: self.rounds.unwrap_or(base.rounds),
            length: self.seconds.map_or(base.length, Duration::from_secs),
            reloads: self.reloads.unwrap_or(base.reloads),
            ..base
        }
    }

    fn wanted(&self) -> Vec<Experiment> {
        let all = Experiment::value_variants().iter().copied();
        let is_wanted = |one: &Experiment| self.only.is_empty() || self.only.contains(one);
        all.filter(is_wanted).collect()
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
    println!("{}", report_page::setting(&run.results));
    for (what, why) in &run.results.skipped {
        println!("skipped: {what}: {why}");
    }
    println!("{}", estimate(&run, &options.wanted()));
    for experiment in options.wanted() {
        if run.is_over() {
            break;
        }
        experiment.measure(&mut run);
        for table in experiment.tables() {
            let text = columns::table(table).markdown(&run.results);
            println!("\n{}\n\n{text}", methods::title(table));
        }
        // After each: who loses the machine in the next keeps what there is.
        page::publish(&run, &options.output)?;
    }
    println!("{}", report_page::skipped(&run.results));
    let report = options.output.join("README.md");
    println!("The report is {}", report.display());
    Ok(())
}

/// `About 34 minutes: throughput 13, reload 11 …`.
fn estimate(run: &Run, wanted: &[Experiment]) -> String {
    let minutes = |time: Duration| (time.as_secs_f64() / 60.0).ceil();
    let times = wanted.iter().map(|one| {
        let time = one.estimate(&run.extent, run.peers().len());
        (one.to_possible_value(), time)
    });
    let times: Vec<_> = times.collect();
    let sum = times.iter().map(|(_, time)| *time).sum();
    let each = times.iter().filter_map(|(value, time)| {
        let name = value.as_ref()?.get_name();
        Some(format!("{name} {}", minutes(*time)))
    });
    let each: Vec<String> = each.collect();
    format!("About {} minutes: {}\n", minutes(sum), each.join(", "))
}

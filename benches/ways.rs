//! Ways to share a port among workers: `cargo bench --bench ways`.
//!
//! No other software takes part: one server ([`lab::worker`]), seven ways to bring it connections.
//!
//! | subject | way |
//! | --- | --- |
//! | `queues` | reuseport-run: a listener, and so a queue, for each worker |
//! | `two-queues`, `one-queue` | reuseport-run with `--queues 2` and `--queues 1` |
//! | `shared` | one listener that all accept from, and a connection wakes all |
//! | `shared-exclusive` | the same with `EPOLLEXCLUSIVE`: it wakes one |
//! | `dispatch` | a master accepts and hands over to who has taken the one before (Node's way) |
//! | `dispatch-free` | a master accepts and hands over to who has nothing to do |
//!
//! A table's columns: CPU and context switches are of the server's processes, the supervisor or the
//! master with them; `max/mean` is the busiest worker's share over the fair one; `load late` is how
//! long after its time a request was looked at by the load, and part of its latency: where it is
//! most of it, the machine was too small for both.
//!
//! The experiments are in [`experiments`]. Of each, all subjects are measured in turn, round after
//! round, so that a machine that gets slower does it to all; and its table is printed when the last
//! round is over, or at ^C with what there is. `--quick` asks less, and is for trying this out: its
//! numbers are not for quoting.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "ways/experiments.rs"]
mod experiments;
mod lab;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use signal_hook::consts::SIGINT;

use experiments::{Demand, Experiment, Setting};
use lab::load::{Pace, Plan, Spacing};
use lab::report::results::{Results, Row, measure};
use lab::report::statistics::Limits;
use lab::report::table::{Column, Table};
use lab::report::unit::Unit;
use lab::trial;
use lab::way::Way;

/// Measures the ways to share a port among workers.
#[derive(Clone, Debug, Parser)]
#[command(name = "ways")]
struct Options {
    /// Fewer settings, shorter and fewer rounds.
    #[arg(long)]
    quick: bool,
    /// Only these experiments: throughput, latency, computing, blocking.
    #[arg(long, value_name = "EXPERIMENT")]
    only: Vec<String>,
    /// Rounds of each setting [default: 5, quick 3].
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds of each measurement [default: 2, quick 0.6].
    #[arg(long)]
    seconds: Option<f64>,
    /// Of every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write all rows there, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // The same program is the server, and the masters.
    lab::role().unwrap_or_else(|| match measure_all(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ways: {error}");
            ExitCode::FAILURE
        }
    })
}

fn measure_all(options: &Options) -> io::Result<()> {
    let chosen = experiments::chosen(&options.only, options.quick)?;
    let mut bench = Bench::new(options)?;
    println!("{}\n", bench.preface());
    for experiment in &chosen {
        bench.ask(experiment)?;
    }
    for (what, why) in &bench.results.skipped {
        println!("skipped: {what}: {why}");
    }
    match &options.json {
        Some(path) => bench.results.write(path),
        None => Ok(()),
    }
}

struct Bench {
    rounds: u32,
    length: Duration,
    warm_up: Duration,
    seed: u64,
    results: Results,
    interrupted: Arc<AtomicBool>,
}

impl Bench {
    fn new(options: &Options) -> io::Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGINT, Arc::clone(&interrupted))?;
        let (rounds, seconds, warm_up) = if options.quick {
            (3, 0.6, Duration::from_millis(300))
        } else {
            (5, 2.0, Duration::from_millis(500))
        };
        let seconds = options.seconds.unwrap_or(seconds);
        let length = Duration::try_from_secs_f64(seconds).map_err(io::Error::other)?;
        let mut results = Results::begin(options.seed)?;
        results.version("reuseport-run", env!("CARGO_PKG_VERSION"));
        Ok(Self {
            rounds: options.rounds.unwrap_or(rounds),
            length,
            warm_up,
            seed: options.seed,
            results,
            interrupted,
        })
    }

    fn preface(&self) -> String {
        let machine = &self.results.machine;
        format!(
            "{}, {} cores, Linux {}, {}\n{} rounds of {:?} after {:?}: median (least – most); \
             ÷ queues is the median of the rounds' ratios",
            machine.cpu,
            machine.cores,
            machine.kernel,
            self.results.date,
            self.rounds,
            self.length,
            self.warm_up
        )
    }

    fn is_over(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn ask(&mut self, experiment: &Experiment) -> io::Result<()> {
        if self.is_over() {
            return Ok(());
        }
        println!("## {}\n\n{}\n", experiment.name, experiment.question);
        for setting in &experiment.settings {
            if !self.is_over() {
                self.try_setting(experiment, setting);
            }
        }
        Ok(())
    }

    /// A setting that cannot be measured is skipped, and the next one tried.
    fn try_setting(&mut self, experiment: &Experiment, setting: &Setting) {
        let before = self.results.rows.len();
        if let Err(error) = self.rounds_of(experiment, setting) {
            let row = setting.row(experiment.name, "", 0);
            let what = format!("{}, {}", experiment.name, row.setting());
            self.results.skip(what, error.to_string());
        }
        if self.results.rows.len() > before {
            let name = self.results.rows[before].setting();
            println!(
                "{}",
                table(experiment.name).of_setting(&self.results, &name)
            );
        }
    }

    fn rounds_of(&mut self, experiment: &Experiment, setting: &Setting) -> io::Result<()> {
        let pace = self.pace(setting)?;
        for round in 0..self.rounds {
            for way in setting.ways() {
                let row = setting.row(experiment.name, way.name(), round);
                let Some(row) = self.measured(way, setting, pace, row)? else {
                    return Ok(());
                };
                self.results.rows.push(row);
            }
        }
        Ok(())
    }

    fn measured(
        &self,
        way: Way,
        setting: &Setting,
        pace: Pace,
        row: Row,
    ) -> io::Result<Option<Row>> {
        let mut knobs = setting.knobs.clone();
        knobs.extend(["--seed".to_owned(), self.seed.to_string()]);
        let started = way.start(supervisor(), setting.workers, &knobs)?;
        let plan = Plan {
            connections: setting.connections,
            reuse: setting.reuse,
            pace,
            warm_up: self.warm_up,
            // The same in all rounds' subjects, another in each round.
            seed: self.seed + u64::from(row.round),
            ..Plan::new(started.address())
        };
        let is_over = || self.is_over();
        let (length, workers) = (self.length, setting.workers);
        trial::run(plan, length, started.pid(), workers, row, is_over)
    }

    /// What is asked of everybody alike. A part of what can be done is a part of what `queues` can
    /// do, found out once: who can do less is then under a higher load, as he would be.
    fn pace(&self, setting: &Setting) -> io::Result<Pace> {
        let per_second = match setting.demand {
            Demand::All => return Ok(Pace::Closed),
            Demand::Rate(per_second) => per_second,
            Demand::Part(part) => {
                let row = setting.row("", "", 0);
                let row = self.measured(Way::Queues, setting, Pace::Closed, row)?;
                part * row.and_then(|row| row.get(measure::RATE)).unwrap_or(1.0)
            }
        };
        Ok(Pace::Open {
            per_second: per_second.max(1.0),
            spacing: Spacing::Exponential,
        })
    }
}

fn supervisor() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_reuseport-run"))
}

fn table(experiment: &str) -> Table<'_> {
    Table {
        experiment,
        columns: &COLUMNS,
        reference: Some(Way::Queues.name()),
        limits: Limits::default(),
    }
}

const COLUMNS: [Column; 12] = [
    compared(measure::RATE, "requests/s", Unit::Count),
    column(measure::FAILED, "failed", Unit::Count),
    column(measure::P50, "p50", Unit::Time),
    column(measure::P90, "p90", Unit::Time),
    compared(measure::P99, "p99", Unit::Time),
    column(measure::P999, "p99.9", Unit::Time),
    compared(measure::SERVER_CPU, "server CPU/request", Unit::Time),
    column(measure::CLIENT_CPU, "load CPU/request", Unit::Time),
    column(measure::SWITCHES, "switches/request", Unit::Ratio),
    column(measure::REQUEST_FAIRNESS, "max/mean requests", Unit::Ratio),
    column(
        measure::CONNECTION_FAIRNESS,
        "max/mean connections",
        Unit::Ratio,
    ),
    column(trial::LATENESS, "load late, p99", Unit::Time),
];

const fn column(measure: &'static str, title: &'static str, unit: Unit) -> Column {
    Column {
        measure,
        title,
        unit,
        compared: false,
    }
}

const fn compared(measure: &'static str, title: &'static str, unit: Unit) -> Column {
    Column {
        compared: true,
        ..column(measure, title, unit)
    }
}

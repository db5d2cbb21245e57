//! One run: of each setting all ways are measured in turn, round after round, so that a machine that
//! gets slower does it to all.
//!
//! A way that fails ends its setting, whose other ways would have nobody to be compared with. At ^C
//! the measurement that is under way is dropped, because half of one is no result.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reuseport_run::sys::process;
use signal_hook::consts::SIGINT;

use super::experiments::{Demand, Experiment, Setting};
use super::lab::load::{Pace, Plan, Spacing};
use super::lab::report::page as report_page;
use super::lab::report::results::{Results, Row};
use super::lab::trial;
use super::lab::way::Way;
use super::page;

/// What was found so far, and how to go on.
pub(crate) struct Run {
    pub(crate) results: Results,
    rounds: u32,
    interrupted: Arc<AtomicBool>,
}

impl Run {
    /// Nothing is measured yet. From now on ^C only ends the measuring.
    ///
    /// # Errors
    /// If the machine cannot be read, or refuses the handler.
    pub(crate) fn new(rounds: u32, seed: u64) -> io::Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGINT, Arc::clone(&interrupted))?;
        // For the workers, too, any of which may have all connections.
        process::raise_file_limit()?;
        let mut results = Results::begin(seed)?;
        results.version("reuseport-run", env!("CARGO_PKG_VERSION"));
        Ok(Self {
            results,
            rounds,
            interrupted,
        })
    }

    /// Where it is, and how long these will take.
    pub(crate) fn preface(&self, experiments: &[Experiment]) -> String {
        let once: Duration = experiments.iter().map(Experiment::time_of_a_round).sum();
        let minutes = (once * self.rounds).as_secs_f64() / 60.0;
        let place = report_page::setting(&self.results);
        format!(
            "{place}\n{} rounds; about {minutes:.1} minutes\n",
            self.rounds
        )
    }

    /// Measures all settings, and prints each one's table.
    pub(crate) fn ask(&mut self, experiment: &Experiment) {
        if !self.is_over() {
            println!("## {}\n\n{}\n", experiment.name, experiment.question);
        }
        for setting in &experiment.settings {
            if !self.is_over() {
                self.try_setting(experiment, setting);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// A setting that cannot be measured is skipped, and the next one tried.
    fn try_setting(&mut self, experiment: &Experiment, setting: &Setting) {
        let name = setting.row(experiment.name, "", 0).setting();
        if let Err(error) = self.in_turn(experiment, setting) {
            println!("skipped: {name}: {error}");
            let what = format!("{}, {name}", experiment.name);
            self.results.skip(what, error.to_string());
        }
        let table = page::table(experiment.name);
        println!("{}", table.of_setting(&self.results, &name));
    }

    fn in_turn(&mut self, experiment: &Experiment, setting: &Setting) -> io::Result<()> {
        for round in 0..self.rounds {
            for way in setting.ways() {
                let row = setting.row(experiment.name, way.name(), round);
                let Some(row) = self.measured(way, setting, experiment.length, row)? else {
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
        length: Duration,
        row: Row,
    ) -> io::Result<Option<Row>> {
        let mut options = setting.options.clone();
        options.extend(["--seed".to_owned(), self.results.seed.to_string()]);
        let started = way.start(supervisor(), setting.workers, &options)?;
        let plan = Plan {
            connections: setting.connections,
            reuse: setting.reuse,
            pace: pace(setting.demand),
            warm_up: setting.warm_up(),
            // The same for all of a round, another in each.
            seed: self.results.seed + u64::from(row.round),
            ..Plan::new(started.address())
        };
        let is_over = || self.is_over();
        trial::run(plan, length, started.pid(), setting.workers, row, is_over)
    }
}

/// What is asked of everybody alike.
fn pace(demand: Demand) -> Pace {
    match demand {
        Demand::All => Pace::Closed,
        Demand::Rate(per_second) => Pace::Open {
            per_second,
            spacing: Spacing::Exponential,
        },
    }
}

fn supervisor() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_reuseport-run"))
}

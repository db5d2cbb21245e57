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
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use lab::load::Reuse;
use lab::peer::bare::Bare;
use lab::peer::experiment::trial::{Extent, name_of};
use lab::peer::experiment::{crash, reload, story, throughput, wrapping};
use lab::peer::{Peer, is_wanted, ours};
use lab::report::page;
use lab::report::results::{Results, Row, measure};
use lab::report::table::escape;
use lab::report::unit::Unit;
use signal_hook::consts::{SIGINT, SIGTERM};
use tempfile::TempDir;

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
            length: seconds(4, 1),
            warm_up: Duration::from_millis(if self.quick { 300 } else { 1000 }),
            workers: 4,
            connections: 32,
            rate: 500.0,
            reloads: if self.quick { 3 } else { 20 },
            seed: self.seed,
        }
    }

    fn wants(&self, experiment: Experiment) -> bool {
        self.only.is_empty() || self.only.contains(&experiment)
    }
}

/// A run: what it has found so far, and whether it is to end.
struct Run {
    results: Results,
    extent: Extent,
    peers: Vec<Box<dyn Peer>>,
    directory: TempDir,
    stop: Arc<AtomicBool>,
}

const REUSES: [Reuse; 2] = [Reuse::Fresh, Reuse::KeepAlive];

fn main() -> ExitCode {
    let ended = run(&Options::parse());
    if let Err(error) = &ended {
        eprintln!("peers: {error}");
    }
    ended.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn run(options: &Options) -> io::Result<()> {
    let mut run = Run::new(options)?;
    println!("{}", page::setting(&run.results));
    for (what, why) in &run.results.skipped {
        println!("skipped: {what}: {why}");
    }
    for experiment in Experiment::value_variants() {
        if options.wants(*experiment) && !run.is_over() {
            run.measure(*experiment);
        }
    }
    run.publish(&options.output)
}

impl Run {
    fn new(options: &Options) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        // The order matters: the first ^C finds the flag unset and only sets it.
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(
                signal,
                128 + signal,
                Arc::clone(&stop),
            )?;
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        let mut run = Self {
            results: Results::begin(options.seed)?,
            extent: options.extent(),
            peers: Vec::new(),
            directory: tempfile::Builder::new().prefix("lab-").tempdir()?,
            stop,
        };
        run.gather(&options.peers);
        Ok(run)
    }

    /// Takes along whoever is wanted and here, and us for each of their servers.
    fn gather(&mut self, wanted: &[String]) {
        let others = |peer: &dyn Peer| peer.name() != ours::NAME && is_wanted(peer, wanted);
        let all = lab::peer::all();
        let works: Vec<_> = all
            .iter()
            .filter(|peer| others(peer.as_ref()))
            .map(|peer| peer.work())
            .collect();
        let is_ours = |peer: &dyn Peer| peer.name() == ours::NAME && works.contains(&peer.work());
        for peer in all {
            if !others(peer.as_ref()) && !is_ours(peer.as_ref()) {
                continue;
            }
            match peer.versions() {
                Ok(versions) => {
                    self.results.versions.extend(
                        versions
                            .into_iter()
                            .map(|(name, version)| (name.to_owned(), version)),
                    );
                    self.peers.push(peer);
                }
                Err(missing) => self.results.skip(
                    format!("{}, {}", peer.name(), peer.work()),
                    missing.to_string(),
                ),
            }
        }
    }

    fn measure(&mut self, experiment: Experiment) {
        match experiment {
            Experiment::Throughput => self.throughput(),
            Experiment::Reload => self.reloads(),
            Experiment::Crash => self.crashes(),
            Experiment::Wrapping => self.wrapping(),
        }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// In every round everyone in turn, first with fresh connections, then with kept ones. Who
    /// fails once is not asked again: it would fail in every round.
    fn in_turn(
        &mut self,
        rounds: u32,
        measure: impl Fn(&dyn Peer, Reuse, u32, &Self) -> io::Result<Vec<Row>>,
    ) {
        let peers = std::mem::take(&mut self.peers);
        let mut failed = Vec::new();
        for round in 0..rounds {
            for reuse in REUSES {
                for (at, peer) in peers.iter().enumerate() {
                    if self.is_over() || failed.contains(&(at, reuse)) {
                        continue;
                    }
                    let name = format!(
                        "{}, {}, {} connections",
                        peer.name(),
                        peer.work(),
                        name_of(reuse)
                    );
                    let measured = measure(peer.as_ref(), reuse, round, self);
                    if !self.take(&name, measured) {
                        failed.push((at, reuse));
                    }
                }
            }
        }
        self.peers = peers;
    }

    /// Keeps the rows, or why there are none.
    fn take(&mut self, name: &str, measured: io::Result<Vec<Row>>) -> bool {
        match measured {
            Ok(rows) => {
                rows.iter().for_each(tell);
                self.results.rows.extend(rows);
                true
            }
            Err(error) => {
                println!("skipped: {name}: {error}");
                self.results.skip(name, error.to_string());
                false
            }
        }
    }

    fn throughput(&mut self) {
        self.in_turn(self.extent.rounds, |peer, reuse, round, run| {
            throughput::run(peer, reuse, round, &run.extent, run.directory.path())
        });
        self.print(throughput::THROUGHPUT);
        self.print(throughput::LATENCY);
    }

    fn reloads(&mut self) {
        self.in_turn(1, |peer, reuse, _, run| {
            let row = reload::run(peer, reuse, &run.extent, run.directory.path(), &run.stop);
            row.map(|row| vec![row])
        });
        self.print(reload::RELOAD);
    }

    fn crashes(&mut self) {
        self.in_turn(self.extent.rounds, |peer, reuse, round, run| {
            let row = crash::run(peer, reuse, round, &run.extent, run.directory.path());
            row.map(|row| vec![row])
        });
        self.print(crash::CRASH);
    }

    fn wrapping(&mut self) {
        let servers = Bare::ALL
            .into_iter()
            .filter(|server| self.has(*server))
            .collect::<Vec<_>>();
        for round in 0..self.extent.rounds {
            for (server, reuse) in servers
                .iter()
                .flat_map(|server| REUSES.map(|reuse| (*server, reuse)))
            {
                if self.is_over() {
                    break;
                }
                let rows = wrapping::run(server, reuse, round, &self.extent, self.directory.path());
                self.take(&format!("wrapping, {}", server.name()), rows);
            }
        }
        self.print(wrapping::WRAPPING);
    }

    fn has(&mut self, server: Bare) -> bool {
        match server.found() {
            Ok((name, version)) => {
                self.results.version(name, version);
                true
            }
            Err(missing) => {
                println!("skipped: wrapping, {}: {missing}", server.name());
                self.results
                    .skip(format!("wrapping, {}", server.name()), missing.to_string());
                false
            }
        }
    }

    fn print(&self, experiment: &str) {
        println!(
            "\n{experiment}\n\n{}",
            story::table(experiment).markdown(&self.results)
        );
    }

    fn publish(&self, output: &Path) -> io::Result<()> {
        let methods = story::methods(&self.results, &self.extent);
        let sections = story::sections(&self.results, &methods)?;
        page::publish(
            output,
            "reuseport-run and its peers",
            &self.results,
            &self.subjects(),
            &sections,
        )?;
        println!("{}", page::skipped(&self.results));
        println!("The report is {}", output.join("README.md").display());
        Ok(())
    }

    /// Who they are: how each is configured and reloaded.
    fn subjects(&self) -> String {
        let lines = self.peers.iter().map(|peer| {
            let (name, work) = (escape(peer.name()), peer.work());
            format!(
                "| {name} | {work} | {} | {} |\n",
                escape(peer.configuration()),
                escape(peer.reload_words())
            )
        });
        let head = "\n| subject | server | configuration | reload |\n| --- | --- | --- | --- |\n";
        head.to_owned() + &lines.collect::<String>()
    }
}

/// One line, so that whoever waits sees that it goes on.
fn tell(row: &Row) {
    let shown = [
        (measure::RATE, "requests/s", Unit::Count),
        (measure::P99, "p99", Unit::Time),
        (measure::FAILED, "failed", Unit::Count),
        (reload::TIME, "reload", Unit::Time),
        (crash::RECOVERY, "recovery", Unit::Time),
    ];
    let shown = shown.iter().filter_map(|(measure, name, unit)| {
        Some(format!("{name} {}", unit.write(row.get(measure)?)))
    });
    let shown: Vec<String> = shown.collect();
    println!(
        "{} {} [{}] {}: {}",
        row.experiment,
        row.round + 1,
        row.setting(),
        row.subject,
        shown.join(", ")
    );
}

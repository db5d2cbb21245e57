//! One run of the bench: everyone in turn, and what came of it.
//!
//! Who fails once is not asked again in that experiment, and why is kept for the report: it would
//! fail in every round, and each takes as long as one's patience. A run that is told to stop ends
//! after the measurement that is under way, because half of one is not a result.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use tempfile::TempDir;

use super::super::load::Reuse;
use super::super::report::page;
use super::super::report::results::{Results, Row, measure};
use super::super::report::table::escape;
use super::super::report::unit::Unit;
use super::bare::Bare;
use super::experiment::trial::{Extent, name_of};
use super::experiment::{crash, reload, story, throughput, wrapping};
use super::{Peer, all, is_wanted, ours};

/// A run: what it has found so far, and whether it is to end.
pub struct Run {
    /// What was found so far.
    pub results: Results,
    extent: Extent,
    peers: Vec<Box<dyn Peer>>,
    directory: TempDir,
    stop: Arc<AtomicBool>,
}

const REUSES: [Reuse; 2] = [Reuse::Fresh, Reuse::KeepAlive];

impl Run {
    /// Nothing is measured yet; who is missing is known. From now on a first ^C (or TERM) only asks
    /// the run to end.
    ///
    /// # Errors
    /// If the machine cannot be read, or there is no room for the subjects' files.
    pub fn new(extent: Extent, wanted: &[String]) -> io::Result<Self> {
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
            results: Results::begin(extent.seed)?,
            extent,
            peers: Vec::new(),
            directory: tempfile::Builder::new().prefix("lab-").tempdir()?,
            stop,
        };
        run.gather(wanted);
        Ok(run)
    }

    /// Takes along whoever is wanted and here, and us for each of their servers.
    fn gather(&mut self, wanted: &[String]) {
        let others = |peer: &dyn Peer| peer.name() != ours::NAME && is_wanted(peer, wanted);
        let all = all();
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

    /// Whether it is to end.
    pub fn is_over(&self) -> bool {
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

    /// Throughput and latency.
    pub fn throughput(&mut self) {
        self.in_turn(self.extent.rounds, |peer, reuse, round, run| {
            throughput::run(peer, reuse, round, &run.extent, run.directory.path())
        });
        self.print(throughput::THROUGHPUT);
        self.print(throughput::LATENCY);
    }

    /// Reloads under load.
    pub fn reloads(&mut self) {
        self.in_turn(1, |peer, reuse, _, run| {
            let row = reload::run(peer, reuse, &run.extent, run.directory.path(), &run.stop);
            row.map(|row| vec![row])
        });
        self.print(reload::RELOAD);
    }

    /// SIGKILL of a worker.
    pub fn crashes(&mut self) {
        self.in_turn(self.extent.rounds, |peer, reuse, round, run| {
            let row = crash::run(peer, reuse, round, &run.extent, run.directory.path());
            row.map(|row| vec![row])
        });
        self.print(crash::CRASH);
    }

    /// Servers wrapped and bare.
    pub fn wrapping(&mut self) {
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

    /// Writes the report, and says what was not measured.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn publish(&self, output: &Path) -> io::Result<()> {
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

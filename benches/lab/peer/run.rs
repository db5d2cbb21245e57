//! One run of the bench: who takes part, what was found, and when it is to end.
//!
//! Who fails once is not asked the same again, and why is kept for the report: it would fail in
//! every round, and each takes as long as its time-out. A run that is told to stop ends after the
//! measurement that is under way, because half of one is not a result.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use tempfile::TempDir;

use super::super::report::results::{Results, Row, measure};
use super::super::report::unit::Unit;
use super::experiment::extent::Extent;
use super::experiment::{crash, reload, scale, wrapping};
use super::{Peer, all, is_wanted, ours};

/// A run.
pub struct Run {
    /// What was found so far.
    pub results: Results,
    /// How much is measured.
    pub extent: Extent,
    peers: Vec<Box<dyn Peer>>,
    directory: TempDir,
    end: Arc<AtomicBool>,
}

impl Run {
    /// Nothing is measured yet; who is missing is known. From now on a first ^C (or TERM) only asks
    /// the run to end.
    ///
    /// # Errors
    /// If the machine cannot be read, or there is no room for the subjects' files.
    pub fn new(extent: Extent, wanted: &[String]) -> io::Result<Self> {
        let end = Arc::new(AtomicBool::new(false));
        // The order matters: the first ^C finds the flag unset and only sets it.
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(
                signal,
                128 + signal,
                Arc::clone(&end),
            )?;
            signal_hook::flag::register(signal, Arc::clone(&end))?;
        }
        let mut run = Self {
            results: Results::begin(extent.seed)?,
            extent,
            peers: Vec::new(),
            directory: tempfile::Builder::new().prefix("lab-").tempdir()?,
            end,
        };
        run.gather(wanted);
        Ok(run)
    }

    /// Takes along whoever is wanted and here, and us for each of their servers.
    fn gather(&mut self, wanted: &[String]) {
        let is_ours = |peer: &dyn Peer| peer.profile().name == ours::NAME;
        let (ours, others): (Vec<_>, Vec<_>) =
            all().into_iter().partition(|peer| is_ours(peer.as_ref()));
        let wanted = others
            .into_iter()
            .filter(|peer| is_wanted(peer.as_ref(), wanted));
        let others: Vec<_> = wanted.collect();
        let is_compared = |peer: &dyn Peer| {
            let work = peer.profile().work;
            others.iter().any(|other| other.profile().work == work)
        };
        let ours = ours.into_iter().filter(|peer| is_compared(peer.as_ref()));
        for peer in ours.collect::<Vec<_>>().into_iter().chain(others) {
            self.admit(peer);
        }
    }

    fn admit(&mut self, peer: Box<dyn Peer>) {
        match peer.versions() {
            Ok(versions) => {
                for (name, version) in versions {
                    self.results.version(name, version);
                }
                self.peers.push(peer);
            }
            Err(missing) => {
                let name = peer.profile().to_string();
                self.results.skip(name, missing.to_string());
            }
        }
    }

    /// Who takes part.
    pub fn peers(&self) -> &[Box<dyn Peer>] {
        &self.peers
    }

    /// Where subjects may put their files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Set when the run is to end.
    pub fn end(&self) -> &AtomicBool {
        &self.end
    }

    /// Whether it is to end.
    pub fn is_over(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// Everyone in turn.
    pub fn each_peer(&mut self, mut ask: impl FnMut(&mut Self, &dyn Peer)) {
        let peers = std::mem::take(&mut self.peers);
        for peer in &peers {
            ask(self, peer.as_ref());
        }
        self.peers = peers;
    }

    /// Measures and keeps the rows, or why there are none; nothing if the run is over or if `what`
    /// has failed before.
    pub fn take(&mut self, what: String, measure: impl FnOnce(&mut Self) -> io::Result<Vec<Row>>) {
        let has_failed = self.results.skipped.iter().any(|(name, _)| *name == what);
        if self.is_over() || has_failed {
            return;
        }
        match measure(self) {
            Ok(rows) => {
                rows.iter().for_each(tell);
                self.results.rows.extend(rows);
            }
            Err(error) => {
                println!("skipped: {what}: {error}");
                self.results.skip(what, error.to_string());
            }
        }
    }
}

/// One line, so that whoever waits sees that it goes on.
fn tell(row: &Row) {
    let shown = [
        (measure::RATE, "requests/s", Unit::Count),
        (wrapping::RATE_OVER, "against bare", Unit::Share),
        (measure::P99, "p99", Unit::Time),
        (measure::FAILED, "failed", Unit::Count),
        (scale::START, "start", Unit::Time),
        (reload::TIME, "reload", Unit::Time),
        (crash::RECOVERY, "recovery", Unit::Time),
        (scale::STOP, "stop", Unit::Time),
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

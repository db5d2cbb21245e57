//! A subject that runs, a load on it, and the row that both make.
//!
//! Order, because each reading must cover the same time: read the processes' use, start the watch
//! over the machine, run the load, read the use again, ask the watch. The subject ends after that.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::super::load::{Outcome, Pace, Plan, Reuse, Spacing};
use super::super::super::machine::Watch;
use super::super::super::report::results::{Moment, Row, measure};
use super::super::super::usage::Usage;
use super::super::herd::Herd;
use super::super::{Peer, Place};

/// How long a subject may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// Who has used less than a tick of CPU time for so long is done with booting.
const REST: Duration = Duration::from_millis(300);

/// How much is measured, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Rounds, in which all subjects take turns.
    pub rounds: u32,
    /// How long requests are counted in a round.
    pub length: Duration,
    /// How long requests are made before they count.
    pub warm_up: Duration,
    /// Workers of every subject.
    pub workers: u32,
    /// Connections at a time.
    pub connections: usize,
    /// Requests a second where the load is not to fill the machine.
    pub rate: f64,
    /// Reloads in a row.
    pub reloads: usize,
    /// Of every random choice.
    pub seed: u64,
}

/// How clients use their connections, in words.
pub fn name_of(reuse: Reuse) -> &'static str {
    match reuse {
        Reuse::Fresh => "fresh",
        Reuse::KeepAlive => "keep-alive",
    }
}

/// A subject that serves.
#[derive(Debug)]
pub struct Trial {
    /// Its processes. They end before their folder does: fields are dropped in this order.
    pub herd: Herd,
    /// Where it is.
    pub place: Place,
    _directory: TempDir,
}

impl Trial {
    /// Starts what `start` starts, in a folder of its own under `within`, and waits until it serves.
    ///
    /// # Errors
    /// If it does not start; with what it said.
    pub fn begin(
        within: &Path,
        workers: u32,
        start: impl FnOnce(&Place) -> io::Result<Herd>,
    ) -> io::Result<Self> {
        let directory = tempfile::tempdir_in(within)?;
        let place = Place {
            address: free_address()?,
            workers,
            directory: directory.path().to_owned(),
        };
        let mut herd = start(&place)?;
        herd.wait_until_it_serves(&place, PATIENCE)?;
        let trial = Self {
            herd,
            place,
            _directory: directory,
        };
        trial.wait_until_it_rests()?;
        Ok(trial)
    }

    /// Waits until its processes use no CPU time any more. The first worker may serve while the
    /// others still boot, and would have all connections of a load that begins then.
    fn wait_until_it_rests(&self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        let (mut used, mut since) = (self.usage()?.cpu(), Instant::now());
        while since.elapsed() < REST && Instant::now() < until {
            thread::sleep(REST / 10);
            let now = self.usage()?.cpu();
            if now != used {
                (used, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// The same, of a peer.
    ///
    /// # Errors
    /// The same.
    pub fn of(peer: &dyn Peer, within: &Path, workers: u32) -> io::Result<Self> {
        Self::begin(within, workers, |place| peer.start(place))
    }

    /// The load of this extent on this subject.
    pub fn plan(&self, extent: &Extent, reuse: Reuse, pace: Pace) -> Plan {
        Plan {
            connections: extent.connections,
            reuse,
            pace,
            warm_up: extent.warm_up,
            length: Some(extent.length),
            time_out: Duration::from_secs(5),
            seed: extent.seed,
            ..Plan::new(self.place.address)
        }
    }

    /// Runs the load and notes in the row how it went and what it took.
    ///
    /// # Errors
    /// If the load cannot start, or `/proc` cannot be read.
    pub fn measure(&self, plan: Plan, mut row: Row) -> io::Result<Row> {
        let warm_up = plan.warm_up;
        let before = self.usage()?;
        let watch = Watch::start()?;
        let length = plan.length.unwrap_or_default();
        let outcome = plan.start()?.stop();
        let used = self.usage()? - before;
        // The generator's own count is of its window: its warm-up costs as much, for its length.
        let whole = (warm_up + length).as_secs_f64() / length.as_secs_f64().max(f64::MIN_POSITIVE);
        let own = used.cpu() + outcome.own_usage.cpu().mul_f64(whole);
        row.measure(measure::FOREIGN, watch.foreign(own)?);
        note_outcome(&mut row, &outcome);
        note_usage(&mut row, used, outcome.answered as f64 * whole);
        note_fairness(&mut row, &outcome, self.place.workers);
        Ok(row)
    }

    /// What all its processes have used until now.
    ///
    /// # Errors
    /// If one of those that were started is gone.
    pub fn usage(&self) -> io::Result<Usage> {
        let mut sum = Usage::default();
        for root in self.herd.roots() {
            sum += Usage::of_tree(root.as_raw().unsigned_abs())?;
        }
        Ok(sum)
    }
}

/// So many requests a second, at random times as many users would make them.
pub fn moderate(extent: &Extent) -> Pace {
    Pace::Open {
        per_second: extent.rate,
        spacing: Spacing::Exponential,
    }
}

/// An address that the kernel says is free.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Rate, latency, failures and the course of it.
pub fn note_outcome(row: &mut Row, outcome: &Outcome) {
    row.measure(measure::RATE, outcome.rate());
    row.measure(measure::ANSWERED, outcome.answered as f64);
    row.measure(measure::FAILED, outcome.failed() as f64);
    for (failure, count) in &outcome.failures {
        row.measure(format!("failed: {failure}"), *count as f64);
    }
    if !outcome.lateness.is_empty() {
        let late = outcome.lateness.value_at_quantile(0.99);
        row.measure(measure::LATE, late as f64);
    }
    if outcome.answered > 0 {
        note_latency(row, outcome);
    }
    row.timeline = outcome
        .timeline
        .iter()
        .map(|bucket| Moment {
            at: bucket.start.as_secs_f64(),
            answered: bucket.answered,
            failed: bucket.failed,
            p50: bucket.p50 as f64,
            p99: bucket.p99 as f64,
            max: bucket.max as f64,
        })
        .collect();
}

fn note_latency(row: &mut Row, outcome: &Outcome) {
    let at = |quantile: f64| outcome.latency.value_at_quantile(quantile) as f64;
    let named = [
        (measure::P50, 0.5),
        (measure::P90, 0.9),
        (measure::P99, 0.99),
        (measure::P999, 0.999),
    ];
    for (name, quantile) in named {
        row.measure(name, at(quantile));
    }
    // Evenly in nines, as they are drawn, as far as there are requests to tell.
    let quantiles = (0..=40_u32).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 8.0));
    let told = quantiles.filter(|quantile| (1.0 - quantile) * outcome.answered as f64 >= 1.0);
    row.percentiles = told.map(|quantile| (quantile, at(quantile))).collect();
}

fn note_usage(row: &mut Row, used: Usage, answered: f64) {
    row.measure(
        measure::SERVER_CPU,
        used.cpu().as_secs_f64() * 1e6 / answered,
    );
    row.measure(
        measure::SWITCHES,
        (used.voluntary_switches + used.involuntary_switches) as f64 / answered,
    );
    row.measure(measure::RSS, used.rss as f64);
}

fn note_fairness(row: &mut Row, outcome: &Outcome, workers: u32) {
    row.measure(
        measure::REQUEST_FAIRNESS,
        fairness(&outcome.requests_by_worker, workers),
    );
    row.measure(
        measure::CONNECTION_FAIRNESS,
        fairness(&outcome.connections_by_worker, workers),
    );
}

/// The most of one worker over the mean of all, also of those that had nothing.
fn fairness(shares: &BTreeMap<String, u64>, workers: u32) -> f64 {
    let most = shares.values().max().copied().unwrap_or(0) as f64;
    let sum = shares.values().sum::<u64>() as f64;
    most * f64::from(workers) / sum
}

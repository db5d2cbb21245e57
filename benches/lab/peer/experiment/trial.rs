//! A subject that runs, and loads on it.
//!
//! Order, because each reading must cover the same time: read the processes' use, start the watch
//! over the machine, run the load, read the use again, ask the watch. The subject ends after that.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::super::load::{Outcome, Pace, Plan, Reuse};
use super::super::super::machine::Watch;
use super::super::super::note;
use super::super::super::report::results::{Row, measure};
use super::super::super::usage::Usage;
use super::super::process_tree::ProcessTree;
use super::super::{Peer, Place, poll};
use super::extent::{Extent, name_of};

/// Memory of all processes, in bytes; what they share counts once.
pub const MEMORY: &str = "pss_bytes";

/// How long a subject may take to start, to come to rest or to be reloaded.
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// Who uses so little CPU time for so long has nothing to do any more; a hundred idle workers'
/// heartbeats are less.
const REST: Duration = Duration::from_millis(300);
const LITTLE: Duration = Duration::from_millis(15);

/// A subject that serves.
#[derive(Debug)]
pub struct Trial {
    /// Its processes. They end before their folder does: fields are dropped in this order.
    pub process_tree: ProcessTree,
    /// Where it is.
    pub place: Place,
    /// From its start until all its workers had nothing more to do.
    pub started: Duration,
    directory: TempDir,
}

impl Trial {
    /// Starts what `start` starts, in a folder of its own under `within`, and waits until it serves
    /// and has booted.
    ///
    /// # Errors
    /// If it does not start; with what it said.
    pub fn begin(
        within: &Path,
        workers: u32,
        start: impl FnOnce(&Place) -> io::Result<ProcessTree>,
    ) -> io::Result<Self> {
        let directory = tempfile::tempdir_in(within)?;
        let place = Place {
            address: free_address()?,
            workers,
            directory: directory.path().to_owned(),
        };
        let since = Instant::now();
        let mut process_tree = start(&place)?;
        process_tree.wait_until_it_serves(&place, TIMEOUT)?;
        let mut trial = Self {
            process_tree,
            place,
            started: Duration::ZERO,
            directory,
        };
        trial.started = trial.wait_until_it_rests()?.duration_since(since);
        Ok(trial)
    }

    /// The same, of a peer.
    ///
    /// # Errors
    /// The same.
    pub fn of(peer: &dyn Peer, within: &Path, workers: u32) -> io::Result<Self> {
        Self::begin(within, workers, |place| peer.start(place))
    }

    /// Waits until its processes use no CPU time any more, and returns since when. A first worker
    /// may serve while the others still boot, and would have all connections of a load that begins
    /// then.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn wait_until_it_rests(&self) -> io::Result<Instant> {
        let (mut used, mut since) = (self.usage()?.cpu(), Instant::now());
        // Who never comes to rest is measured as it is.
        poll::until(TIMEOUT, || {
            let now = self.usage()?.cpu();
            if now.saturating_sub(used) > LITTLE {
                (used, since) = (now, Instant::now());
            }
            Ok((since.elapsed() > REST).then_some(()))
        })?;
        Ok(since)
    }

    /// Ends it; how long it took until no process was left.
    ///
    /// # Errors
    /// If it takes too long.
    pub fn stop(self) -> io::Result<Duration> {
        let took = self.process_tree.stop(TIMEOUT);
        self.directory.close()?;
        took
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

    /// Has it serve as fast as it can for so long, without a warm-up: its connections are there
    /// within milliseconds, and whatever the server does is done for requests that count.
    ///
    /// # Errors
    /// If the load cannot be made.
    pub fn load(&self, reuse: Reuse, extent: &Extent, length: Duration) -> io::Result<Outcome> {
        let plan = Plan {
            warm_up: Duration::ZERO,
            length: Some(length),
            ..self.plan(extent, reuse, Pace::Closed)
        };
        Ok(plan.start()?.stop())
    }

    /// The moderate load, from now on until it is stopped.
    pub fn endless_plan(&self, extent: &Extent, reuse: Reuse) -> Plan {
        Plan {
            warm_up: Duration::ZERO,
            length: None,
            ..self.plan(extent, reuse, extent.moderate())
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
        note::outcome(&mut row, &outcome);
        note::usage(&mut row, used, outcome.answered as f64 * whole);
        note::fairness(&mut row, &outcome, self.place.workers);
        row.measure(MEMORY, self.process_tree.memory() as f64);
        Ok(row)
    }

    /// What all its processes have used until now.
    ///
    /// # Errors
    /// If one of those that were started is gone.
    pub fn usage(&self) -> io::Result<Usage> {
        let mut sum = Usage::default();
        for root in self.process_tree.roots() {
            sum += Usage::of_tree(root.as_raw().unsigned_abs())?;
        }
        Ok(sum)
    }
}

/// An empty row of a subject in one round.
pub fn row_of(experiment: &str, peer: &dyn Peer, reuse: Reuse, round: u32) -> Row {
    let profile = peer.profile();
    Row::new(experiment, profile.name, round)
        .with("server", profile.work)
        .with("connections", name_of(reuse))
}

/// An address that the kernel says is free.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

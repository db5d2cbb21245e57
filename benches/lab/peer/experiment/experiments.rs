//! All experiments by name: who takes part in each, in which order, and how long that takes.

use std::io;
use std::time::Duration;

use clap::ValueEnum;

use super::super::Peer;
use super::super::bare::Bare;
use super::super::run::Run;
use super::extent::{Extent, REUSES, name_of};
use super::{crash, reload, scale, throughput, wrapping};

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Experiment {
    /// Requests per second, latency, CPU, fairness
    Throughput,
    /// Reloads under load
    Reload,
    /// SIGKILL of a worker
    Crash,
    /// One server, wrapped over bare
    Wrapping,
    /// Many workers: start, reload, stop, rest
    Scale,
}

impl Experiment {
    /// Measures everybody, until the run is told to end.
    pub fn measure(self, run: &mut Run) {
        match self {
            Self::Throughput => throughputs(run),
            Self::Reload => reloads(run),
            Self::Crash => crashes(run),
            Self::Wrapping => wrappings(run),
            Self::Scale => scales(run),
        }
    }

    /// The names of its rows: a table each.
    pub fn tables(self) -> &'static [&'static str] {
        match self {
            Self::Throughput => &[throughput::THROUGHPUT, throughput::LATENCY],
            Self::Reload => &[reload::RELOAD],
            Self::Crash => &[crash::CRASH],
            Self::Wrapping => &[wrapping::WRAPPING],
            Self::Scale => &[scale::SCALE],
        }
    }

    /// About how long it takes with so many subjects.
    pub fn estimate(self, extent: &Extent, subjects: usize) -> Duration {
        /// To start a subject until it rests, and to end it.
        const AROUND: Duration = Duration::from_millis(2200);
        /// A reload or a recovery, with the pause before it: the mean of all subjects.
        const REPLACEMENT: Duration = Duration::from_millis(1300);
        /// Of all subjects together, for each worker of the largest.
        const PER_WORKER: Duration = Duration::from_millis(250);
        let times = |time: Duration, count: usize| time.mul_f64(count as f64);
        let rounds = extent.rounds as usize;
        let each_way = subjects * REUSES.len();
        match self {
            Self::Throughput => {
                let load = times(extent.warm_up + extent.length, 2 * REUSES.len());
                times(AROUND + extent.first_load + load, rounds * subjects)
            }
            Self::Reload => {
                let reloads = times(REPLACEMENT, extent.reloads).min(extent.longest);
                times(AROUND + reloads, each_way)
            }
            Self::Crash => times(AROUND + times(REPLACEMENT, extent.kills), each_way),
            Self::Wrapping => {
                let way = times(extent.window, extent.windows) + extent.warm_up;
                let side = AROUND / 2 + times(way, REUSES.len());
                times(side, 3 * Bare::ALL.len() * rounds)
            }
            Self::Scale => {
                let workers: u32 = extent.scales.iter().sum();
                PER_WORKER * workers
            }
        }
    }
}

/// In every round everyone in turn.
fn throughputs(run: &mut Run) {
    for round in 0..run.extent.rounds {
        run.each_peer(|run, peer| {
            let what = format!("throughput, {}", peer.profile());
            run.take(what, |run| {
                throughput::run(peer, round, &run.extent, run.directory())
            });
        });
    }
}

fn reloads(run: &mut Run) {
    for reuse in REUSES {
        run.each_peer(|run, peer| {
            let what = format!("reload, {}, {} connections", peer.profile(), name_of(reuse));
            run.take(what, |run| {
                let row = reload::run(peer, reuse, &run.extent, run.directory(), run.end());
                Ok(vec![row?])
            });
        });
    }
}

fn crashes(run: &mut Run) {
    for reuse in REUSES {
        run.each_peer(|run, peer| {
            let what = format!("crash, {}, {} connections", peer.profile(), name_of(reuse));
            run.take(what, |run| {
                crash::run(peer, reuse, &run.extent, run.directory())
            });
        });
    }
}

fn wrappings(run: &mut Run) {
    for round in 0..run.extent.rounds {
        for server in Bare::ALL {
            let what = format!("wrapping, {}", server.name());
            run.take(what, |run| {
                let (name, version) = server.found().map_err(io::Error::other)?;
                run.results.version(name, version);
                wrapping::run(server, round, &run.extent, run.directory())
            });
        }
    }
}

fn scales(run: &mut Run) {
    for workers in run.extent.scales {
        let measure = |run: &mut Run, peer: &dyn Peer| {
            if !scale::is_asked(peer, *workers) {
                return;
            }
            let what = format!("scale, {}, {workers} workers", peer.profile());
            run.take(what, |run| {
                Ok(vec![scale::run(peer, *workers, run.directory())?])
            });
        };
        measure(run, &scale::SMALL);
        run.each_peer(measure);
    }
}

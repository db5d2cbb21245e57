//! Requests a second with as many connections as fill the machine, and the latency of requests that
//! come as users make them, at a rate that everyone can serve.

use std::io;
use std::path::Path;

use super::super::super::load::Pace;
use super::super::super::report::results::Row;
use super::super::Peer;
use super::extent::{Extent, REUSES};
use super::trial::{Trial, row_of};

/// The experiments' names in the rows.
pub const THROUGHPUT: &str = "throughput";
/// The same.
pub const LATENCY: &str = "latency";

/// Both, of one subject in one round, with fresh connections and with kept ones.
///
/// # Errors
/// If the subject does not start or cannot be measured.
pub fn run(peer: &dyn Peer, round: u32, extent: &Extent, within: &Path) -> io::Result<Vec<Row>> {
    let trial = Trial::of(peer, within, extent.workers)?;
    trial.load(REUSES[0], extent, extent.first_load)?;
    let mut rows = Vec::new();
    for reuse in REUSES {
        for (experiment, pace) in [(THROUGHPUT, Pace::Closed), (LATENCY, extent.moderate())] {
            let row = row_of(experiment, peer, reuse, round);
            rows.push(trial.measure(trial.plan(extent, reuse, pace), row)?);
        }
    }
    Ok(rows)
}

//! Requests a second with as many connections as fill the machine, and the latency of requests that
//! come as users make them, at a rate that everyone can serve.

use std::io;
use std::path::Path;

use super::super::super::load::{Pace, Reuse};
use super::super::super::report::results::Row;
use super::super::Peer;
use super::trial::{Extent, Trial, moderate, name_of};

/// The experiments' names in the rows.
pub const THROUGHPUT: &str = "throughput";
/// The same.
pub const LATENCY: &str = "latency";

/// Both, of one subject in one round.
///
/// # Errors
/// If the subject does not start or cannot be measured.
pub fn run(
    peer: &dyn Peer,
    reuse: Reuse,
    round: u32,
    extent: &Extent,
    within: &Path,
) -> io::Result<Vec<Row>> {
    let trial = Trial::of(peer, within, extent.workers)?;
    let loads = [(THROUGHPUT, Pace::Closed), (LATENCY, moderate(extent))];
    let measured = loads.map(|(experiment, pace)| {
        let row = Row::new(experiment, peer.name(), round)
            .with("server", peer.work())
            .with("connections", name_of(reuse));
        // The course of a load that nothing disturbs is of no interest, and fills the file.
        let without = |row| Row {
            timeline: Vec::new(),
            ..row
        };
        trial
            .measure(trial.plan(extent, reuse, pace), row)
            .map(without)
    });
    measured.into_iter().collect()
}

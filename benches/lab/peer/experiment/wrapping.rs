//! One process of a server with us around it, and without: what wrapping costs its requests.

use std::io;
use std::path::Path;

use super::super::super::load::{Pace, Reuse};
use super::super::super::report::results::Row;
use super::super::bare::Bare;
use super::trial::{Extent, Trial, name_of};

/// The experiment's name in the rows.
pub const WRAPPING: &str = "wrapping";
/// The reference.
pub const BARE: &str = "bare";
/// With us.
pub const WRAPPED: &str = "reuseport-run -n 1";

/// Both of one server in one round, who is first by turns.
///
/// # Errors
/// If the server does not start or cannot be measured.
pub fn run(
    server: Bare,
    reuse: Reuse,
    round: u32,
    extent: &Extent,
    within: &Path,
) -> io::Result<Vec<Row>> {
    let mut order = [(BARE, false), (WRAPPED, true)];
    if round % 2 == 1 {
        order.reverse();
    }
    let measured = order.map(|(name, is_wrapped)| {
        let trial = Trial::begin(within, 1, |place| server.start(place, is_wrapped))?;
        let row = Row::new(WRAPPING, name, round)
            .with("server", server.name())
            .with("connections", name_of(reuse));
        let row = trial.measure(trial.plan(extent, reuse, Pace::Closed), row)?;
        Ok(Row {
            timeline: Vec::new(),
            ..row
        })
    });
    measured.into_iter().collect()
}

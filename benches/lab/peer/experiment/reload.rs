//! Reload after reload under load: what fails, what waits, how long it takes, and what it costs the
//! supervisor.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::super::load::Reuse;
use super::super::super::note;
use super::super::super::report::results::{Moment, Row};
use super::super::super::report::statistics::Spread;
use super::super::Peer;
use super::super::supervisor_cost::SupervisorCost;
use super::extent::Extent;
use super::trial::{Trial, row_of};

/// The experiment's name in the rows.
pub const RELOAD: &str = "reload";
/// From the reload's begin until the old workers are gone and the new ones there: the median, in
/// microseconds.
pub const TIME: &str = "reload_us";
/// How many there were.
pub const RELOADS: &str = "reloads";
/// Requests that failed for each reload.
pub const LOST: &str = "failed_per_reload";
/// How much longer the slow requests took: of each reload the worst tenth of a second's 99th
/// percentile, of these the median, less the median of the quiet ones; in microseconds.
pub const ADDED: &str = "added_p99_us";
/// The longest that any request took, in microseconds.
pub const WORST: &str = "worst_us";
/// CPU time of all processes that do not serve, for each reload, in microseconds.
pub const SUPERVISOR_CPU: &str = "supervisor_cpu_us_per_reload";
/// The most memory that they were seen to have, in bytes.
pub const SUPERVISOR_RSS: &str = "supervisor_rss_bytes";

/// So many there are at least, however long each takes.
const FEWEST: usize = 5;
/// Between reloads, so that each meets a subject at rest.
const REST: Duration = Duration::from_millis(400);

/// All reloads of one subject.
///
/// # Errors
/// If the subject does not start, or a reload fails.
pub fn run(
    peer: &dyn Peer,
    reuse: Reuse,
    extent: &Extent,
    within: &Path,
    stop: &AtomicBool,
) -> io::Result<Row> {
    let mut trial = Trial::of(peer, within, extent.workers)?;
    let mut supervisor_cost = SupervisorCost::open(&trial.process_tree);
    let load = trial.endless_plan(extent, reuse);
    let (began, load) = (Instant::now(), load.start()?);
    let mut marks = Vec::new();
    let mut outcome = Ok(());
    let may_go_on = |done: usize| {
        let has_time = done < FEWEST || began.elapsed() < extent.longest;
        done < extent.reloads && has_time && !stop.load(Ordering::Relaxed)
    };
    while outcome.is_ok() && may_go_on(marks.len()) {
        supervisor_cost.watch(&trial.process_tree, REST);
        let from = began.elapsed();
        outcome = trial.reload(peer, &mut supervisor_cost);
        marks.push((from.as_secs_f64(), began.elapsed().as_secs_f64()));
    }
    supervisor_cost.watch(&trial.process_tree, REST);
    let course = load.stop();
    outcome?;
    let mut row = row_of(RELOAD, peer, reuse, 0);
    note::outcome(&mut row, &course);
    note::course(&mut row, &course);
    row.marks = marks;
    note_reloads(&mut row);
    note_supervisor(&mut row, &supervisor_cost);
    Ok(row)
}

fn note_reloads(row: &mut Row) {
    let times = row.marks.iter().map(|(from, to)| (to - from) * 1e6);
    let times: Vec<f64> = times.collect();
    let failed: u64 = row.timeline.iter().map(|moment| moment.failed).sum();
    row.measure(RELOADS, times.len() as f64);
    row.measure(LOST, failed as f64 / times.len() as f64);
    let slowest = row.timeline.iter().map(|moment| moment.max);
    row.measure(WORST, slowest.fold(0.0, f64::max));
    if let Some(spread) = Spread::of(&times) {
        row.measure(TIME, spread.median);
    }
    let (slow, quiet) = slowest_of_each(row);
    if let (Some(slow), Some(quiet)) = (Spread::of(&slow), Spread::of(&quiet)) {
        row.measure(ADDED, (slow.median - quiet.median).max(0.0));
    }
}

fn note_supervisor(row: &mut Row, supervisor_cost: &SupervisorCost) {
    let reloads = row.marks.len() as f64;
    row.measure(
        SUPERVISOR_CPU,
        supervisor_cost.cpu().as_secs_f64() * 1e6 / reloads,
    );
    row.measure(SUPERVISOR_RSS, supervisor_cost.most_memory() as f64);
}

/// The worst moment's 99th percentile of each reload, and those of the moments in no reload.
fn slowest_of_each(row: &Row) -> (Vec<f64>, Vec<f64>) {
    // A moment lasts a tenth of a second, so the reload may have begun within it.
    let is_in =
        |moment: &Moment, (from, to): (f64, f64)| moment.at + 0.1 > from && moment.at < to + 0.1;
    let answered = || row.timeline.iter().filter(|moment| moment.answered > 0);
    let slow = row.marks.iter().map(|mark| {
        let within = answered().filter(|moment| is_in(moment, *mark));
        within.map(|moment| moment.p99).fold(0.0, f64::max)
    });
    let quiet = answered().filter(|moment| !row.marks.iter().any(|mark| is_in(moment, *mark)));
    (slow.collect(), quiet.map(|moment| moment.p99).collect())
}

//! Reload after reload under load: what fails, what waits, and how long it takes.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::super::load::Reuse;
use super::super::super::report::results::{Moment, Row};
use super::super::super::report::statistics::Spread;
use super::super::Peer;
use super::trial::{Extent, Trial, moderate, name_of, note_outcome};

/// The experiment's name in the rows.
pub const RELOAD: &str = "reload";
/// From the reload's begin until the old workers are gone and the new ones there: the median, in
/// microseconds.
pub const TIME: &str = "reload_us";
/// Requests that failed for each reload.
pub const LOST: &str = "failed_per_reload";
/// How much longer the slow requests took: of each reload the worst tenth of a second's 99th
/// percentile, of these the median, less the median of the quiet ones; in microseconds.
pub const ADDED: &str = "added_p99_us";
/// The longest that any request took, in microseconds.
pub const WORST: &str = "worst_us";

/// A reload that has not ended by then has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between reloads, so that each meets a subject at rest.
const REST: Duration = Duration::from_millis(500);

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
    let mut plan = trial.plan(extent, reuse, moderate(extent));
    plan.warm_up = Duration::ZERO;
    plan.length = None;
    let (began, load) = (Instant::now(), plan.start()?);
    let mut marks = Vec::new();
    let mut outcome = Ok(());
    while outcome.is_ok() && marks.len() < extent.reloads && !stop.load(Ordering::Relaxed) {
        thread::sleep(REST);
        let from = began.elapsed();
        outcome = reload(peer, &mut trial);
        marks.push((from.as_secs_f64(), began.elapsed().as_secs_f64()));
    }
    thread::sleep(REST);
    let course = load.stop();
    outcome?;
    let row = Row::new(RELOAD, peer.name(), 0);
    let mut row = row
        .with("server", peer.work())
        .with("connections", name_of(reuse));
    note_outcome(&mut row, &course);
    row.marks = marks;
    note_reloads(&mut row);
    Ok(row)
}

fn reload(peer: &dyn Peer, trial: &mut Trial) -> io::Result<()> {
    let old = trial.herd.workers();
    peer.reload(&mut trial.herd, &trial.place)?;
    let workers = usize::try_from(trial.place.workers).unwrap_or(usize::MAX);
    trial
        .herd
        .wait_until_replaced(&old, workers, PATIENCE)
        .map(drop)
}

fn note_reloads(row: &mut Row) {
    let times: Vec<f64> = row
        .marks
        .iter()
        .map(|(from, to)| (to - from) * 1e6)
        .collect();
    let failed: u64 = row.timeline.iter().map(|moment| moment.failed).sum();
    row.measure(LOST, failed as f64 / times.len() as f64);
    let worst = row
        .timeline
        .iter()
        .map(|moment| moment.max)
        .fold(0.0, f64::max);
    row.measure(WORST, worst);
    if let Some(spread) = Spread::of(&times) {
        row.measure(TIME, spread.median);
    }
    let (slow, quiet) = slowest(row);
    if let (Some(slow), Some(quiet)) = (Spread::of(&slow), Spread::of(&quiet)) {
        row.measure(ADDED, (slow.median - quiet.median).max(0.0));
    }
}

/// The worst moment's 99th percentile of each reload, and those of the moments in no reload.
fn slowest(row: &Row) -> (Vec<f64>, Vec<f64>) {
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

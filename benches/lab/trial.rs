//! One measurement: a load on a server for a while, and what both of them used.
//!
//! Order: the load starts and warms up; the clocks are read; the window passes; the clocks are read
//! again, while all processes still live, or what they used would be lost; the load ends.

use std::io;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use super::load::{Plan, Usage};
use super::machine::Watch;
use super::note;
use super::report::results::{Row, measure};

/// Puts the load on the server whose processes descend from `pid`, and notes in `row` what came of
/// it. `workers` is how many share the load when it is shared fairly. None if `is_over` said so
/// meanwhile: an interrupted measurement is none.
///
/// # Errors
/// The load cannot begin, or /proc cannot be read.
pub fn run(
    plan: Plan,
    length: Duration,
    pid: u32,
    workers: u32,
    mut row: Row,
    is_over: impl Fn() -> bool,
) -> io::Result<Option<Row>> {
    let warm_up = plan.warm_up;
    let running = plan.start()?;
    if !pass(warm_up, &is_over) {
        return Ok(None);
    }
    let watch = Watch::start()?;
    let before = Reading::take(pid)?;
    if !pass(length, &is_over) {
        return Ok(None);
    }
    let used = Reading::take(pid)?.since(before);
    let foreign = watch.foreign(used.all.cpu())?;
    let outcome = running.stop();
    note::outcome(&mut row, &outcome);
    note::fairness(&mut row, &outcome, workers);
    let answered = outcome.answered as f64;
    note::usage(&mut row, used.server, answered);
    let own = outcome.own_usage.cpu().as_secs_f64() * 1e6;
    row.measure(measure::CLIENT_CPU, own / answered);
    row.measure(measure::FOREIGN, foreign);
    Ok(Some(row))
}

/// Lets time pass; false if it was cut short.
fn pass(length: Duration, is_over: &impl Fn() -> bool) -> bool {
    let end = Instant::now() + length;
    while Instant::now() < end {
        if is_over() {
            return false;
        }
        let left = end.saturating_duration_since(Instant::now());
        thread::sleep(left.min(Duration::from_millis(200)));
    }
    true
}

/// What was used until a moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    server: Usage,
    /// By this process, too, and by all that it has started.
    all: Usage,
}

impl Reading {
    fn take(pid: u32) -> io::Result<Self> {
        Ok(Self {
            server: Usage::of_tree(pid)?,
            all: Usage::of_tree(process::id())?,
        })
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            server: self.server - earlier.server,
            all: self.all - earlier.all,
        }
    }
}

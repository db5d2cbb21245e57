//! One measurement: a load on a server for a while, and what both of them used.
//!
//! Order: the load starts and warms up; the clocks are read; the window passes; the clocks are read
//! again, while all processes still live, or what they used would be lost; the load ends.

use std::io;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use super::load::{Outcome, Plan, Usage};
use super::machine::Watch;
use super::report::results::{Row, measure};

/// Requests over the window's length, whether answered or not: what was asked for.
pub const OFFERED: &str = "offered_per_second";

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
    workers: usize,
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
    note_outcome(&mut row, &outcome, workers);
    note_usage(&mut row, &outcome, used.server);
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

fn note_outcome(row: &mut Row, outcome: &Outcome, workers: usize) {
    let latency = |quantile| outcome.latency.value_at_quantile(quantile) as f64;
    row.measure(measure::RATE, outcome.rate());
    row.measure(measure::ANSWERED, outcome.answered as f64);
    row.measure(measure::FAILED, outcome.failed() as f64);
    let asked = outcome.answered + outcome.failed();
    row.measure(OFFERED, asked as f64 / outcome.elapsed.as_secs_f64());
    if outcome.answered > 0 {
        row.measure(measure::P50, latency(0.5));
        row.measure(measure::P90, latency(0.9));
        row.measure(measure::P99, latency(0.99));
        row.measure(measure::P999, latency(0.999));
        row.percentiles = outcome.percentiles();
    }
    if !outcome.lateness.is_empty() {
        row.measure(
            measure::LATE,
            outcome.lateness.value_at_quantile(0.99) as f64,
        );
    }
    let fairness = |counts: Vec<u64>| max_over_mean(&counts, workers);
    let requests = outcome.requests_by_worker.values().copied().collect();
    let connections = outcome.connections_by_worker.values().copied().collect();
    row.measure(measure::REQUEST_FAIRNESS, fairness(requests));
    row.measure(measure::CONNECTION_FAIRNESS, fairness(connections));
}

fn note_usage(row: &mut Row, outcome: &Outcome, server: Usage) {
    let each = |amount: f64| amount / outcome.answered as f64;
    let micros = |usage: Usage| usage.cpu().as_secs_f64() * 1e6;
    let switches = server.voluntary_switches + server.involuntary_switches;
    row.measure(measure::SERVER_CPU, each(micros(server)));
    row.measure(measure::CLIENT_CPU, each(micros(outcome.own_usage)));
    row.measure(measure::SWITCHES, each(switches as f64));
    row.measure(measure::RSS, server.rss as f64);
}

/// The busiest worker's share over the mean. A worker that got nothing has not said its name, and
/// counts all the same.
fn max_over_mean(counts: &[u64], workers: usize) -> f64 {
    let most = counts.iter().max().copied().unwrap_or(0) as f64;
    let mean = counts.iter().sum::<u64>() as f64 / workers as f64;
    most / mean
}

//! How a load went, as measures of a row.

use std::collections::BTreeMap;

use super::load::Outcome;
use super::report::results::{Moment, Row, measure};
use super::usage::Usage;

/// Rate, latency and failures.
pub fn outcome(row: &mut Row, outcome: &Outcome) {
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
        latency(row, outcome);
    }
}

fn latency(row: &mut Row, outcome: &Outcome) {
    let named = [
        (measure::P50, 0.5),
        (measure::P90, 0.9),
        (measure::P99, 0.99),
        (measure::P999, 0.999),
    ];
    for (name, quantile) in named {
        row.measure(name, outcome.latency.value_at_quantile(quantile) as f64);
    }
    row.percentiles = outcome.percentiles();
}

/// The course of it, by the load's buckets: where nothing disturbs a load it is of no interest, and
/// fills the file.
pub fn course(row: &mut Row, outcome: &Outcome) {
    let moments = outcome.timeline.iter().map(|bucket| Moment {
        at: bucket.start.as_secs_f64(),
        answered: bucket.answered,
        failed: bucket.failed,
        p50: bucket.p50 as f64,
        p99: bucket.p99 as f64,
        max: bucket.max as f64,
    });
    row.timeline = moments.collect();
}

/// What the server's processes used for each of so many answers.
pub fn usage(row: &mut Row, used: Usage, answered: f64) {
    row.measure(
        measure::SERVER_CPU,
        used.cpu().as_secs_f64() * 1e6 / answered,
    );
    let switches = used.voluntary_switches + used.involuntary_switches;
    row.measure(measure::SWITCHES, switches as f64 / answered);
    row.measure(measure::RSS, used.rss as f64);
}

/// How evenly so many workers shared the requests and the connections.
pub fn fairness(row: &mut Row, outcome: &Outcome, workers: u32) {
    let shares = [
        (measure::REQUEST_FAIRNESS, &outcome.requests_by_worker),
        (measure::CONNECTION_FAIRNESS, &outcome.connections_by_worker),
    ];
    for (name, shares) in shares {
        row.measure(name, most_over_mean(shares, workers));
    }
}

/// The most of one worker over the mean of all, also of those that had nothing and so have not told
/// their names.
fn most_over_mean(shares: &BTreeMap<String, u64>, workers: u32) -> f64 {
    let most = shares.values().max().copied().unwrap_or(0) as f64;
    let sum = shares.values().sum::<u64>() as f64;
    most * f64::from(workers) / sum
}

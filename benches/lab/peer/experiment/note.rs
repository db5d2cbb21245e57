//! How a load went, as measures of a row.

use std::collections::BTreeMap;

use super::super::super::load::Outcome;
use super::super::super::report::results::{Moment, Row, measure};
use super::super::super::usage::Usage;

/// Memory of all processes, in bytes; what they share counts once.
pub const MEMORY: &str = "pss_bytes";

/// Rate, latency, failures and the course of it.
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
    row.timeline = outcome
        .timeline
        .iter()
        .map(|bucket| Moment {
            at: bucket.start.as_secs_f64(),
            answered: bucket.answered,
            failed: bucket.failed,
            p50: bucket.p50 as f64,
            p99: bucket.p99 as f64,
            max: bucket.max as f64,
        })
        .collect();
}

fn latency(row: &mut Row, outcome: &Outcome) {
    let at = |quantile: f64| outcome.latency.value_at_quantile(quantile) as f64;
    let named = [
        (measure::P50, 0.5),
        (measure::P90, 0.9),
        (measure::P99, 0.99),
        (measure::P999, 0.999),
    ];
    for (name, quantile) in named {
        row.measure(name, at(quantile));
    }
    // Evenly in nines, as they are drawn, as far as there are requests to tell.
    let quantiles = (0..=40_u32).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 8.0));
    let told = quantiles.filter(|quantile| (1.0 - quantile) * outcome.answered as f64 >= 1.0);
    row.percentiles = told.map(|quantile| (quantile, at(quantile))).collect();
}

/// What the processes used for each of so many answers.
pub fn usage(row: &mut Row, used: Usage, answered: f64) {
    row.measure(
        measure::SERVER_CPU,
        used.cpu().as_secs_f64() * 1e6 / answered,
    );
    row.measure(
        measure::SWITCHES,
        (used.voluntary_switches + used.involuntary_switches) as f64 / answered,
    );
    row.measure(measure::RSS, used.rss as f64);
}

/// How evenly so many workers shared the requests and the connections.
pub fn fairness(row: &mut Row, outcome: &Outcome, workers: u32) {
    row.measure(
        measure::REQUEST_FAIRNESS,
        most_over_mean(&outcome.requests_by_worker, workers),
    );
    row.measure(
        measure::CONNECTION_FAIRNESS,
        most_over_mean(&outcome.connections_by_worker, workers),
    );
}

/// The most of one worker over the mean of all, also of those that had nothing.
fn most_over_mean(shares: &BTreeMap<String, u64>, workers: u32) -> f64 {
    let most = shares.values().max().copied().unwrap_or(0) as f64;
    let sum = shares.values().sum::<u64>() as f64;
    most * f64::from(workers) / sum
}

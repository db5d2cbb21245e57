//! From rows to what plots are drawn of: rounds put together, and a reload cut out of a timeline.

use super::plot::bars::Bar;
use super::plot::curves::Curve;
use super::plot::timeline::Strip;
use super::results::{Moment, Row, distinct};
use super::statistics::Spread;

/// The latency of each subject: at each quantile the median of the rounds that reach it.
pub fn curves(rows: &[&Row]) -> Vec<Curve> {
    let subjects = distinct(rows.iter().map(|row| row.subject.as_str()));
    let curve = |subject: &str| {
        let rounds: Vec<&Row> = rows
            .iter()
            .copied()
            .filter(|row| row.subject == subject)
            .collect();
        Curve {
            name: subject.to_owned(),
            points: medians(&rounds),
        }
    };
    subjects.into_iter().map(curve).collect()
}

fn medians(rounds: &[&Row]) -> Vec<(f64, f64)> {
    let longest = rounds.iter().max_by_key(|row| row.percentiles.len());
    let quantiles = longest.into_iter().flat_map(|row| &row.percentiles);
    let at = |quantile: f64| {
        let points = rounds.iter().flat_map(|row| &row.percentiles);
        let values: Vec<f64> = points
            .filter(|point| point.0 == quantile)
            .map(|point| point.1)
            .collect();
        Spread::of(&values).map(|spread| (quantile, spread.median))
    };
    quantiles
        .filter_map(|(quantile, _)| at(*quantile))
        .collect()
}

/// A measure of each subject, named by `name`; `marked` is the subject to be found at once.
pub fn bars(rows: &[&Row], measure: &str, marked: &str, name: impl Fn(&Row) -> String) -> Vec<Bar> {
    let names = distinct(rows.iter().map(|row| name(row)));
    let bar = |wanted: String| {
        let rounds: Vec<&Row> = rows
            .iter()
            .copied()
            .filter(|row| name(row) == wanted)
            .collect();
        let spread = Spread::of_rows(&rounds, measure)?;
        Some(Bar {
            name: wanted,
            spread,
            is_marked: rounds.iter().any(|row| row.subject == marked),
        })
    };
    names.into_iter().filter_map(bar).collect()
}

/// Seconds that are shown before a mark's begin and after its end.
const BEFORE: f64 = 0.5;
const AFTER: f64 = 1.0;

/// The worst of a row's marks: with the most failures, and of those that have as many with the
/// slowest answer. `None` if the row has no marks.
pub fn worst(row: &Row) -> Option<Strip> {
    let badness = |mark: &(f64, f64)| {
        let moments = around(row, *mark, 0.1);
        let failed: u64 = moments.iter().map(|moment| moment.failed).sum();
        let slowest = moments.iter().map(|moment| moment.max).fold(0.0, f64::max);
        (failed, slowest)
    };
    let worst = row.marks.iter().max_by(|one, other| {
        let ((failed, slowest), (others_failed, others_slowest)) = (badness(one), badness(other));
        failed
            .cmp(&others_failed)
            .then(slowest.total_cmp(&others_slowest))
    });
    let (from, to) = *worst?;
    let cut = around(row, (from, to), AFTER).into_iter();
    let moments = cut.map(|moment| Moment {
        at: moment.at - from,
        ..moment
    });
    Some(Strip {
        name: row.subject.clone(),
        failed_in_all: row.timeline.iter().map(|moment| moment.failed).sum(),
        moments: moments.collect(),
        end: to - from,
    })
}

fn around(row: &Row, (from, to): (f64, f64), after: f64) -> Vec<Moment> {
    let span = from - BEFORE..to + after;
    let moments = row.timeline.iter().copied();
    moments.filter(|moment| span.contains(&moment.at)).collect()
}

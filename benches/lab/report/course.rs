//! From rows to what plots are drawn of: rounds put together, and a reload cut out of a timeline.

use super::plot::bars::Bar;
use super::plot::curves::{Curve, Growth};
use super::plot::timeline::Strip;
use super::results::{Moment, Row, distinct};
use super::statistics::Spread;

/// The latency of each subject: at each quantile the median of the rounds that reach it.
pub fn curves(rows: &[&Row]) -> Vec<Curve> {
    let curve = |(name, rounds): (String, Vec<&Row>)| Curve {
        name,
        points: medians(&rounds),
    };
    by_name(rows, |row| row.subject.clone())
        .map(curve)
        .collect()
}

/// A measure of each subject by the number that `number` finds in a row; rows without one are left
/// out.
pub fn growths(rows: &[&Row], measure: &str, number: impl Fn(&Row) -> Option<u32>) -> Vec<Growth> {
    let growth = |(name, rounds): (String, Vec<&Row>)| {
        let mut numbers = distinct(rounds.iter().filter_map(|row| number(row)));
        numbers.sort_unstable();
        let point = |at: u32| {
            let alike = rounds.iter().copied();
            let alike: Vec<&Row> = alike.filter(|row| number(row) == Some(at)).collect();
            Some((at, Spread::of_rows(&alike, measure)?))
        };
        let points: Vec<_> = numbers.into_iter().filter_map(point).collect();
        (!points.is_empty()).then_some(Growth { name, points })
    };
    by_name(rows, |row| row.subject.clone())
        .filter_map(growth)
        .collect()
}

/// The rows of each name, names in the order in which they came first.
fn by_name<'a>(
    rows: &[&'a Row],
    name: impl Fn(&Row) -> String,
) -> std::vec::IntoIter<(String, Vec<&'a Row>)> {
    let names = distinct(rows.iter().map(|row| name(row)));
    let named = names.into_iter().map(|wanted| {
        let rounds = rows.iter().copied().filter(|row| name(row) == wanted);
        let rounds = rounds.collect();
        (wanted, rounds)
    });
    named.collect::<Vec<_>>().into_iter()
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
    let bar = |(name, rounds): (String, Vec<&Row>)| {
        Some(Bar {
            name,
            spread: Spread::of_rows(&rounds, measure)?,
            is_marked: rounds.iter().any(|row| row.subject == marked),
        })
    };
    by_name(rows, name).filter_map(bar).collect()
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

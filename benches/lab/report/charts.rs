//! The pictures that more than one report has, from rows to SVG.
//!
//! None is made of rows in which there is nothing to be seen: an interrupted run has a report too.

use std::io;

use super::course;
use super::page::Picture;
use super::plot::bars::bars;
use super::plot::curves::{by_number, latency};
use super::plot::sheet::Heading;
use super::results::{Row, measure};
use super::unit::Unit;

/// Latency by percentile, a line for each subject.
///
/// # Errors
/// If the drawing fails.
pub fn percentiles(file: String, title: &str, rows: &[&Row]) -> io::Result<Option<Picture>> {
    let curves = course::curves(rows);
    if curves.iter().all(|curve| curve.points.is_empty()) {
        return Ok(None);
    }
    let heading = Heading {
        title,
        subtitle: "from when a request was due to the end of its answer; lower is better; both axes logarithmic",
    };
    Ok(Some(framed(file, heading, latency(heading, &curves)?)))
}

/// The busiest worker's requests over the mean, a bar for each name; `marked` is the subject to be
/// found at once.
///
/// # Errors
/// If the drawing fails.
pub fn fairness(
    file: String,
    heading: Heading,
    rows: &[&Row],
    marked: &str,
    name: impl Fn(&Row) -> String,
) -> io::Result<Option<Picture>> {
    let all = course::bars(rows, measure::REQUEST_FAIRNESS, marked, name);
    if all.is_empty() {
        return Ok(None);
    }
    let svg = bars(heading, Unit::Ratio, Some((1.0, "even")), &all)?;
    Ok(Some(framed(file, heading, svg)))
}

/// What is measured by a number that was set, and how that is found in a row.
#[derive(Clone, Copy, Debug)]
pub struct By<N> {
    /// What is measured: its name in the rows.
    pub measure: &'static str,
    /// How it is written.
    pub unit: Unit,
    /// What the number is called.
    pub what: &'static str,
    /// The number of a row, if it has one.
    pub number: N,
}

/// A measure by a number, a line for each subject. One number alone is a table's matter.
///
/// # Errors
/// If the drawing fails.
pub fn growth(
    file: String,
    heading: Heading,
    rows: &[&Row],
    by: By<impl Fn(&Row) -> Option<u32>>,
) -> io::Result<Option<Picture>> {
    let growths = course::growths(rows, by.measure, by.number);
    if growths.iter().all(|growth| growth.points.len() < 2) {
        return Ok(None);
    }
    let svg = by_number(heading, by.unit, by.what, &growths)?;
    Ok(Some(framed(file, heading, svg)))
}

fn framed(file: String, heading: Heading, svg: String) -> Picture {
    Picture {
        file,
        description: heading.title.to_owned(),
        svg,
    }
}

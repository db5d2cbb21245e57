//! Lines with their names at their ends: latency by percentile, and a measure by a number that was set.

use std::io;

use plotters::element::{Circle, PathElement};
use plotters::series::LineSeries;
use plotters::style::{Color, ShapeStyle};

use super::super::statistics::Spread;
use super::super::unit::Unit;
use super::axis::{Axis, Scale};
use super::frame::{Chart, Room, frame, pixel, width};
use super::sheet::{Area, Heading, Label, colour, draw, failed, name_lines};

/// The latency of one subject.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Who it is.
    pub name: String,
    /// Quantile from 0 to 1, and microseconds.
    pub points: Vec<(f64, f64)>,
}

/// A measure of one subject, by a number that was set, such as that of workers.
#[derive(Clone, Debug)]
pub struct Growth {
    /// Who it is.
    pub name: String,
    /// The number, and what was measured with it.
    pub points: Vec<(u32, Spread)>,
}

const SIZE: (u32, u32) = (920, 460);
const RIGHT: u32 = 210;
const ROOM: Room = Room {
    top: 6,
    right: RIGHT,
    bottom: 46,
    left: 74,
};
/// Nobody measures more than five nines in a minute.
const MOST_NINES: f64 = 5.0;

/// Latency by percentile: every further nine has the same room, because the slow requests are what
/// is to be seen.
///
/// # Errors
/// If there are no points, or the drawing fails.
pub fn latency(heading: Heading, curves: &[Curve]) -> io::Result<String> {
    let values = curves.iter().flat_map(|curve| &curve.points);
    let values: Vec<f64> = values
        .map(|(_, value)| *value)
        .filter(|value| *value > 0.0)
        .collect();
    let spread =
        Spread::of(&values).ok_or_else(|| io::Error::other("there is no latency to be drawn"))?;
    let y = Axis::decades(spread.min, spread.max, Unit::Time, "");
    let lines: Vec<_> = curves
        .iter()
        .map(|curve| places(&curve.points, y.scale))
        .collect();
    let nines = lines
        .iter()
        .flatten()
        .map(|(nines, _)| *nines)
        .fold(1.0, f64::max);
    let x = Axis::nines(nines, "share of requests that were at least this fast");
    draw(heading, SIZE, |area| {
        let mut chart = frame(area, ROOM, &x, &y)?;
        for (at, line) in lines.iter().enumerate() {
            let series = LineSeries::new(line.iter().copied(), stroke(at));
            chart.draw_series(series).map_err(failed)?;
        }
        let ends = curves.iter().zip(&lines);
        let ends: Vec<_> = ends
            .map(|(curve, line)| (&curve.name, line.last().copied()))
            .collect();
        name_ends(area, &chart, &ends)
    })
}

fn places(points: &[(f64, f64)], scale: Scale) -> Vec<(f64, f64)> {
    let points = points.iter().filter(|(_, value)| *value > 0.0);
    let places =
        points.map(|(quantile, value)| (Scale::Nines.place(*quantile), scale.place(*value)));
    places.filter(|(nines, _)| *nines <= MOST_NINES).collect()
}

/// A measure by a number that `what` names, with whiskers from the least to the most.
///
/// # Errors
/// If the drawing fails.
pub fn by_number(
    heading: Heading,
    unit: Unit,
    what: &'static str,
    growths: &[Growth],
) -> io::Result<String> {
    let points = || growths.iter().flat_map(|growth| &growth.points);
    let numbers: Vec<f64> = points().map(|(number, _)| f64::from(*number)).collect();
    let most = points().map(|(_, spread)| spread.max).fold(0.0, f64::max);
    let (x, y) = (
        Axis::doublings(&numbers, what),
        Axis::from_zero(most, unit, ""),
    );
    draw(heading, SIZE, |area| {
        let mut chart = frame(area, ROOM, &x, &y)?;
        let mut ends = Vec::new();
        for (at, growth) in growths.iter().enumerate() {
            ends.push((&growth.name, grow(&mut chart, at, growth)?));
        }
        name_ends(area, &chart, &ends)
    })
}

/// Draws one subject; returns where its line ends.
fn grow(chart: &mut Chart, at: usize, growth: &Growth) -> io::Result<Option<(f64, f64)>> {
    let points = growth.points.iter();
    let points =
        points.map(|(number, spread)| (Scale::Doublings.place(f64::from(*number)), spread));
    let mut medians = points.clone().map(|(x, spread)| (x, spread.median));
    let whiskers = points
        .map(|(x, spread)| PathElement::new(vec![(x, spread.min), (x, spread.max)], thin(at)));
    chart.draw_series(whiskers).map_err(failed)?;
    let dots = medians
        .clone()
        .map(|point| Circle::new(point, 3, colour(at).filled()));
    chart.draw_series(dots).map_err(failed)?;
    chart
        .draw_series(LineSeries::new(medians.clone(), stroke(at)))
        .map_err(failed)?;
    Ok(medians.next_back())
}

fn stroke(at: usize) -> ShapeStyle {
    colour(at).stroke_width(2)
}

fn thin(at: usize) -> ShapeStyle {
    colour(at).mix(0.5).stroke_width(2)
}

/// Names the lines that have an end.
fn name_ends(area: &Area, chart: &Chart, ends: &[(&String, Option<(f64, f64)>)]) -> io::Result<()> {
    let labels = ends.iter().enumerate().filter_map(|(at, (name, end))| {
        Some(Label {
            text: (*name).clone(),
            colour: colour(at),
            end: pixel(chart, area, (*end)?),
        })
    });
    let right = width(area) - i32::try_from(RIGHT).unwrap_or(0);
    name_lines(area, labels.collect(), right + 26)
}

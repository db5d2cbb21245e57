//! What a reload did: latency and failures by tenths of a second, a strip for each subject.
//!
//! All strips have the same axes, so that they can be compared by eye, and time begins with the
//! reload. What failed is drawn as red bars from the strip's foot, the higher the more; how many there
//! were stands above the strip.

use std::io;

use plotters::element::{PathElement, Rectangle};
use plotters::series::{AreaSeries, LineSeries};
use plotters::style::Color;
use plotters::style::text_anchor::HPos;

use super::super::results::Moment;
use super::super::statistics::Spread;
use super::super::unit::Unit;
use super::axis::{Axis, Scale};
use super::frame::{Chart, Room, frame};
use super::sheet::{ALARM, Area, FAINT, GRID, Heading, INK, colour, draw, failed, write};

/// One subject's course, its times counted from the begin of the reload.
#[derive(Clone, Debug)]
pub struct Strip {
    /// Who it is.
    pub name: String,
    /// What happened; `at` is negative before the reload.
    pub moments: Vec<Moment>,
    /// When the reload was done, in seconds after its begin.
    pub end: f64,
    /// Requests that failed in the whole run: in the other reloads, and those that timed out when
    /// what is shown was over.
    pub failed_in_all: u64,
}

const WIDTH: u32 = 920;
const STRIP: u32 = 132;
/// The last strip has the axis below.
const FOOT: u32 = 44;
const ROOM: Room = Room {
    top: 26,
    right: 24,
    bottom: 0,
    left: 74,
};

/// All strips, one below the other.
///
/// # Errors
/// If nothing was answered in any, or the drawing fails.
pub fn timeline(heading: Heading, strips: &[Strip]) -> io::Result<String> {
    let (x, y) = axes(strips)?;
    let most_failed = strips
        .iter()
        .flat_map(|strip| &strip.moments)
        .map(|moment| moment.failed)
        .max();
    let count = u32::try_from(strips.len()).unwrap_or(1);
    draw(heading, (WIDTH, 76 + count * STRIP + FOOT), |area| {
        let mut rest = area.clone();
        for (at, strip) in strips.iter().enumerate() {
            let is_last = at + 1 == strips.len();
            let foot = if is_last { FOOT } else { 0 };
            let (here, below) = rest.split_vertically(STRIP + foot);
            rest = below;
            let room = Room {
                bottom: foot,
                ..ROOM
            };
            draw_strip(
                &here,
                room,
                (&x, &y),
                at,
                strip,
                most_failed.unwrap_or(0).max(1),
            )?;
        }
        Ok(())
    })
}

fn axes(strips: &[Strip]) -> io::Result<(Axis, Axis)> {
    let moments = || strips.iter().flat_map(|strip| &strip.moments);
    let answered = || moments().filter(|moment| moment.p50 > 0.0);
    let latencies: Vec<f64> = answered()
        .flat_map(|moment| [moment.p50, moment.max])
        .collect();
    let times: Vec<f64> = moments().map(|moment| moment.at).collect();
    let nothing = || io::Error::other("there is no timeline to be drawn: nothing was answered");
    let latency = Spread::of(&latencies).ok_or_else(nothing)?;
    let time = Spread::of(&times).ok_or_else(nothing)?;
    let mut x = Axis::from_zero(time.max, Unit::Count, "seconds since the reload began");
    x.range = time.min..time.max;
    x.ticks.extend((1..=4_u8).map(|second| -f64::from(second)));
    x.ticks.retain(|tick| x.range.contains(tick));
    Ok((x, Axis::decades(latency.min, latency.max, Unit::Time, "")))
}

fn draw_strip(
    area: &Area,
    room: Room,
    (x, y): (&Axis, &Axis),
    at: usize,
    strip: &Strip,
    most_failed: u64,
) -> io::Result<()> {
    let mut chart = frame(area, room, x, y)?;
    let span = [
        (0.0, y.range.start),
        (strip.end.min(x.range.end), y.range.end),
    ];
    chart
        .draw_series([Rectangle::new(span, GRID.mix(0.45).filled())])
        .map_err(failed)?;
    failures(&mut chart, y, strip, most_failed)?;
    latencies(&mut chart, y, at, strip)?;
    let begin = PathElement::new(
        vec![(0.0, y.range.start), (0.0, y.range.end)],
        FAINT.stroke_width(1),
    );
    chart.draw_series([begin]).map_err(failed)?;
    name(area, strip)
}

/// From the median to the slowest as a band, and the 99th percentile as a line.
fn latencies(chart: &mut Chart, y: &Axis, at: usize, strip: &Strip) -> io::Result<()> {
    let scale = Scale::Decades(Unit::Time);
    let of = |value: fn(&Moment) -> f64| {
        let answered = strip.moments.iter().filter(|moment| moment.p50 > 0.0);
        answered.map(move |moment| (moment.at, scale.place(value(moment))))
    };
    let band = AreaSeries::new(of(|moment| moment.max), y.range.start, colour(at).mix(0.16));
    chart.draw_series(band).map_err(failed)?;
    let worst = LineSeries::new(of(|moment| moment.p99), colour(at).stroke_width(2));
    chart.draw_series(worst).map_err(failed)?;
    let median = LineSeries::new(of(|moment| moment.p50), colour(at).mix(0.6).stroke_width(1));
    chart.draw_series(median).map_err(failed)?;
    Ok(())
}

fn failures(chart: &mut Chart, y: &Axis, strip: &Strip, most: u64) -> io::Result<()> {
    let height = y.range.end - y.range.start;
    let failing = strip.moments.iter().filter(|moment| moment.failed > 0);
    let bars = failing.map(|moment| {
        // One request among thousands must be seen as well.
        let share = (0.45 * moment.failed as f64 / most as f64).max(0.05);
        let top = y.range.start + height * share;
        Rectangle::new(
            [(moment.at + 0.01, y.range.start), (moment.at + 0.09, top)],
            ALARM.filled(),
        )
    });
    chart.draw_series(bars).map_err(failed)?;
    Ok(())
}

fn name(area: &Area, strip: &Strip) -> io::Result<()> {
    let here: u64 = strip.moments.iter().map(|moment| moment.failed).sum();
    let (words, colour) = match strip.failed_in_all {
        0 => ("no request failed in any reload".to_owned(), FAINT),
        all => (format!("{here} failed here, {all} in all reloads"), ALARM),
    };
    write(area, &strip.name, (76, 14), 14, INK, HPos::Left)?;
    let took = format!(
        "{words}; this one took {}",
        Unit::Time.write(strip.end * 1e6)
    );
    write(area, &took, (896, 14), 13, colour, HPos::Right)
}

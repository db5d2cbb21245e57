//! One bar a subject, with its number beside it and a line where the ideal is.

use std::io;

use plotters::element::{PathElement, Rectangle};
use plotters::style::Color;
use plotters::style::text_anchor::HPos;

use super::super::statistics::Spread;
use super::super::unit::Unit;
use super::sheet::{Area, FAINT, Heading, INK, MUTED, colour, draw, failed, write};

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Who it is.
    pub name: String,
    /// What was measured.
    pub spread: Spread,
    /// Whether it is the one to be found at once.
    pub is_marked: bool,
}

const WIDTH: u32 = 920;
/// From the sheet's edge to where the bars begin, and from where the longest ends.
const LEFT: i32 = 220;
const MAX_BAR_WIDTH: i32 = 500;
/// From one bar to the next, and how thick it is, in pixels.
const STEP: i32 = 32;
const THICK: i32 = 16;

/// Bars from zero. `ideal` is where a line says what would be best, such as 1 for fairness.
///
/// # Errors
/// If the drawing fails.
pub fn bars(
    heading: Heading,
    unit: Unit,
    ideal: Option<(f64, &str)>,
    bars: &[Bar],
) -> io::Result<String> {
    let ideal_value = ideal.map_or(0.0, |(value, _)| value);
    let most = bars
        .iter()
        .map(|bar| bar.spread.max)
        .fold(ideal_value, f64::max);
    let scale =
        |value: f64| LEFT + rounded(value / most.max(f64::MIN_POSITIVE) * f64::from(MAX_BAR_WIDTH));
    let count = i32::try_from(bars.len()).unwrap_or(i32::MAX / STEP);
    let height = u32::try_from(count.saturating_mul(STEP)).unwrap_or(0) + 110;
    draw(heading, (WIDTH, height), |area| {
        for (at, bar) in bars.iter().enumerate() {
            draw_bar(area, at, bar, unit, scale)?;
        }
        ideal.map_or(Ok(()), |(value, name)| {
            draw_ideal(area, scale(value), count * STEP, name)
        })
    })
}

fn draw_bar(
    area: &Area,
    at: usize,
    bar: &Bar,
    unit: Unit,
    scale: impl Fn(f64) -> i32,
) -> io::Result<()> {
    let middle = i32::try_from(at).unwrap_or(0) * STEP + STEP / 2;
    let [least, median, most] = [bar.spread.min, bar.spread.median, bar.spread.max];
    let fill = if bar.is_marked { colour(0) } else { MUTED };
    let (top, bottom) = (middle - THICK / 2, middle + THICK / 2);
    let body = Rectangle::new(
        [(LEFT, top), (scale(median), bottom)],
        fill.mix(0.85).filled(),
    );
    area.draw(&body).map_err(failed)?;
    let whisker = PathElement::new(
        vec![(scale(least), middle), (scale(most), middle)],
        INK.stroke_width(1),
    );
    area.draw(&whisker).map_err(failed)?;
    write(area, &bar.name, (LEFT - 12, middle), 13, INK, HPos::Right)?;
    let number = unit.write(median);
    write(
        area,
        &number,
        (scale(most.max(median)) + 10, middle),
        13,
        INK,
        HPos::Left,
    )
}

fn draw_ideal(area: &Area, x: i32, height: i32, name: &str) -> io::Result<()> {
    let line = PathElement::new(vec![(x, 0), (x, height + 4)], FAINT.stroke_width(1));
    area.draw(&line).map_err(failed)?;
    write(area, name, (x, height + 16), 12, FAINT, HPos::Center)
}

/// A number of pixels; a sheet has fewer than an i32 counts.
fn rounded(pixels: f64) -> i32 {
    pixels.round() as i32
}

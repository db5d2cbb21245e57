//! The frame of a chart: axes, grid, and where a point of it is on the sheet.

use std::io;

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::prelude::{IntoTextStyle, SVGBackend};
use plotters::style::Color;

use super::axis::Axis;
use super::sheet::{Area, FAINT, GRID, failed, style};

/// The one kind of chart there is: axes make their own places.
pub type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Axis, Axis>>;

/// Room around a chart, in pixels.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Above.
    pub top: u32,
    /// For names at the lines' ends.
    pub right: u32,
    /// For the names of the horizontal axis; 0: it has none.
    pub bottom: u32,
    /// For the names of the vertical axis.
    pub left: u32,
}

/// Draws axes and grid; returns the chart to be drawn into.
///
/// # Errors
/// If the drawing fails.
pub fn frame<'a>(area: &Area<'a>, room: Room, x: &Axis, y: &Axis) -> io::Result<Chart<'a>> {
    let mut builder = ChartBuilder::on(area);
    builder.margin_top(room.top).margin_right(room.right);
    builder
        .x_label_area_size(room.bottom)
        .y_label_area_size(room.left);
    let mut chart = builder
        .build_cartesian_2d(x.clone(), y.clone())
        .map_err(failed)?;
    mesh(&mut chart, x, y)?;
    Ok(chart)
}

fn mesh(chart: &mut Chart, x: &Axis, y: &Axis) -> io::Result<()> {
    let names = style(12, FAINT);
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh()
        .bold_line_style(GRID.stroke_width(1))
        .axis_style(GRID.stroke_width(1))
        .label_style(names.clone())
        .axis_desc_style(names.into_text_style(&(1, 1)))
        .x_desc(x.title)
        .y_desc(y.title);
    mesh.draw().map_err(failed)
}

/// Where a point of the chart is, in pixels of the area that the chart is on.
pub fn pixel(chart: &Chart, area: &Area, place: (f64, f64)) -> (i32, i32) {
    let (x, y) = chart.backend_coord(&place);
    let (left, top) = area.get_base_pixel();
    (x - left, y - top)
}

/// The width of an area, in pixels.
pub fn width(area: &Area) -> i32 {
    i32::try_from(area.dim_in_pixel().0).unwrap_or(i32::MAX)
}

//! The sheet that every plot is drawn on: title, colours, names beside the lines.
//!
//! Colours are named once. An SVG that is shown in a page cannot ask the page for its colours, but
//! a style inside it can ask the reader's system: so the ink, the paper and the grid are exchanged
//! by [`dark`] where that is dark. The series keep theirs, which stand out from both.

use std::io;

use plotters::coord::Shift;
use plotters::element::Text;
use plotters::prelude::{
    DrawingArea, DrawingAreaErrorKind, IntoDrawingArea, IntoFont, PathElement, RGBColor, SVGBackend,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, TextStyle};

/// What is drawn on.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Letters and numbers.
pub const INK: RGBColor = RGBColor(0x1F, 0x23, 0x28);
/// Letters that explain.
pub const FAINT: RGBColor = RGBColor(0x59, 0x63, 0x6E);
/// Lines of the grid.
pub const GRID: RGBColor = RGBColor(0xD8, 0xDE, 0xE4);
const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
/// Who is compared, where only one is to stand out.
pub const MUTED: RGBColor = RGBColor(0x8C, 0x95, 0x9F);
/// What went wrong.
pub const ALARM: RGBColor = RGBColor(0xD1, 0x3B, 0x3B);

/// What each of the colours is where the reader's system is dark.
const AT_NIGHT: [(RGBColor, &str); 4] = [
    (INK, "#E6EDF3"),
    (FAINT, "#9198A1"),
    (GRID, "#30363D"),
    (PAPER, "#0D1117"),
];

/// The first is for the reference, so that it is found at once; contrast is above 3 on both papers.
const SERIES: [RGBColor; 8] = [
    RGBColor(0x2F, 0x81, 0xC9),
    RGBColor(0xCC, 0x77, 0x22),
    RGBColor(0x3D, 0x93, 0x5F),
    RGBColor(0x95, 0x69, 0xC7),
    RGBColor(0xB8, 0x5C, 0x73),
    RGBColor(0x2A, 0x93, 0x93),
    RGBColor(0x8C, 0x80, 0x4A),
    RGBColor(0x7D, 0x86, 0x8F),
];

/// The colour of the series at this place in the order.
pub fn colour(at: usize) -> RGBColor {
    SERIES[at % SERIES.len()]
}

/// What a plot says above itself.
#[derive(Clone, Copy, Debug)]
pub struct Heading<'a> {
    /// What is to be seen, in a sentence.
    pub title: &'a str,
    /// What is shown, its unit, which way is better.
    pub subtitle: &'a str,
}

/// Height of the heading, in pixels.
const HEADING: i32 = 66;

/// Draws under the heading, on a sheet of this size in pixels; returns the SVG.
///
/// # Errors
/// If the drawing fails.
pub fn draw(
    heading: Heading,
    size: (u32, u32),
    content: impl FnOnce(&Area) -> io::Result<()>,
) -> io::Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    area.fill(&PAPER).map_err(failed)?;
    write(&area, heading.title, (20, 24), 18, INK, HPos::Left)?;
    write(&area, heading.subtitle, (20, 47), 13, FAINT, HPos::Left)?;
    content(&area.split_vertically(HEADING).1)?;
    area.present().map_err(failed)?;
    drop(area);
    Ok(dark(&svg, heading.title))
}

/// Writes a line; `at` is the middle of its height.
///
/// # Errors
/// If the drawing fails.
pub fn write(
    area: &Area,
    text: &str,
    at: (i32, i32),
    size: i32,
    colour: RGBColor,
    anchor: HPos,
) -> io::Result<()> {
    let style = style(size, colour).pos(Pos::new(anchor, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style))
        .map_err(failed)
}

/// Letters of this size and colour.
pub fn style(size: i32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour)
}

/// A name that stands beside the end of its line.
#[derive(Clone, Debug)]
pub struct Label {
    /// What it says.
    pub text: String,
    /// The colour of its line.
    pub colour: RGBColor,
    /// Where its line ends, in pixels of the area.
    pub end: (i32, i32),
}

/// Height of a label, in pixels.
const LABEL: i32 = 17;

/// Writes names to the right of where their lines end, moved apart where they would cover each
/// other, with a thread to the line of each that was moved.
///
/// # Errors
/// If the drawing fails.
pub fn name_lines(area: &Area, mut labels: Vec<Label>, right: i32) -> io::Result<()> {
    labels.sort_by_key(|label| label.end.1);
    let wanted: Vec<i32> = labels.iter().map(|label| label.end.1).collect();
    let (_, height) = area.dim_in_pixel();
    let lowest = i32::try_from(height).unwrap_or(i32::MAX) - LABEL / 2;
    for (label, y) in labels.iter().zip(apart(&wanted, lowest)) {
        let thread = vec![label.end, (right - 8, y)];
        let thread = PathElement::new(thread, label.colour.mix(0.5).stroke_width(1));
        area.draw(&thread).map_err(failed)?;
        write(
            area,
            &label.text,
            (right - 4, y),
            13,
            label.colour,
            HPos::Left,
        )?;
    }
    Ok(())
}

/// Heights at least a label apart, from sorted ones: down where there is no room, and all up again
/// if the last would leave the sheet.
fn apart(wanted: &[i32], lowest: i32) -> Vec<i32> {
    let mut placed: Vec<i32> = Vec::with_capacity(wanted.len());
    for y in wanted {
        let least = placed.last().map_or(*y, |last| last + LABEL);
        placed.push((*y).max(least));
    }
    let mut most = lowest;
    for y in placed.iter_mut().rev() {
        *y = (*y).min(most);
        most = *y - LABEL;
    }
    placed
}

/// With a style for dark systems and a name for readers who cannot see it.
fn dark(svg: &str, title: &str) -> String {
    let rules: String = AT_NIGHT
        .iter()
        .map(|(colour, night)| {
            let RGBColor(r, g, b) = colour;
            let day = format!("#{r:02X}{g:02X}{b:02X}");
            format!("[fill=\"{day}\"]{{fill:{night}}}[stroke=\"{day}\"]{{stroke:{night}}}")
        })
        .collect();
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    let style = format!(
        "<title>{title}</title>\n<style>text{{font-family:system-ui,sans-serif}}\
         @media (prefers-color-scheme:dark){{{rules}}}</style>\n"
    );
    match svg
        .find("<svg")
        .and_then(|start| svg[start..].find('>').map(|end| start + end + 1))
    {
        Some(end) => format!("{}\n{style}{}", &svg[..end], svg[end..].trim_start()),
        None => svg.to_owned(),
    }
}

/// A failed drawing, as what a caller expects of writing.
pub fn failed(error: DrawingAreaErrorKind<io::Error>) -> io::Error {
    io::Error::other(format!("the plot could not be drawn: {error}"))
}

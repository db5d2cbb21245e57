//! Text in columns.

use std::fmt::Write as _;

/// A column's title, and to which side its texts go: numbers to the right.
#[derive(Clone, Copy)]
pub(super) struct Column {
    title: &'static str,
    right: bool,
}

impl Column {
    pub(super) const fn left(title: &'static str) -> Self {
        Self {
            title,
            right: false,
        }
    }

    pub(super) const fn right(title: &'static str) -> Self {
        Self { title, right: true }
    }
}

/// Lines of columns that are as wide as what is in them; no line ends in blanks.
pub(super) fn grid(columns: &[Column], rows: Vec<Vec<String>>) -> String {
    let titles = columns
        .iter()
        .map(|column| column.title.to_owned())
        .collect();
    let rows: Vec<Vec<String>> = [titles].into_iter().chain(rows).collect();
    let widths = widths(&rows, columns.len());
    rows.iter().map(|row| line(columns, &widths, row)).collect()
}

fn widths(rows: &[Vec<String>], columns: usize) -> Vec<usize> {
    let width = |row: &Vec<String>, i: usize| row.get(i).map_or(0, |text| text.chars().count());
    (0..columns)
        .map(|i| rows.iter().map(|row| width(row, i)).max().unwrap_or(0))
        .collect()
}

fn line(columns: &[Column], widths: &[usize], row: &[String]) -> String {
    let mut line = String::new();
    for ((column, width), text) in columns.iter().zip(widths).zip(row) {
        // Writing to a string does not fail.
        let _ = match column.right {
            true => write!(line, "{text:>width$}  "),
            false => write!(line, "{text:<width$}  "),
        };
    }
    format!("{}\n", line.trim_end())
}

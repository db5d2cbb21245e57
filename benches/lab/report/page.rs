//! One document of a run: where it was, what was found, what was not measured and why.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use super::results::Results;
use super::statistics::Limits;
use super::summary::Summary;
use super::table::{Table, escape};
use super::unit::Unit;

/// A picture, as SVG.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Its file's name.
    pub file: String,
    /// What is to be seen, for those who cannot see it.
    pub description: String,
    /// The picture.
    pub svg: String,
}

/// What the document says of one experiment.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// Its heading.
    pub title: &'a str,
    /// What was done, in a paragraph.
    pub method: &'a str,
    /// What was found.
    pub table: Table<'a>,
    /// The same to be seen.
    pub pictures: Vec<Picture>,
}

/// Writes `results.json` (every round), `summary.jsonl` (each measure over its rounds), `README.md` and the
/// pictures into `directory`, which is made if it is not there.
///
/// # Errors
/// If it cannot be written.
pub fn publish(
    directory: &Path,
    title: &str,
    results: &Results,
    notes: &str,
    sections: &[Section],
) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    results.write(&directory.join("results.json"))?;
    Summary::of(results).write(&directory.join("summary.jsonl"))?;
    for picture in sections.iter().flat_map(|section| &section.pictures) {
        fs::write(directory.join(&picture.file), &picture.svg)?;
    }
    fs::write(
        directory.join("README.md"),
        document(title, results, notes, sections),
    )
}

fn document(title: &str, results: &Results, notes: &str, sections: &[Section]) -> String {
    let mut text = format!("# {}\n\n{}\n", escape(title), setting(results));
    text.push_str(&contents(sections));
    let _ = writeln!(text, "{notes}");
    for section in sections {
        text.push_str(&of_section(section, results));
    }
    text.push_str(&skipped(results));
    text
}

/// Where each section is.
fn contents(sections: &[Section]) -> String {
    let lines = sections.iter().map(|section| {
        let title = escape(section.title);
        format!("- [{title}](#{})\n", anchor(section.title))
    });
    lines.collect()
}

/// What Markdown's readers make of a heading, to link to it.
fn anchor(title: &str) -> String {
    let is_kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
    let kept: String = title.chars().filter(is_kept).collect();
    kept.to_lowercase().replace(' ', "-")
}

/// The machine, the versions, and what the numbers mean.
pub fn setting(results: &Results) -> String {
    let machine = &results.machine;
    let memory = Unit::Bytes.write(machine.memory as f64);
    let versions: Vec<String> = results
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let Limits { width, foreign } = Limits::default();
    format!(
        "{} · {} cores · {memory} · Linux {} · {} · {} · seed {}\n\n{}\n\n\
         Medians of all rounds, with the least and the most in brackets. A ratio is the median of \
         the ratios of pairs from the same round, without rounds in which others took more than {} \
         of the CPU time. It is refused where its 90 % interval (by the sign test, so of five rounds \
         or more) spans more than a factor of {width}, unless it differs from 1 by a greater one.\n",
        escape(&machine.cpu),
        machine.cores,
        escape(&machine.kernel),
        escape(&machine.system),
        results.date,
        results.seed,
        escape(&versions.join(", ")),
        Unit::Share.write(foreign),
    )
}

fn of_section(section: &Section, results: &Results) -> String {
    let mut text = format!("## {}\n\n{}\n\n", escape(section.title), section.method);
    for picture in &section.pictures {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "![{}]({})\n",
            escape(&picture.description),
            picture.file
        );
    }
    let _ = writeln!(text, "{}", section.table.markdown(results));
    text
}

/// What was not measured, and why; empty if everything was.
pub fn skipped(results: &Results) -> String {
    if results.skipped.is_empty() {
        return String::new();
    }
    let lines = results.skipped.iter();
    let lines: String = lines
        .map(|(what, why)| format!("- {}: {}\n", escape(what), escape(why)))
        .collect();
    format!("## Not measured\n\n{lines}")
}

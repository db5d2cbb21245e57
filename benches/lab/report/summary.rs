//! What of a run is kept for good: each measure of each subject over its rounds, and with what it was
//! measured. The raw rows are a hundred times as long, and are written beside it for who wants to see
//! every round; they are not kept with the source.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::super::machine::Machine;
use super::results::{Results, Row, distinct};
use super::statistics::Spread;

/// The measures of one run, without the single rounds.
pub struct Summary<'a> {
    run: Run<'a>,
    groups: Vec<Group<'a>>,
}

/// Where, when and with what it ran.
#[derive(Serialize)]
struct Run<'a> {
    machine: &'a Machine,
    date: &'a str,
    seed: u64,
    versions: &'a BTreeMap<String, String>,
    skipped: &'a [(String, String)],
}

/// The rounds of one subject in one setting of one experiment.
#[derive(Serialize)]
struct Group<'a> {
    experiment: &'a str,
    subject: &'a str,
    parameters: &'a BTreeMap<String, String>,
    measures: BTreeMap<&'a str, Spread>,
}

impl<'a> Summary<'a> {
    /// Of everything that was measured.
    pub fn of(results: &'a Results) -> Self {
        Self {
            run: Run {
                machine: &results.machine,
                date: &results.date,
                seed: results.seed,
                versions: &results.versions,
                skipped: &results.skipped,
            },
            groups: groups(&results.rows),
        }
    }

    /// Writes it to `path` as JSON lines: the run first, then each group.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string(&self.run)?;
        for group in &self.groups {
            text.push('\n');
            text.push_str(&serde_json::to_string(group)?);
        }
        text.push('\n');
        fs::write(path, text)
    }
}

fn groups(rows: &[Row]) -> Vec<Group<'_>> {
    let keys = distinct(rows.iter().map(key));
    keys.into_iter()
        .map(|(experiment, subject, parameters)| {
            let rounds: Vec<&Row> = rows
                .iter()
                .filter(|row| key(row) == (experiment, subject, parameters))
                .collect();
            Group {
                experiment,
                subject,
                parameters,
                measures: measures(&rounds),
            }
        })
        .collect()
}

fn key(row: &Row) -> (&str, &str, &BTreeMap<String, String>) {
    (&row.experiment, &row.subject, &row.parameters)
}

fn measures<'a>(rounds: &[&'a Row]) -> BTreeMap<&'a str, Spread> {
    let names = rounds.iter().flat_map(|row| row.measures.keys());
    names
        .filter_map(|name| Some((name.as_str(), Spread::of_rows(rounds, name)?)))
        .collect()
}

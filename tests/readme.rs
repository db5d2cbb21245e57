//! The README says the same as the programs.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;

const README: &str = include_str!("../README.md");

fn help(program: &str) -> String {
    let output = Command::new(program).arg("--help").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The long options that a help text explains: lines that begin with one.
fn explained(help: &str) -> BTreeSet<String> {
    let lines = help.lines().map(str::trim_start);
    let options = lines.filter(|line| line.starts_with('-'));
    let long =
        options.filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--")));
    long.map(name).collect()
}

fn name(word: &str) -> String {
    word.trim_end_matches(',')
        .split(['[', '='])
        .next()
        .unwrap()
        .to_owned()
}

/// The rows of the option table: what is in the first and in the last column.
fn table() -> Vec<(String, String)> {
    let rows = README.lines().filter(|line| line.starts_with("| `-"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let words = cells[0].replace('`', " ");
        let long = words
            .split_whitespace()
            .find(|word| word.starts_with("--"))
            .unwrap();
        (name(long), cells.last().unwrap().replace('`', ""))
    })
    .collect()
}

#[test]
fn the_option_table_names_every_option_and_no_other() {
    let in_table: BTreeSet<String> = table().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        in_table,
        explained(&help(env!("CARGO_BIN_EXE_reuseport-run")))
    );
}

#[test]
fn the_option_table_has_the_defaults_of_the_program() {
    let help = help(env!("CARGO_BIN_EXE_reuseport-run"));
    for (name, default) in table().iter().filter(|(_, default)| !default.is_empty()) {
        let from = help
            .find(&format!("  {name}"))
            .or_else(|| help.find(&format!(", {name}")))
            .unwrap();
        let rest = &help[from..];
        let end = rest[2..]
            .find("\n      --")
            .map_or(rest.len(), |end| end + 2);
        let expected = format!("[default: {default}");
        let text = rest[..end].split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            text.contains(&expected),
            "{name}: the table says {default:?}, the program {text:?}"
        );
    }
}

#[test]
fn every_verb_of_the_control_program_is_there() {
    let help = help(env!("CARGO_BIN_EXE_reuseport-ctl"));
    let verbs = help
        .lines()
        .skip_while(|line| *line != "Verbs:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    let mut count = 0;
    for verb in verbs
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
    {
        assert!(
            README.contains(&format!("`{verb}")),
            "{verb} is not in the README"
        );
        count += 1;
    }
    assert!(count >= 5, "only {count} verbs in the help");
}

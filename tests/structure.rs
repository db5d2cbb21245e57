//! The arrows between the parts of the program, and how imports stand: read from the source.
//!
//! The compiler keeps what is private, but not which way dependencies run. Two wings that know each other are
//! one wing with two names.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

/// A wing of the supervisor, and what of the supervisor it may use beside itself.
const WINGS: &[(&str, &[&str])] = &[
    ("output", &["sources"]),
    ("channels", &["sources", "repeated"]),
    ("deployments", &["policy"]),
    ("listeners", &["sources"]),
    ("steering", &["listeners", "workers::probe"]),
    (
        "workers",
        &[
            "sources",
            "repeated",
            "output",
            "listeners",
            "steering",
            "StartError",
        ],
    ),
    (
        "retirement",
        &["sources", "repeated", "listeners", "workers"],
    ),
    ("host", &["retirement", "steering"]),
    (
        "operators",
        &[
            "sources",
            "repeated",
            "deployments",
            "output",
            "listeners",
            "steering",
            "workers",
            "retirement",
            "StartError",
        ],
    ),
];

/// A file of the rescuer, and which others it may use.
const RESCUER: &[(&str, &[&str])] = &[
    ("process", &["peer_names", "rescuer"]),
    ("draining", &["rescuer", "step", "tallies"]),
    ("holding", &["rescuer", "tallies"]),
    (
        "rescuer",
        &[
            "adopted_connections",
            "adoption",
            "backlog",
            "custody",
            "event_source",
            "lifetime",
            "peer_names",
            "retiring_worker",
            "retiring_workers",
            "supervisor_channel",
            "tallies",
        ],
    ),
    ("retiring_workers", &["retiring_worker", "tallies"]),
    (
        "retiring_worker",
        &[
            "client_activity",
            "close_action",
            "custody",
            "interruptions",
            "phase",
            "process_tree",
            "protocols",
            "request_tracker",
            "watched_connection",
            "watched_connections",
        ],
    ),
    (
        "watched_connections",
        &[
            "custody",
            "evidence",
            "process_tree",
            "protocols",
            "readers",
            "watched_connection",
        ],
    ),
    (
        "watched_connection",
        &[
            "connection_state",
            "custody",
            "evidence",
            "lost_reads",
            "protocols",
            "readers",
            "request_tracker",
            "speech",
            "waiting_request",
        ],
    ),
    ("close_action", &["adoption", "request_tracker", "tallies"]),
    (
        "adopted_connections",
        &[
            "adopted",
            "adoption",
            "client",
            "custody",
            "event_source",
            "evidence",
            "hops",
            "peer_names",
            "protocols",
            "relay",
            "routes",
            "step",
            "tallies",
            "timers",
        ],
    ),
    (
        "learning",
        &["adopted", "adopted_connections", "protocols", "tallies"],
    ),
    (
        "adopted",
        &[
            "adoption", "client", "evidence", "relay", "routes", "step", "tallies",
        ],
    ),
    ("adoption", &["relay"]),
    (
        "relay",
        &["client", "peer_names", "routes", "server_connection"],
    ),
    ("client", &["evidence", "request_tracker", "routes"]),
    ("routes", &["peer_names"]),
    ("server_connection", &["peer_names", "routes"]),
    ("lost_reads", &["readers"]),
    (
        "connection_state",
        &["lost_reads", "readers", "request_tracker"],
    ),
    ("speech", &["evidence", "request_tracker"]),
    ("protocols", &["evidence"]),
    ("evidence", &["request_tracker"]),
    ("backlog", &["event_source", "tallies", "timers"]),
    ("supervisor_channel", &["event_source"]),
];

/// Files of the program, by path, with their lines and without their tests.
fn files(under: &str) -> Vec<(String, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    read_folder(root, &root.join(under), &mut found);
    assert!(!found.is_empty(), "nothing is under {under}");
    found
}

fn read_folder(root: &Path, folder: &Path, found: &mut Vec<(String, Vec<String>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_folder(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().take_while(|line| *line != "#[cfg(test)]");
            let path = path.strip_prefix(root).unwrap().display().to_string();
            found.push((path, code.map(str::to_owned).collect()));
        }
    }
}

/// What follows `prefix` in a line of code: the paths that it names.
fn named<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let code = if line.trim_start().starts_with("//") {
        ""
    } else {
        line
    };
    code.match_indices(prefix)
        .map(|(at, _)| &code[at + prefix.len()..])
}

fn is_allowed(path: &str, allowed: &[&str]) -> bool {
    allowed.iter().any(|name| {
        let rest = path.strip_prefix(name);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

fn expect_none(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

/// The wing's name in a path such as `src/supervisor/workers/probe.rs`.
fn wing_of(path: &str) -> Option<&str> {
    let (wing, _) = path.strip_prefix("src/supervisor/")?.split_once('/')?;
    Some(wing)
}

fn wing_breaches(path: &str, lines: &[String]) -> Vec<String> {
    let Some(wing) = wing_of(path) else {
        return Vec::new();
    };
    let (_, allowed) = WINGS
        .iter()
        .find(|(name, _)| *name == wing)
        .unwrap_or_else(|| panic!("{path} is in a wing of which no arrows are known"));
    let is_root = path.ends_with(&format!("/{wing}/mod.rs"));
    let mut breaches = Vec::new();
    for (number, line) in (1..).zip(lines) {
        let by_name = named(line, "crate::supervisor::");
        let by_parent = named(line, "super::").filter(|_| is_root);
        for used in by_name.chain(by_parent) {
            if !is_allowed(used, allowed) && !is_allowed(used, &[wing]) {
                breaches.push(format!("{path}:{number}: {wing} must not know `{used}`"));
            }
        }
    }
    breaches
}

#[test]
fn the_supervisors_wings_know_each_other_one_way() {
    let all = files("src/supervisor");
    let breaches: Vec<String> = all
        .iter()
        .flat_map(|(path, lines)| wing_breaches(path, lines))
        .collect();
    expect_none(&breaches);
}

#[test]
fn the_fleets_parts_do_not_know_its_rules() {
    let mut breaches = Vec::new();
    for (path, lines) in files("src/fleet") {
        let is_part = !path.contains("/rules/") && !path.ends_with("/mod.rs");
        let is_test = path.contains("test") || path.contains("world");
        for (number, line) in (1..).zip(&lines) {
            let knows = named(line, "rules::").next().is_some();
            if is_part && !is_test && knows {
                breaches.push(format!("{path}:{number}: a part must not know the rules"));
            }
        }
    }
    expect_none(&breaches);
}

#[test]
fn the_rescuers_parts_know_each_other_one_way() {
    let mut breaches = Vec::new();
    for (path, lines) in files("src/rescue") {
        let file = Path::new(&path).file_stem().unwrap().to_str().unwrap();
        let known = RESCUER.iter().find(|(name, _)| *name == file);
        let allowed = known.map_or(&[][..], |(_, allowed)| allowed);
        for (number, line) in (1..).zip(&lines) {
            for used in named(line, "super::").filter(|_| file != "mod") {
                if !is_allowed(used, allowed) && !is_allowed(used, &["NAME"]) {
                    breaches.push(format!("{path}:{number}: {file} must not know `{used}`"));
                }
            }
        }
    }
    expect_none(&breaches);
}

/// The three blocks of imports: the standard library, crates, our own.
fn block_of(import: &str) -> usize {
    let path = import.trim_start_matches("pub ");
    let path = path.trim_start_matches("use ");
    let first = path.split([':', ' ', ';']).next().unwrap_or_default();
    match first {
        "std" | "core" | "alloc" => 0,
        "crate" | "super" | "self" => 2,
        _ => 1,
    }
}

/// Formatting keeps each block in order, but not the blocks.
#[test]
fn imports_stand_in_three_blocks() {
    let mut breaches = Vec::new();
    for (path, lines) in files("src") {
        let mut before = 0;
        for (number, line) in (1..).zip(&lines) {
            let is_import = line.starts_with("use ");
            let is_parent = line.starts_with("use super::") || line.starts_with("use crate::");
            let block = if is_parent { 2 } else { block_of(line) };
            // Modules of the same file look like crates; they stand last.
            if is_import && block < before && !(block == 1 && before == 2) {
                breaches.push(format!("{path}:{number}: `{line}` stands below its block"));
            }
            if is_import {
                before = before.max(block);
            }
        }
    }
    expect_none(&breaches);
}

/// A rule that sees nothing keeps nothing.
#[test]
fn the_rules_see_what_they_forbid() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let listeners = "src/supervisor/listeners/mod.rs";
    let forbidden = lines("use super::workers::Workers;\nuse crate::supervisor::steering::Live;");
    assert_eq!(wing_breaches(listeners, &forbidden).len(), 2);
    let allowed = lines("use super::sources::Sources;\n// super::workers");
    assert!(wing_breaches(listeners, &allowed).is_empty());
    assert_eq!(block_of("use std::io;"), 0);
    assert_eq!(block_of("use mio::Token;"), 1);
    assert_eq!(block_of("use crate::fleet::Fleet;"), 2);
}

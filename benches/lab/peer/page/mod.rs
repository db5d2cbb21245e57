//! What came of a run, as a document.
//!
//! - [`columns`]: each experiment's table
//! - [`methods`]: what was done, in words
//! - [`pictures`]: the same to be seen

pub mod columns;
pub mod methods;
pub mod pictures;

use std::io;
use std::path::Path;

use super::super::report::page::{self, Section};
use super::super::report::table::escape;
use super::Peer;
use super::run::Run;

/// Writes the report of what has been found by now.
///
/// # Errors
/// If it cannot be drawn or written.
pub fn publish(run: &Run, output: &Path) -> io::Result<()> {
    let experiments = run.results.experiments().into_iter();
    let methods: Vec<(&str, String)> = experiments
        .map(|name| (name, methods::method(name, &run.extent)))
        .collect();
    let sections = methods.iter().map(|(experiment, method)| {
        Ok(Section {
            title: methods::title(experiment),
            method,
            table: columns::table(experiment),
            pictures: pictures::pictures(&run.results, experiment)?,
        })
    });
    page::publish(
        output,
        "reuseport-run and its peers",
        &run.results,
        &subjects(run.peers()),
        &sections.collect::<io::Result<Vec<_>>>()?,
    )
}

/// Who they are: how each is configured and reloaded.
fn subjects(peers: &[Box<dyn Peer>]) -> String {
    let lines = peers.iter().map(|peer| {
        let profile = peer.profile();
        format!(
            "| {} | {} | {} | {} |\n",
            escape(profile.name),
            profile.work,
            escape(profile.configuration),
            escape(profile.reload)
        )
    });
    let head = "\n| subject | server | configuration | reload |\n| --- | --- | --- | --- |\n";
    head.to_owned() + &lines.collect::<String>()
}

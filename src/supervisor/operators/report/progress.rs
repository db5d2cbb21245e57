//! How far a change has come.

use super::phrase::workers;
use crate::fleet::{ChangeKind, Milestone, Progress};
use crate::wire::control::Reply;

pub(crate) fn progress_sentence(progress: &Progress) -> String {
    let Progress {
        kind, milestone, ..
    } = progress;
    let after = progress.after.as_millis();
    format!("{kind}: {milestone} after {after} ms: {}", detail(progress))
}

pub(crate) fn progress_reply(progress: &Progress) -> Reply {
    Reply::Phase {
        after_ms: u64::try_from(progress.after.as_millis()).unwrap_or(u64::MAX),
        phase: progress.milestone.to_string(),
        detail: detail(progress),
    }
}

fn detail(progress: &Progress) -> String {
    let generation = progress.generation;
    let count = progress.workers;
    let some = workers(count);
    // One worker gets, several get.
    let s = if count == 1 { "s" } else { "" };
    match progress.milestone {
        Milestone::Starting => format!("{some} of generation {generation}"),
        Milestone::Canary => {
            format!("{some} of generation {generation} get{s} a share of the new connections")
        }
        Milestone::Serving if count == 0 => {
            "the remaining workers get all new connections".to_owned()
        }
        Milestone::Serving => {
            format!("{some} of generation {generation} get{s} new connections")
        }
        Milestone::Soaking => {
            let stand = old(count, "stand");
            format!("{count} old {stand} by, until the new ones have proved themselves")
        }
        Milestone::Settling => {
            format!("{count} old {} what is still theirs", old(count, "accept"))
        }
        Milestone::Quiescing => {
            format!("{count} old {} their connections", old(count, "finish"))
        }
        Milestone::Draining if count == 1 => "1 old worker was told to stop".to_owned(),
        Milestone::Draining => format!("{count} old workers were told to stop"),
        Milestone::Gone => "the old workers are gone".to_owned(),
    }
}

/// What a request waits for.
pub(crate) fn wait_sentence(asked: ChangeKind, kind: ChangeKind, milestone: Milestone) -> String {
    format!(
        "a {kind} is in progress ({milestone}); this {asked} begins when that has told its old workers to stop"
    )
}

pub(crate) fn wait_reply(sentence: String) -> Reply {
    Reply::Phase {
        after_ms: 0,
        phase: "waiting".to_owned(),
        detail: sentence,
    }
}

/// The same in short, for the service manager.
pub(crate) fn progress_status(progress: &Progress) -> String {
    format!(
        "{}: {} (generation {})",
        progress.kind, progress.milestone, progress.generation
    )
}

/// `worker accepts`, `workers accept`.
fn old(count: usize, verb: &str) -> String {
    match count {
        1 if verb.ends_with("sh") => format!("worker {verb}es"),
        1 => format!("worker {verb}s"),
        _ => format!("workers {verb}"),
    }
}

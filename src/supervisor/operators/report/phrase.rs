//! Parts of sentences.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use crate::fleet::{Endpoint, Exit, WorkerId};
use crate::supervisor::Supervisor;

impl Supervisor {
    /// A worker, as the log names it.
    pub(crate) fn describe(&self, worker: WorkerId) -> String {
        match self.children.get(worker) {
            Some(child) => format!(
                "worker {worker} (pid {}, generation {}, slot {})",
                child.pid, child.generation, child.slot
            ),
            None => format!("worker {worker}"),
        }
    }

    /// The last lines that a worker wrote, to be appended to a sentence.
    pub(crate) fn last_words(&self, worker: WorkerId) -> String {
        let lines = self.output.last_lines(worker);
        if lines.is_empty() {
            String::new()
        } else {
            format!("; it wrote: {}", lines.join(" | "))
        }
    }

    pub(crate) fn places(&self, worker: WorkerId) -> String {
        let listeners = self.listeners_of(worker);
        let endpoints: Vec<Endpoint> = listeners
            .iter()
            .filter_map(|id| self.groups.endpoint(*id))
            .collect();
        list(&endpoints)
    }
}

pub(crate) fn ended(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(number) => {
            let name = nix::sys::signal::Signal::try_from(*number)
                .map_or("a real-time signal", |signal| signal.as_str());
            format!("was killed by signal {number} ({name})")
        }
        Exit::NotStarted(reason) => reason.clone(),
    }
}

pub(crate) fn list(endpoints: &[Endpoint]) -> String {
    let mut text = String::new();
    for endpoint in endpoints.iter().collect::<BTreeSet<_>>() {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{endpoint}");
    }
    text
}

pub(crate) fn seconds(duration: Duration) -> String {
    humantime::format_duration(Duration::from_millis(
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    ))
    .to_string()
}

//! What was seen of one server.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Of one worker.
    pub(crate) listeners: usize,
    pub(crate) checks: Vec<Check>,
    pub(crate) reloads_ms: Vec<u64>,
    pub(crate) remarks: Vec<String>,
    pub(crate) skipped: Option<String>,
    /// Whose fault it is that something was lost, if it is not ours.
    pub(crate) explained: bool,
}

/// One thing that was done under load.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) failed: u64,
    pub(crate) total: u64,
    /// What may fail: connections that a killed worker had accepted.
    pub(crate) allowed: u64,
    /// Something else went wrong.
    pub(crate) trouble: Option<String>,
    /// The first failures, by class.
    pub(crate) detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Explained,
    Failed,
    Skipped,
}

impl Check {
    pub(crate) fn passed(&self) -> bool {
        self.trouble.is_none() && self.failed <= self.allowed
    }

    /// For the page and the terminal: `0/1234`.
    pub(crate) fn cell(&self) -> String {
        match &self.trouble {
            Some(_) if self.total == 0 => "-".into(),
            _ => format!("{}/{}", self.failed, self.total),
        }
    }

    pub(crate) fn line(&self) -> String {
        let word = if self.passed() { "ok" } else { "FAIL" };
        let mut line = format!("CHECK {:10} | {word:4} | {}", self.name, self.cell());
        if self.allowed > 0 {
            line += &format!(", {} were the killed worker's", self.allowed);
        }
        if !self.detail.is_empty() {
            line += &format!(" | {}", self.detail);
        }
        if let Some(trouble) = &self.trouble {
            line += &format!(" | {}", trouble.trim().replace('\n', " / "));
        }
        line
    }
}

impl Report {
    pub(crate) fn skipped(name: &str, reason: String) -> Self {
        Self {
            name: name.into(),
            skipped: Some(reason),
            ..Self::default()
        }
    }

    pub(crate) fn broken(name: &str, why: String) -> Self {
        let check = Check {
            name: "start".into(),
            trouble: Some(why),
            ..Check::default()
        };
        Self {
            name: name.into(),
            checks: vec![check],
            ..Self::default()
        }
    }

    pub(crate) fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    pub(crate) fn verdict(&self) -> Verdict {
        if self.skipped.is_some() {
            return Verdict::Skipped;
        }
        match self.checks.iter().all(Check::passed) {
            true => Verdict::Passed,
            false if self.explained => Verdict::Explained,
            false => Verdict::Failed,
        }
    }

    pub(crate) fn median_reload_ms(&self) -> Option<u64> {
        let mut all = self.reloads_ms.clone();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    }

    /// The row, for the terminal.
    pub(crate) fn line(&self) -> String {
        let Self { name, version, .. } = self;
        match self.verdict() {
            Verdict::Skipped => format!(
                "skipped: world: {name}: {}",
                self.skipped.as_deref().unwrap_or_default()
            ),
            Verdict::Passed => format!("world: {name} {version}: passed"),
            Verdict::Explained => format!(
                "world: {name} {version}: EXPLAINED: {}",
                self.remarks.join("; ")
            ),
            Verdict::Failed => format!(
                "world: {name} {version}: FAILED {}",
                self.remarks.join("; ")
            ),
        }
    }
}

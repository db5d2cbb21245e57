//! The clients of a check: of one kind, or of both.

use std::time::Duration;

use crate::report::Check;
use crate::rig::control::Trouble;
use crate::rig::load::{Failure, Load, Outcome, Plan};

/// How long the load may take to make progress once.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);

/// Requests of each kind of client that are progress.
const PROGRESS: u64 = 60;

/// One or two loads.
pub(crate) struct Loads(Vec<Load>);

impl Loads {
    pub(crate) fn start(plans: impl IntoIterator<Item = Plan>) -> Result<Self, Trouble> {
        let loads: std::io::Result<Vec<Load>> = plans.into_iter().map(Load::start).collect();
        Ok(Self(loads.map_err(|error| format!("no load: {error}"))?))
    }

    pub(crate) fn progress(&self) -> Result<(), Trouble> {
        for load in &self.0 {
            if !load.wait_answered(PROGRESS, PROGRESS_TIMEOUT) {
                let (answered, failed) = (load.answered(), load.failed());
                return Err(format!(
                    "the load stands still: {answered} requests answered, {failed} failed"
                ));
            }
        }
        Ok(())
    }

    /// How many requests have failed so far, and of how many.
    pub(crate) fn seen(&self) -> (u64, u64) {
        let failed: u64 = self.0.iter().map(Load::failed).sum();
        let answered: u64 = self.0.iter().map(Load::answered).sum();
        (failed, failed + answered)
    }

    pub(crate) fn stop(self) -> Vec<Outcome> {
        self.0.into_iter().map(Load::stop).collect()
    }
}

/// Judges what came of the loads; some classes of failures do not count.
pub(crate) fn count(check: &mut Check, outcomes: &[Outcome], forgiven: &[Failure]) {
    let mut seen = Vec::new();
    for outcome in outcomes {
        check.total += outcome.answered;
        for (&failure, &number) in &outcome.failed {
            if forgiven.contains(&failure) {
                continue;
            }
            check.failed += number;
            check.total += number;
            let first = outcome
                .first
                .iter()
                .find(|setback| setback.failure == failure);
            let detail = first.map_or("", |setback| &setback.detail);
            seen.push(format!("{number} {failure:?}: {detail}"));
        }
    }
    check.detail = seen.join("; ");
}

//! What the end waits for, and how to have it sooner.

use super::Reporter;
use super::phrase::{seconds, workers};
use crate::fleet::{StopProgress, StopWait};
use crate::wire::control::Reply;

impl Reporter<'_> {
    pub(crate) fn stop_sentence(&self, progress: &StopProgress) -> String {
        let count = progress.workers;
        let some = workers(count);
        // One worker serves, several serve.
        let s = if count == 1 { "s" } else { "" };
        match progress.waits_for {
            _ if count == 0 => "no worker is left".to_owned(),
            StopWait::PreStop(left) => format!(
                "{some} serve{s} on for {} (--pre-stop) before the stop signal; {SOONER}",
                seconds(left)
            ),
            StopWait::Drain => format!(
                "{some} finish{} what is under way, each for at most {} after the stop signal; {SOONER}",
                if count == 1 { "es" } else { "" },
                seconds(self.config.drain_timeout)
            ),
            StopWait::Kill if count == 1 => "1 worker is killed".to_owned(),
            StopWait::Kill => format!("{some} are killed"),
        }
    }
}

const SOONER: &str = "INT (Ctrl-C), QUIT or reuseport-ctl stop --now kills them";

/// For the clients that wait.
pub(crate) fn stop_reply(progress: &StopProgress, sentence: &str) -> Reply {
    let phase = match progress.waits_for {
        StopWait::PreStop(_) => "serving",
        StopWait::Drain | StopWait::Kill => "draining",
    };
    Reply::Phase {
        after_ms: u64::try_from(progress.after.as_millis()).unwrap_or(u64::MAX),
        phase: phase.to_owned(),
        detail: sentence.to_owned(),
    }
}

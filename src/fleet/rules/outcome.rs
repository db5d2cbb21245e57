//! What is said of a change whose outgoing workers are on their way, and what became of it when they have gone.

use super::Fleet;
use crate::fleet::retirements::News;
use crate::fleet::vocabulary::*;

impl Fleet {
    /// Says how far outgoing workers have come.
    pub(super) fn report_retirements(&mut self, now: Time) {
        for news in self.retirements.report(now) {
            let effect = match news {
                News::Progress(progress) => Effect::Report(progress),
                News::Over(change) => Effect::Reply {
                    reply_to: change.reply_to,
                    result: self.outcome(change.kind),
                },
            };
            self.effects.push(effect);
        }
    }

    /// What became of a change whose outgoing workers have gone.
    fn outcome(&mut self, kind: ChangeKind) -> ChangeResult {
        let serving = self.workers.serving().map(|_| 1).sum();
        if kind == ChangeKind::Reload && serving == 0 {
            self.tally.reloads = self.tally.reloads.saturating_sub(1);
            self.tally.reloads_failed += 1;
            let failure = match self.is_shutting_down() {
                true => Failure::Stopped,
                false => Failure::NobodyServes,
            };
            let undone = 0;
            return ChangeResult::Failed {
                kind,
                failure,
                undone,
            };
        }
        ChangeResult::Done {
            kind,
            generation: self.generations.serving,
            wanted: self.wanted,
            serving,
        }
    }
}

//! What a change that is under way waits for.

use super::Fleet;
use crate::fleet::change_view::{ChangeView, WaitsFor};
use crate::fleet::rollout::{Proof, Rollout, Step};
use crate::fleet::vocabulary::*;

impl Fleet {
    /// The change that is under way, if there is one.
    pub fn change(&self, now: Time) -> Option<ChangeView> {
        if let Some(since) = self.reading_since() {
            return Some(ChangeView {
                kind: ChangeKind::Reload,
                generation: Generation(self.generations.newest.0 + 1),
                after: now.since(since),
                waits_for: WaitsFor::Deployment,
            });
        }
        let rollout = self.rollout.as_ref();
        let rollout = rollout.map(|it| view_rollout(now, it));
        let soak = || self.view_soak(now);
        rollout.or_else(soak).or_else(|| self.view_retirement(now))
    }

    fn view_soak(&self, now: Time) -> Option<ChangeView> {
        let flipped = self.flipped.as_ref()?;
        let soak = flipped.soak?;
        Some(ChangeView {
            kind: flipped.rollout.kind,
            generation: flipped.rollout.generation,
            after: now.since(flipped.rollout.since),
            waits_for: WaitsFor::Soak(soak.until.since(now)),
        })
    }

    fn view_retirement(&self, now: Time) -> Option<ChangeView> {
        let (change, milestone, workers) = self.retirements.oldest()?;
        Some(ChangeView {
            kind: change.kind,
            generation: change.generation,
            after: now.since(change.since),
            waits_for: WaitsFor::Old(milestone, workers),
        })
    }
}

fn view_rollout(now: Time, rollout: &Rollout) -> ChangeView {
    let batch = &rollout.batch;
    let left = |at: Time| at.since(now);
    let waits_for = match (batch.step, batch.proof) {
        (Step::Trial { until }, _) => WaitsFor::Trial(until.map(left)),
        (Step::Room | Step::Leaving, _) => WaitsFor::Room,
        (Step::Workers, Proof::Due(at)) => WaitsFor::Uptime(left(at)),
        (Step::Workers, Proof::None | Proof::Asked) => {
            WaitsFor::Ready(batch.unready().iter().copied().collect())
        }
    };
    ChangeView {
        kind: rollout.kind,
        generation: rollout.generation,
        after: now.since(rollout.since),
        waits_for,
    }
}

//! What all rules need: whose time has come, the passage from one phase to the next, and who gets new connections then.

use super::Fleet;
use crate::fleet::phase::Phase;
use crate::fleet::vocabulary::*;
use crate::fleet::worker::Worker;

impl Fleet {
    /// The workers about which something is due and whose phase is one of those that `which` knows.
    pub(super) fn due(&self, now: Time, which: impl Fn(&Phase) -> bool) -> Vec<&Worker> {
        let due = self.workers.due(now).into_iter();
        due.filter_map(|id| self.workers.get(id))
            .filter(|worker| which(&worker.phase))
            .collect()
    }

    pub(super) fn set_phase(&mut self, id: WorkerId, phase: Phase) {
        let changed = self.workers.change(id, |worker| {
            worker.phase = phase;
            // Only those that serve are checked.
            let ends_check = !worker.is_serving() && worker.health.rest();
            (worker.phase.milestone(), ends_check)
        });
        let Some((milestone, ends_check)) = changed else {
            return;
        };
        if ends_check {
            self.effects.push(Effect::EndCheck { worker: id });
        }
        if let Some(milestone) = milestone {
            self.retirements.advanced(id, milestone);
        }
    }

    /// Gives new connections to the serving workers' listeners, if these have changed.
    pub(super) fn steer(&mut self) {
        if let Some(live) = self.workers.take_changed_live()
            && self.policy.steering
        {
            let live = self.weights(live);
            self.effects.push(Effect::Steer { live });
            self.drain_rest();
        }
    }
}

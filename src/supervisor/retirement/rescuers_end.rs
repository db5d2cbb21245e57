//! How rescuers end: told to, killed, or not needed any more.

use log::warn;

use super::Surroundings;
use super::rescuers::{Life, Rescuers};
use crate::fleet::RetirementId;
use crate::wire::rescue::Order;

/// How long rescuers may take to end when all is over, in milliseconds.
const END_TIMEOUT_MS: u64 = 500;

impl Rescuers {
    /// Kills a rescuer that hangs.
    pub(super) fn kill(&mut self, retirement: RetirementId) {
        if let Some(rescuer) = self.rescuers.get(&retirement) {
            warn!("rescuer (pid {}) does not answer; killing it", rescuer.pid);
            rescuer.kill();
        }
    }

    /// Tells all to end: nobody is left to pass a request on to.
    pub(super) fn end_all(&mut self) {
        self.life = Life::Ending;
        for rescuer in self.rescuers.values_mut() {
            rescuer.order(
                Order::End {
                    within_ms: END_TIMEOUT_MS,
                },
                Vec::new(),
            );
        }
    }

    /// Ends a rescuer whose workers have need of none: what it holds is theirs.
    pub(super) fn dismiss(&mut self, retirement: RetirementId) {
        if let Some(rescuer) = self.rescuers.get_mut(&retirement) {
            rescuer.unreported.clear();
            rescuer.kill();
        }
    }

    /// Kills those that have not ended when they were told to.
    pub(super) fn kill_all(&mut self, around: &mut Surroundings<'_>) {
        for (_, rescuer) in std::mem::take(&mut self.rescuers) {
            rescuer.close(around.sources);
            rescuer.kill();
        }
    }
}

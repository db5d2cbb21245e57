//! What a retirement is given of the supervisor.

use crate::config::Config;
use crate::fleet::WorkerId;
use crate::supervisor::listeners::Listeners;
use crate::supervisor::sources::Sources;
use crate::supervisor::workers::Workers;

/// The parts of the supervisor that a retirement needs.
pub(in crate::supervisor) struct Surroundings<'a> {
    pub(in crate::supervisor) config: &'a Config,
    pub(in crate::supervisor) sources: &'a mut Sources,
    pub(in crate::supervisor) workers: &'a Workers,
    pub(in crate::supervisor) listeners: &'a mut Listeners,
}

impl Surroundings<'_> {
    /// Whether a worker accepts until its stop signal, and dies of it at once: what it has accepted by then,
    /// nobody finishes.
    pub(super) fn must_be_paused(&self, worker: WorkerId) -> bool {
        let handles_stop = self.workers.handles(worker, self.config.stop_signal);
        !self.config.steering.is_steered() && !handles_stop
    }
}

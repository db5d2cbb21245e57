//! What a retirement is given of the supervisor.

use std::collections::BTreeSet;

use super::measure;
use super::rescuer::connections_of;
use crate::config::Config;
use crate::fleet::WorkerId;
use crate::supervisor::listeners::Listeners;
use crate::supervisor::sources::Sources;
use crate::supervisor::workers::Workers;
use crate::sys::procfs;
use crate::wire::rescue::Descriptor;

/// The parts of the supervisor that a retirement needs.
pub(in crate::supervisor) struct Surroundings<'a> {
    pub(in crate::supervisor) config: &'a Config,
    pub(in crate::supervisor) sources: &'a mut Sources,
    pub(in crate::supervisor) workers: &'a Workers,
    pub(in crate::supervisor) listeners: &'a mut Listeners,
}

impl Surroundings<'_> {
    /// Whether a look may miss connections of a worker: it goes on accepting, or it passes them on from process to
    /// process.
    pub(super) fn may_have_more(&self, worker: WorkerId) -> bool {
        let has_children = |pid| !procfs::children(pid).is_empty();
        !self.config.steering.is_steered() || self.workers.pid(worker).is_some_and(has_children)
    }

    /// Those of the connections `open` that a worker has; where a look may have missed some, none only after two
    /// looks.
    pub(super) fn connections_of(
        &self,
        worker: WorkerId,
        pid: i32,
        open: &BTreeSet<u64>,
    ) -> Vec<Descriptor> {
        match connections_of(pid, open) {
            found if found.is_empty() && self.may_have_more(worker) => {
                connections_of(pid, &measure::established(self.listeners))
            }
            found => found,
        }
    }

    /// Whether a worker accepts until its stop signal, and dies of it at once: what it has accepted by then,
    /// nobody finishes.
    pub(super) fn must_be_paused(&self, worker: WorkerId) -> bool {
        !self.config.steering.is_steered() && !self.workers.handles_stop(worker)
    }
}

//! What a retirement is given of the supervisor.

use crate::config::Config;
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

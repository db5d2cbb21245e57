//! The other workers of a worker's generation, one of which may have the port for itself.
//!
//! A worker that listens past the filter (by io_uring, say) has no `SO_REUSEPORT`, so the others find their port in use, and
//! one of them gives up before that worker is late. What the one that gives up says of it names the wrong cause.

use std::net::SocketAddr;

use super::{Life, WorkerProcess, Workers};
use crate::fleet::WorkerId;

impl Workers {
    /// The other workers of a worker's generation that nobody has told to stop.
    pub(in crate::supervisor) fn siblings(
        &self,
        worker: WorkerId,
    ) -> impl Iterator<Item = WorkerId> {
        let generation_of = |process: &WorkerProcess| process.facts.generation;
        let generation = self.processes.get(&worker).map(generation_of);
        let running = self
            .processes
            .iter()
            .filter(|(_, process)| process.facts.life == Life::Running);
        let siblings = running.filter(move |(id, process)| {
            **id != worker && Some(process.facts.generation) == generation
        });
        siblings.map(|(id, _)| *id)
    }

    /// When a worker gave up, another of its generation listened there, without our having heard of it.
    pub(in crate::supervisor) fn has_unheard_sibling(
        &mut self,
        worker: WorkerId,
        sibling: WorkerId,
        address: SocketAddr,
    ) {
        let sibling = self.describe(sibling);
        if let Some(process) = self.processes.get_mut(&worker) {
            process.facts.unheard_sibling = Some((sibling, address));
        }
    }

    /// The name and the address of a worker that was seen to listen, without our having heard of it, when another of
    /// its generation gave up.
    pub(in crate::supervisor) fn unheard_sibling(
        &self,
        worker: WorkerId,
    ) -> Option<&(String, SocketAddr)> {
        self.processes.get(&worker)?.facts.unheard_sibling.as_ref()
    }
}

//! Which connections a rescuer gets when workers retire.

use std::io;

use log::warn;

use super::{Retirements, Surroundings, measure};
use crate::fleet::{Event, RetirementId, WorkerId};

impl Retirements {
    /// Has a rescuer adopt the connections of these workers. A worker that has none is idle.
    pub(in crate::supervisor) fn adopt_connections(
        &mut self,
        around: &mut Surroundings<'_>,
        retirement: RetirementId,
        workers: &[WorkerId],
    ) {
        let open = measure::established(around.listeners);
        for worker in workers.iter().copied() {
            let Some(pid) = around.workers.pid(worker) else {
                continue;
            };
            let found = around.connections_of(worker, pid, &open);
            // A worker that goes on accepting has a rescuer for what comes until its stop.
            if found.is_empty() && around.config.steering.is_steered() {
                self.events.push(Event::ConnectionsIdle { worker });
                continue;
            }
            match self.rescuers.include(around, retirement, worker) {
                Ok(()) if self.rescuers.take(retirement, worker, pid, found) > 0 => {}
                Ok(()) => self.events.push(Event::ConnectionsIdle { worker }),
                Err(error) => self.cannot_rescue(around, worker, &error),
            }
            // Before the look at the next worker: its rescuer has something to do meanwhile.
            self.flush(around, retirement);
        }
    }

    /// Has a rescuer see to it that nothing new begins on the connections of these workers.
    pub(in crate::supervisor) fn end_connections(
        &mut self,
        around: &mut Surroundings<'_>,
        retirement: RetirementId,
        workers: &[WorkerId],
    ) {
        self.rescuers.succession.ends_with(retirement);
        self.adopt_connections(around, retirement, workers);
    }

    pub(super) fn cannot_rescue(
        &mut self,
        around: &Surroundings<'_>,
        worker: WorkerId,
        error: &io::Error,
    ) {
        let name = around.workers.describe(worker);
        warn!("{name}: its connections cannot be rescued: {error}");
        self.events.push(Event::RescueLost { worker });
    }
}

//! What one worker is asked: whether it is ready, and how it is.

use super::Supervisor;
use super::workers::probe::Asked;
use crate::config::{HealthCheck, Readiness};
use crate::fleet::{Event, Probe, WorkerId};

impl Supervisor {
    pub(super) fn probe(&mut self, probe: &Probe) -> Option<Event> {
        let config = self.workers.config(probe.worker);
        let config = config.unwrap_or(&self.config);
        let path = match &config.ready {
            Readiness::Http(path) => path.as_str(),
            Readiness::Listen | Readiness::Notify | Readiness::Channel => "",
        };
        let host = config.ready_host.as_deref();
        let event = self.probes.probe(
            &mut self.sources,
            &self.workers,
            &self.listeners,
            &*self.steering,
            probe,
            Asked { path, host },
        );
        if let Some(Event::Listened {
            worker, listener, ..
        }) = event
            && let Some(generation) = self.intercepts.uses(worker, listener)
        {
            self.listeners.used_by(listener, worker, generation);
        }
        event
    }

    pub(super) fn check_health(&mut self, probe: &Probe) -> Option<Event> {
        let config = self.workers.config(probe.worker);
        let config = config.unwrap_or(&self.config);
        let path = config.health.as_ref().and_then(HealthCheck::path);
        let asked = Asked {
            path: path.unwrap_or_default(),
            host: config.ready_host.as_deref(),
        };
        let (listeners, steering) = (&self.listeners, &*self.steering);
        self.checks
            .check(&mut self.sources, listeners, steering, probe, asked)
    }

    pub(super) fn explain_late_check(&mut self, worker: WorkerId) -> Event {
        let config = self.workers.config(worker).unwrap_or(&self.config);
        let health = config.health.as_ref();
        let is_asked = health.is_some_and(|health| health.by.is_asked());
        self.checks
            .explain_late(&mut self.sources, &self.workers, worker, is_asked)
    }
}

//! Listeners that a worker was given and does not owe.

use std::collections::BTreeMap;

use super::Fleet;
use super::backlog::with_endpoints;
use crate::fleet::phase::Phase;
use crate::fleet::vocabulary::*;
use crate::fleet::worker::Worker;

impl Fleet {
    /// Closes what the worker before it opened when it was ready, once this one has had its time for that: a connection
    /// that is refused can go elsewhere, one that waits for nobody cannot.
    pub(super) fn check_extras(&mut self, now: Time) {
        let serving = self.due(now, |phase| matches!(phase, Phase::Serving));
        let had_their_time = |it: &&&Worker| it.extras_deadline().is_some_and(|at| at <= now);
        let had_their_time = serving.iter().filter(had_their_time);
        for id in had_their_time.map(|it| it.id).collect::<Vec<_>>() {
            let unused = self.workers.change(id, |worker| {
                let unused: Vec<ListenerId> = worker.unused_extras().collect();
                let unused = unused.into_iter();
                let taken = unused.filter_map(|id| Some((id, worker.listeners.remove(&id)?)));
                taken.collect::<BTreeMap<_, _>>()
            });
            let unused = unused.unwrap_or_default();
            self.drain_unserved(id, with_endpoints(&unused));
            self.release(unused.into_keys());
        }
    }
}

//! What waits in listeners that nobody will accept from: a rescuer accepts it, and passes it on to those who serve at
//! the same address.

use std::collections::{BTreeMap, BTreeSet};

use super::Fleet;
use crate::fleet::listener::Listener;
use crate::fleet::vocabulary::*;

impl Fleet {
    /// Each listener is drained once, when none of its workers has time left to empty it.
    pub(super) fn drain_backlogs_of(&mut self, late: &[WorkerId]) {
        let mut drained = BTreeSet::new();
        for id in late {
            let worker = self.workers.get(*id);
            let mut listeners = worker.map_or_else(Vec::new, |it| with_endpoints(&it.listeners));
            listeners.retain(|(listener, _)| drained.insert(*listener));
            self.drain_unserved(*id, listeners);
        }
    }

    /// Has a rescuer accept what waits in those of these listeners that nobody accepts from, or will, if others serve at
    /// their address: what the rescuer passes on comes to these. Where nobody does, it would come back to the rescuer,
    /// without end; there a client is refused when the listener is closed, and can go elsewhere.
    pub(super) fn drain_unserved(
        &mut self,
        worker: WorkerId,
        listeners: impl IntoIterator<Item = (ListenerId, Endpoint)>,
    ) {
        let mut unserved: Vec<_> = listeners.into_iter().collect();
        unserved.retain(|(listener, _)| !self.is_emptied(*listener));
        if unserved.is_empty() {
            return;
        }
        let served = self.served_endpoints();
        unserved.retain(|(_, endpoint)| served.contains(endpoint));
        let unserved = unserved.into_iter().map(|(listener, _)| listener);
        self.drain_backlog(worker, unserved.collect());
    }

    /// What waits in these listeners will not be accepted by their worker, and others serve at their address.
    pub(super) fn drain_backlog(&mut self, worker: WorkerId, listeners: Vec<ListenerId>) {
        if !self.policy.rescue || self.nobody_follows() || listeners.is_empty() {
            return;
        }
        let retirement = match self.retirements.of(worker) {
            Some(retirement) => retirement,
            None => self.retirements.next_id(),
        };
        self.effects.push(Effect::DrainBacklog {
            retirement,
            worker,
            listeners,
        });
    }

    /// Whether somebody accepts from a listener, or will.
    pub(super) fn is_emptied(&self, listener: ListenerId) -> bool {
        let mut holders = self.workers.holders(listener);
        holders.any(|worker| worker.empties(listener)) || self.empty_slots.will_serve(listener)
    }

    /// Where new connections are accepted, or will be.
    fn served_endpoints(&self) -> BTreeSet<Endpoint> {
        let workers = self.workers.iter();
        let incoming = workers.filter(|it| it.is_between_lives() || !it.has_served());
        let given = incoming.flat_map(|it| it.listeners.values());
        let kept = self.empty_slots.kept();
        let coming = given.chain(kept).map(|listener| listener.endpoint);
        self.workers.live_endpoints().chain(coming).collect()
    }
}

/// Listeners, and where they listen.
pub(super) fn with_endpoints(
    listeners: &BTreeMap<ListenerId, Listener>,
) -> Vec<(ListenerId, Endpoint)> {
    let each = listeners.iter();
    each.map(|(id, listener)| (*id, listener.endpoint))
        .collect()
}

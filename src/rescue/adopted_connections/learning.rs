//! What the bytes of adopted connections show of what their endpoints speak, and what follows for the others.

use std::time::Instant;

use crate::rescue::adopted::AdoptedConnection;
use crate::rescue::adopted_connections::AdoptedConnections;
use crate::rescue::protocols::Protocols;
use crate::rescue::tallies::Tallies;
use crate::wire::rescue::{EndpointProtocol, Protocol};

impl AdoptedConnections {
    /// What each endpoint speaks.
    pub(in crate::rescue) fn protocols(&mut self) -> &mut Protocols {
        &mut self.protocols
    }

    /// What was learnt since the last call.
    pub(in crate::rescue) fn take_learnt(&mut self) -> Vec<EndpointProtocol> {
        std::mem::take(&mut self.learnt)
    }

    pub(super) fn learn(&mut self, now: Instant, tallies: &mut Tallies) {
        for (local, evidence) in std::mem::take(&mut self.heard) {
            if let Some(learnt) = self.protocols.learn(local, evidence) {
                self.learnt(learnt, now, tallies);
            }
        }
    }

    /// More is known of what an endpoint speaks: its idle connections are kept, or closed.
    pub(in crate::rescue) fn learnt(
        &mut self,
        learnt: EndpointProtocol,
        now: Instant,
        tallies: &mut Tallies,
    ) {
        self.learnt.push(learnt);
        let EndpointProtocol { endpoint, protocol } = learnt;
        let is_of = |local| self.protocols.is_of(endpoint, local);
        let concerns = |it: &AdoptedConnection| it.is_idle() && it.local().is_some_and(is_of);
        let concerned = self.connections.iter().filter(|(_, it)| concerns(it));
        let concerned: Vec<u64> = concerned.map(|(id, _)| *id).collect();
        match protocol {
            Protocol::Unknown => {}
            Protocol::Http1 => {
                for id in concerned {
                    if let Some(connection) = self.connections.get_mut(&id) {
                        connection.keep(self.timeouts, now);
                        self.timers.set(id, connection.deadline());
                    }
                }
            }
            Protocol::Opaque => self.close_if_idle(concerned, now, tallies),
        }
    }
}

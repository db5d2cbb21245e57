//! What waits in listeners that nobody accepts from any more goes to a rescuer.

use std::io;
use std::net::SocketAddr;

use log::{info, warn};

use super::Supervisor;
use crate::fleet::{ListenerId, RetirementId, WorkerId};
use crate::wire::rescue::Order;

impl Supervisor {
    /// Has a rescuer accept what waits in a worker's listeners.
    pub(super) fn drain_backlog(
        &mut self,
        retirement: RetirementId,
        worker: WorkerId,
        listeners: &[ListenerId],
    ) {
        let waiting: Vec<ListenerId> = listeners
            .iter()
            .copied()
            .filter(|id| self.pending_on(*id) > 0)
            .collect();
        for listener in &waiting {
            match self.drain_one(retirement, worker, *listener) {
                Ok(address) => info!("{address}: a rescuer accepts what waits for worker {worker}"),
                Err(error) => warn!("what waits for worker {worker} cannot be rescued: {error}"),
            }
        }
        waiting
            .iter()
            .for_each(|listener| self.groups.drained_by_rescuer(*listener));
        let child = self.children.get(worker);
        let has_ended = child.is_none_or(|child| child.has_ended);
        if has_ended && !waiting.is_empty() {
            self.rescue_ended(worker);
        }
    }

    fn drain_one(
        &mut self,
        retirement: RetirementId,
        worker: WorkerId,
        listener: ListenerId,
    ) -> io::Result<SocketAddr> {
        let found = self
            .groups
            .socket(listener)
            .zip(self.groups.endpoint(listener));
        let (socket, endpoint) = found.ok_or(io::ErrorKind::NotFound)?;
        let (socket, address) = (socket.try_clone_to_owned()?, endpoint.address);
        let rescuer = self.rescuer(retirement)?;
        rescuer.include(worker);
        rescuer.order(
            &Order::DrainBacklog {
                worker: worker.0,
                address,
            },
            &[socket],
        )?;
        Ok(address)
    }
}

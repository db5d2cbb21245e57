//! What waits in listeners whose workers will not accept it.

use std::io;
use std::net::SocketAddr;

use log::{info, warn};

use super::rescuers::Rescuers;
use super::{Surroundings, measure};
use crate::fleet::{ListenerId, RetirementId, WorkerId};
use crate::wire::rescue::Order;

/// Has a rescuer accept what waits in a listener of a worker, if anything does.
pub(super) fn drain(
    rescuers: &mut Rescuers,
    around: &mut Surroundings<'_>,
    retirement: RetirementId,
    worker: WorkerId,
    listener: ListenerId,
) {
    if measure::backlog_of(around.listeners, listener) == 0 {
        return;
    }
    match hand_over(rescuers, around, retirement, worker, listener) {
        Ok(address) => info!("{address}: a rescuer accepts what waits for worker {worker}"),
        Err(error) => warn!("what waits for worker {worker} cannot be rescued: {error}"),
    }
}

fn hand_over(
    rescuers: &mut Rescuers,
    around: &mut Surroundings<'_>,
    retirement: RetirementId,
    worker: WorkerId,
    listener: ListenerId,
) -> io::Result<SocketAddr> {
    let found = around.listeners.socket(listener);
    let found = found.zip(around.listeners.endpoint(listener));
    let (socket, endpoint) = found.ok_or(io::ErrorKind::NotFound)?;
    let (socket, address) = (socket.try_clone_to_owned()?, endpoint.address);
    rescuers.include(around, retirement, worker)?;
    let worker = worker.0;
    let order = Order::DrainBacklog { worker, address };
    rescuers.order_with(retirement, order, vec![socket]);
    around.listeners.drained_by_rescuer(listener);
    Ok(address)
}

//! No selection (`--steering none`): every listener of a group gets its share of the new connections,
//! by the kernel's hash.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use log::debug;

use super::fence::Fences;
use super::{Backend, Live};
use crate::fleet::{Endpoint, ListenerId};
use crate::supervisor::listeners::Listeners;
use crate::sys::steering::drop_syns;

#[derive(Debug, Default)]
pub(super) struct Unsteered {
    leaving: BTreeSet<ListenerId>,
}

impl Backend for Unsteered {
    fn joined(&mut self, _: &mut Listeners, _: ListenerId) {}

    fn select(&mut self, _: &mut Listeners, _: &Live) {}

    fn expect_departures(&mut self, _: &mut Listeners, _: &[ListenerId]) {}

    fn reconcile(&mut self, _: &mut Listeners) {}

    /// By a filter on each listener. The kernels that this is the way for permit it to everybody; others want
    /// `CAP_NET_ADMIN`, and what comes is accepted until a listener is seen empty.
    fn keep_out(&mut self, listeners: &mut Listeners) {
        for socket in listeners.sockets() {
            if let Err(error) = drop_syns(&socket) {
                debug!("new connections cannot be kept out of a listener: {error}");
            }
        }
    }

    fn remove(&mut self, listeners: &mut Listeners, id: ListenerId) {
        listeners.withdraw(id);
        self.leaving.insert(id);
    }

    fn proceed(&mut self, listeners: &mut Listeners, _: &mut Fences) {
        for id in std::mem::take(&mut self.leaving) {
            listeners.close(id);
        }
    }

    fn is_removing(&self) -> bool {
        false
    }

    fn chosen(&self, _: &Endpoint, _: SocketAddr) -> Option<ListenerId> {
        None
    }

    fn probe_ports(&self, _: &Listeners, _: ListenerId) -> Vec<u16> {
        vec![0]
    }
}

//! No selection (`--steering none`): every listener of a group gets its share of the new connections,
//! by the kernel's hash.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::fence::Fences;
use super::{Backend, Live};
use crate::fleet::{Endpoint, ListenerId};
use crate::supervisor::listeners::Listeners;

#[derive(Debug, Default)]
pub(super) struct Unsteered {
    leaving: BTreeSet<ListenerId>,
}

impl Backend for Unsteered {
    fn joined(&mut self, _: &Listeners, _: ListenerId) {}

    fn select(&mut self, _: &Listeners, _: &Live) {}

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

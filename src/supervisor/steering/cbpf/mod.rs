//! Steering by classic BPF: a program on each group, which needs no privilege.
//!
//! ```text
//!  Layout ── targets ──► compile ── Program ──► attached to the group by crate::sys::steering
//!  which index is whose  the same choice as `choose`
//! ```
//!
//! The order of events: a listener joins the group when it starts to listen ([`Layout::joined`]); the
//! program is replaced when the set of live listeners changes; listeners are taken out between two
//! programs ([`Layout::removal`]).
//!
//! The hazard: the kernel knows listeners by index only, and moves the last one to the index of one that
//! leaves. A program that is a moment too old sends connections to a listener that nobody accepts from,
//! and an index out of range sends them to any member. So a program names an index only if it is right
//! in every state that the group may be in.
//!
//! `layout`, `program` and `instruction` are pure. [`compile`] and [`choose`](super::spread::choose) are two
//! forms of one decision; an interpreter of the program, and the kernel itself, are held against it by the
//! tests. `group`, `guards` and `removal` perform.

mod group;
mod guards;
mod instruction;
#[cfg(test)]
mod interpreter;
mod layout;
mod program;
mod removal;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use log::debug;

use super::fence::Fences;
use super::probe_rule::probe_ports;
use super::{Backend, Live};
use crate::fleet::{Endpoint, ListenerId};
use crate::supervisor::listeners::Listeners;
use crate::sys::listener;
use crate::sys::steering::{AttachError, attach};
use group::Group;
use instruction::{LOAD, RETURN_A, plain};
pub use layout::{Layout, Removal};
pub use program::{NoTarget, Program, compile};

/// A program on each endpoint's group.
#[derive(Debug, Default)]
pub(super) struct Cbpf {
    groups: BTreeMap<Endpoint, Group>,
    /// What was selected last, over all groups.
    selected: Live,
}

/// Whether this kernel takes a program: one is attached to a listener that nobody knows. Where no listener can be
/// had for that, nothing is known against it.
///
/// # Errors
/// Why it does not.
pub(super) fn attempt() -> Result<(), AttachError> {
    let endpoint = Endpoint {
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        v6_only: false,
    };
    let Ok(listener) = listener::open(&endpoint) else {
        return Ok(());
    };
    attach(&listener, &[plain(LOAD, 0), plain(RETURN_A, 0)])
}

impl Backend for Cbpf {
    fn joined(&mut self, listeners: &mut Listeners, id: ListenerId) {
        let Some(endpoint) = listeners.endpoint(id) else {
            return;
        };
        let group = self
            .groups
            .entry(endpoint)
            .or_insert_with(|| Group::new(endpoint));
        group.joined(listeners, id);
        // One that had been shut down and listens again may be live already.
        if self.selected.contains_key(&id) {
            group.select(listeners, &self.selected);
        }
    }

    fn select(&mut self, listeners: &mut Listeners, live: &Live) {
        self.selected.clone_from(live);
        for group in self.groups.values_mut() {
            group.select(listeners, live);
        }
    }

    fn expect_departures(&mut self, listeners: &mut Listeners, ids: &[ListenerId]) {
        for group in self.groups.values_mut() {
            group.expect_departures(listeners, ids);
        }
    }

    fn keep_out(&mut self, listeners: &mut Listeners) {
        for group in self.groups.values_mut() {
            if let Err(error) = group.keep_out(listeners) {
                let endpoint = group.endpoint;
                debug!("{endpoint}: new connections cannot be kept out: {error}");
            }
        }
    }

    fn reconcile(&mut self, listeners: &mut Listeners) {
        for group in self.groups.values_mut() {
            group.reconcile(listeners);
            group.reattach(listeners);
        }
    }

    fn remove(&mut self, listeners: &mut Listeners, id: ListenerId) {
        listeners.withdraw(id);
        let endpoint = listeners.endpoint(id);
        if let Some(group) = endpoint.and_then(|endpoint| self.groups.get_mut(&endpoint)) {
            group.remove(id);
        }
    }

    fn proceed(&mut self, listeners: &mut Listeners, fences: &mut Fences) {
        for group in self.groups.values_mut() {
            group.proceed(listeners, fences);
        }
        self.groups.retain(|_, group| !group.is_empty());
    }

    fn is_removing(&self) -> bool {
        self.groups.values().any(Group::is_removing)
    }

    fn chosen(&self, endpoint: &Endpoint, source: SocketAddr) -> Option<ListenerId> {
        self.groups.get(endpoint)?.chosen(source)
    }

    fn probe_ports(&self, listeners: &Listeners, id: ListenerId) -> Vec<u16> {
        let group = listeners
            .endpoint(id)
            .and_then(|endpoint| self.groups.get(&endpoint));
        let index = group.and_then(|group| group.index_of(id));
        index
            .map(|index| probe_ports(index).collect())
            .unwrap_or_default()
    }
}

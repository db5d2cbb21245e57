//! Steering by eBPF: one program for a group, and maps that it reads.
//!
//! It needs `CAP_BPF`. In return nothing is ever exchanged under load: a flip is a store into a map, and a
//! listener that leaves moves nobody, since the program knows listeners by their keys and not by their
//! indexes. So it is right on kernels where a classic program cannot be replaced without harm
//! (CVE-2026-52910), and it is the place for policies that need a memory.
//!
//! The order of events: the first listener of an endpoint listens, and maps are made and a program is attached;
//! each listener gets a key when it joins, and nothing before its key is among the choices; one that leaves
//! is hidden first, as with classic programs (`steering/closing.rs`), then it is closed.
//!
//! `program` and `keys` are pure. An interpreter of the program, and the kernel itself, are
//! held against [`spread`](super::spread) by the tests. `maps` and `group` perform.

mod group;
mod keys;
mod maps;
mod program;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;

use log::error;

use super::fence::Fences;
use super::probe_rule::probe_ports;
use super::{Backend, Live};
use crate::fleet::{Endpoint, ListenerId};
use crate::supervisor::listeners::Listeners;
use crate::sys::bpf::LoadError;
pub use keys::Keys;
pub use maps::{Counting, GroupMaps, MAX_LISTENERS};
pub use program::{MAX_CHOICES, Maps, TRIES, program};

use group::Group;

/// A program and its maps for each endpoint's group.
#[derive(Debug, Default)]
pub(super) struct Ebpf {
    groups: BTreeMap<Endpoint, Group>,
    /// What was selected last, over all groups.
    selected: Live,
    counting: Counting,
}

/// Whether this kernel lets us: maps and a program are made, and dropped.
///
/// # Errors
/// Why it does not.
pub(super) fn attempt() -> Result<(), LoadError> {
    GroupMaps::create(Counting::No).map(drop)
}

impl Ebpf {
    pub(super) fn new(counting: Counting) -> Self {
        Self {
            counting,
            ..Self::default()
        }
    }

    fn group(&mut self, endpoint: Endpoint) -> Option<&mut Group> {
        match self.groups.entry(endpoint) {
            Entry::Occupied(found) => Some(found.into_mut()),
            Entry::Vacant(place) => match Group::new(endpoint, self.counting) {
                Ok(group) => Some(place.insert(group)),
                Err(error) => {
                    error!(
                        "{endpoint}: {error}; new connections may reach workers that are being replaced (--steering \
                         none avoids programs)"
                    );
                    None
                }
            },
        }
    }

    fn group_of(&self, listeners: &Listeners, id: ListenerId) -> Option<&Group> {
        self.groups.get(&listeners.endpoint(id)?)
    }
}

impl Backend for Ebpf {
    fn joined(&mut self, listeners: &mut Listeners, id: ListenerId) {
        let Some(endpoint) = listeners.endpoint(id) else {
            return;
        };
        let live = self
            .selected
            .contains_key(&id)
            .then(|| self.selected.clone());
        let Some(group) = self.group(endpoint) else {
            return;
        };
        group.joined(listeners, id);
        // One that had been shut down and listens again may be live already.
        if let Some(live) = live {
            group.select(&live);
        }
    }

    fn select(&mut self, _: &mut Listeners, live: &Live) {
        self.selected.clone_from(live);
        for group in self.groups.values_mut() {
            group.select(live);
        }
    }

    /// The program knows listeners by their keys, so nobody moves.
    fn expect_departures(&mut self, _: &mut Listeners, _: &[ListenerId]) {}

    /// The kernel has taken it out of the map.
    fn reconcile(&mut self, _: &mut Listeners) {}

    fn keep_out(&mut self, _: &mut Listeners) {
        for group in self.groups.values_mut() {
            group.keep_out();
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

    fn count(&self, listeners: &Listeners, id: ListenerId) -> Option<u32> {
        self.group_of(listeners, id)?.count(id)
    }

    fn probe_ports(&self, listeners: &Listeners, id: ListenerId) -> Vec<u16> {
        let key = self
            .group_of(listeners, id)
            .and_then(|group| group.key_of(id));
        key.map(|key| probe_ports(key).collect())
            .unwrap_or_default()
    }
}

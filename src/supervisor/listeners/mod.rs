//! The endpoints' reuseport groups: which listeners there are, and which get new connections.
//!
//! The supervisor has a duplicate of every listener, so a listener leaves its group when the
//! supervisor closes that, and not before; see `departure`.

pub(crate) mod intercept;
pub(crate) mod port_conflict;
mod set;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use log::error;

use crate::fleet::{Endpoint, ListenerId, ListenerSetId};
use crate::supervisor::steering::cbpf::{Layout, Probe, Target, compile};
use crate::supervisor::steering::fence::Ticket;
use crate::sys::{listener, steering};

/// The listener that gets everything before any is live.
const FIRST: Target = Target {
    index: 0,
    weight: 1,
};

/// All groups.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) listeners: BTreeMap<ListenerId, Listener>,
    pub(crate) groups: BTreeMap<Endpoint, Group>,
    /// What the last steering said.
    pub(crate) live: BTreeMap<ListenerId, u32>,
    next: u64,
    steered: bool,
}

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: OwnedFd,
    pub(crate) endpoint: Endpoint,
    pub(crate) queue: ListenerSetId,
    pub(crate) inode: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) layout: Layout,
    pub(crate) live: BTreeMap<ListenerId, u32>,
    /// By their ports: workers of a queue are probed through the same listener.
    pub(crate) probes: BTreeMap<u16, ProbeSource>,
    /// To be closed as soon as that cannot send a connection astray.
    pub(crate) leaving: BTreeSet<ListenerId>,
    /// Those of them that no look-up finds any more, once the fence has passed.
    pub(crate) hidden: BTreeMap<ListenerId, Ticket>,
    /// A rescuer accepts from these until they are empty.
    pub(crate) drained_by_rescuer: BTreeSet<ListenerId>,
    /// Closed by us, and still in the group because somebody else has a descriptor.
    pub(crate) stray: BTreeMap<ListenerId, u64>,
    is_attached: bool,
}

/// Where the probe of a listener comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeSource {
    pub(crate) listener: ListenerId,
    address: u32,
}

impl Groups {
    /// No groups. `steered`: a program decides who gets new connections.
    pub(crate) fn new(steered: bool) -> Self {
        Self {
            listeners: BTreeMap::new(),
            groups: BTreeMap::new(),
            live: BTreeMap::new(),
            next: 0,
            steered,
        }
    }

    /// Takes in a socket that has just begun to listen.
    pub(crate) fn join(
        &mut self,
        socket: OwnedFd,
        endpoint: Endpoint,
        queue: ListenerSetId,
    ) -> io::Result<ListenerId> {
        let inode = listener::inode(&socket)?;
        let id = ListenerId(self.next);
        self.next += 1;
        self.listeners.insert(
            id,
            Listener {
                socket,
                endpoint,
                queue,
                inode,
            },
        );
        let group = self.groups.entry(endpoint).or_default();
        group.layout.joined(id);
        if !group.is_attached && self.steered {
            // From the first listener on, so that none that joins gets anything before its time.
            self.attach(&endpoint, &[FIRST]);
        }
        Ok(id)
    }

    /// The listener that is this socket.
    pub(crate) fn by_inode(&self, inode: u64) -> Option<ListenerId> {
        self.listeners
            .iter()
            .find(|(_, listener)| listener.inode == inode)
            .map(|(id, _)| *id)
    }

    pub(crate) fn is_steered(&self) -> bool {
        self.steered
    }

    /// A rescuer has a duplicate of this listener, and will close it when it is empty.
    pub(crate) fn drained_by_rescuer(&mut self, id: ListenerId) {
        if let Some(group) = self
            .endpoint(id)
            .and_then(|endpoint| self.groups.get_mut(&endpoint))
        {
            group.drained_by_rescuer.insert(id);
        }
    }

    /// Whether any listener of ours serves this endpoint.
    pub(crate) fn has(&self, endpoint: &Endpoint) -> bool {
        self.groups.contains_key(endpoint)
    }

    /// Whether a socket is one of our listeners, present or stray.
    pub(crate) fn is_ours(&self, inode: u64) -> bool {
        self.by_inode(inode).is_some()
            || self
                .groups
                .values()
                .any(|group| group.stray.values().any(|stray| *stray == inode))
    }

    pub(crate) fn endpoint(&self, id: ListenerId) -> Option<Endpoint> {
        self.listeners.get(&id).map(|listener| listener.endpoint)
    }

    pub(crate) fn socket(&self, id: ListenerId) -> Option<BorrowedFd<'_>> {
        self.listeners
            .get(&id)
            .map(|listener| listener.socket.as_fd())
    }

    pub(crate) fn inode(&self, id: ListenerId) -> Option<u64> {
        self.listeners.get(&id).map(|listener| listener.inode)
    }

    /// Endpoints, and how many listeners each has.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (&Endpoint, usize)> {
        self.groups
            .iter()
            .map(|(endpoint, group)| (endpoint, group.layout.len()))
    }

    /// The listener that the present program gives to a connection from this source.
    pub(crate) fn chosen(
        &self,
        endpoint: &Endpoint,
        source: IpAddr,
        port: u16,
    ) -> Option<ListenerId> {
        let group = self.groups.get(endpoint)?;
        let targets = group.layout.targets(&group.live);
        group
            .layout
            .listener_at(crate::supervisor::steering::cbpf::choose(
                &targets, source, port,
            )?)
    }

    /// Gives new connections to these listeners and to no others.
    pub(crate) fn steer(&mut self, live: &BTreeMap<ListenerId, u32>) {
        self.live.clone_from(live);
        for endpoint in self.groups.keys().copied().collect::<Vec<_>>() {
            let Some(group) = self.groups.get_mut(&endpoint) else {
                continue;
            };
            let members: BTreeSet<ListenerId> = group.layout.members().collect();
            let here: BTreeMap<ListenerId, u32> = live
                .iter()
                .filter(|(id, _)| members.contains(id))
                .map(|(id, weight)| (*id, *weight))
                .collect();
            if here.is_empty() || here == group.live {
                continue;
            }
            group.live = here;
            self.reattach(&endpoint);
        }
    }

    /// Lets connections from one source reach one listener, whoever is live.
    pub(crate) fn probe_from(&mut self, id: ListenerId, source: IpAddr, port: u16) {
        let Some(endpoint) = self.endpoint(id) else {
            return;
        };
        let address = match source {
            IpAddr::V4(address) => u32::from(address),
            IpAddr::V6(address) => u128::from(address) as u32, // the last 32 bits are what a program compares
        };
        if let Some(group) = self.groups.get_mut(&endpoint) {
            let listener = id;
            let source = ProbeSource { listener, address };
            group.probes.insert(port, source);
            self.reattach(&endpoint);
        }
    }

    /// Forgets what [`Self::probe_from`] said. The rule stays in the program until its next
    /// change: it does no harm, and a program is changed as rarely as can be.
    pub(crate) fn probe_ended(&mut self, port: u16) {
        for group in self.groups.values_mut() {
            group.probes.remove(&port);
        }
    }

    /// Attaches the program for the group as it is now.
    pub(crate) fn reattach(&mut self, endpoint: &Endpoint) {
        self.reconcile(endpoint);
        let Some(group) = self.groups.get(endpoint) else {
            return;
        };
        let mut targets = group.layout.targets(&group.live);
        if targets.is_empty() && !group.probes.is_empty() {
            // None is live yet; without a program for it, a probe would reach the first listener.
            targets.push(FIRST);
        }
        self.attach(endpoint, &targets);
    }

    /// Attaches a program. Without a target the one that is there stays: whatever it answers, a
    /// queue that waits for a replacement is better than a reset.
    pub(crate) fn attach(&mut self, endpoint: &Endpoint, targets: &[Target]) {
        if !self.steered || targets.is_empty() {
            return;
        }
        let Some(group) = self.groups.get_mut(endpoint) else {
            return;
        };
        let probes = group.probes.iter().filter_map(|(port, source)| {
            let index = group.layout.index_of(source.listener)?;
            Some(Probe {
                port: *port,
                address: source.address,
                index,
            })
        });
        let probes: Vec<Probe> = probes.collect();
        let program = match compile(targets, &probes) {
            Ok(program) => program,
            Err(unfit) => return error!("{endpoint}: cannot steer new connections: {unfit}"),
        };
        // Through any member: the program belongs to the group.
        let member = group
            .layout
            .members()
            .find_map(|id| self.listeners.get(&id));
        match member.map(|member| steering::attach(&member.socket, &program)) {
            Some(Ok(())) => group.is_attached = true,
            Some(Err(error)) => error!(
                "{endpoint}: cannot attach the steering program: {error}; new connections may reach workers that are \
                 being replaced (--steering none avoids programs)"
            ),
            None => {}
        }
    }
}

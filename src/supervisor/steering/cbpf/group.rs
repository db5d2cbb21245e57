//! One endpoint's group: which of its listeners are live, and the program that says so.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use log::{debug, error};

use super::layout::Layout;
use super::program::{NoTarget, compile};
use crate::fleet::{Endpoint, ListenerId};
use crate::supervisor::listeners::Listeners;
use crate::supervisor::steering::Live;
use crate::supervisor::steering::closing::listening_at;
use crate::supervisor::steering::leaving::Leaving;
use crate::supervisor::steering::probe_connection::ProbeConnection;
use crate::supervisor::steering::spread::{Target, choose};
use crate::sys::{listener, steering};

/// The listener that gets everything before any is live.
const FIRST: Target = Target {
    index: 0,
    weight: 1,
};

#[derive(Debug)]
pub(super) struct Group {
    pub(super) endpoint: Endpoint,
    pub(super) layout: Layout,
    /// Those of its listeners that new connections go to.
    pub(super) live: Live,
    /// Those that were live and are not: sooner or later they leave.
    retired: BTreeSet<ListenerId>,
    pub(super) leaving: Leaving,
    /// Those of its listeners that may leave by themselves: their workers were told to stop.
    pub(super) departing: BTreeSet<ListenerId>,
    pub(super) guards: BTreeSet<ListenerId>,
    /// What fills the guard that keeps new connections out.
    pub(super) filler: Option<ProbeConnection>,
    /// None of those that leave can, until something changes.
    pub(super) is_blocked: bool,
    is_attached: bool,
}

impl Group {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            layout: Layout::default(),
            live: Live::new(),
            retired: BTreeSet::new(),
            leaving: Leaving::default(),
            departing: BTreeSet::new(),
            guards: BTreeSet::new(),
            filler: None,
            is_blocked: false,
            is_attached: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.layout.is_empty() && self.leaving.is_empty()
    }

    pub(super) fn index_of(&self, id: ListenerId) -> Option<u32> {
        self.layout.index_of(id)
    }

    /// The listener that the program gives to a connection from this source.
    pub(super) fn chosen(&self, source: SocketAddr) -> Option<ListenerId> {
        let targets = self.layout.targets(&self.live);
        let index = choose(&targets, source.ip(), source.port())?;
        self.layout.listener_at(index)
    }

    /// How many of its listeners were live once and are not told to leave yet.
    pub(super) fn retired(&self) -> usize {
        self.retired.len()
    }

    pub(super) fn joined(&mut self, listeners: &Listeners, id: ListenerId) {
        if self.layout.contains(id) {
            // It had been shut down, which took it out of its group, and listens again.
            let mut left = self.left_unseen(listeners);
            left.push(id);
            self.forget(&left);
        }
        self.layout.joined(id);
        self.is_blocked = false;
        if !self.is_attached {
            // From the first listener on, so that none that joins gets anything before its time.
            self.attach(listeners, &[FIRST]);
        }
    }

    /// Gives new connections to those of `live` that are of this group. If none is, all stays as it is:
    /// a queue that waits for a replacement is better than a reset.
    pub(super) fn select(&mut self, listeners: &mut Listeners, live: &Live) {
        let members = self.layout.members();
        let weighted = members.filter_map(|id| Some((id, *live.get(&id)?)));
        let here: Live = weighted
            .filter(|(id, _)| !self.leaving.contains(*id))
            .collect();
        if here.is_empty() || here == self.live {
            return;
        }
        let before = std::mem::replace(&mut self.live, here);
        self.retired.extend(before.into_keys());
        self.retired
            .retain(|id| !self.live.contains_key(id) && self.layout.contains(*id));
        self.is_blocked = false;
        // Those that have joined since the last departure was expected are at the end now.
        self.pad(listeners);
        self.reattach(listeners);
    }

    pub(super) fn remove(&mut self, id: ListenerId) {
        self.live.remove(&id);
        self.retired.remove(&id);
        self.leaving.add(id);
        self.departs(id);
        self.is_blocked = false;
    }

    /// Attaches the program for the group as it is now.
    pub(super) fn reattach(&mut self, listeners: &Listeners) {
        let targets = self.layout.targets(&self.live);
        self.attach(listeners, &targets);
    }

    pub(super) fn attach(&mut self, listeners: &Listeners, targets: &[Target]) {
        let program = match compile(targets) {
            Ok(program) => program,
            // The program that is attached stays.
            Err(NoTarget) => return,
        };
        // Through any member: the program belongs to the group.
        let member = self
            .layout
            .members()
            .find_map(|id| listeners.socket(id).filter(listener::is_listening));
        match member.map(|member| steering::attach(&member, program.instructions())) {
            Some(Ok(())) => self.is_attached = true,
            Some(Err(error)) => error!(
                "{}: cannot attach the steering program: {error}; new connections may reach workers that are being \
                 replaced (--steering none avoids programs)",
                self.endpoint
            ),
            None => {}
        }
    }

    /// Looks which listeners left the group by themselves since the last look: a worker may have shut its
    /// listener down, which takes it out at once.
    pub(super) fn reconcile(&mut self, listeners: &mut Listeners) {
        let mut left = self.left_unseen(listeners);
        let leaked = listeners.leaked.at(&self.endpoint);
        if !leaked.is_empty() {
            let present = listening_at(&self.endpoint);
            for (inode, id) in leaked
                .into_iter()
                .filter(|(inode, _)| !present.contains(inode))
            {
                listeners.leaked.forget(inode);
                left.push(id);
            }
        }
        self.forget(&left);
    }

    fn left_unseen(&self, listeners: &Listeners) -> Vec<ListenerId> {
        let is_deaf = |id: &ListenerId| {
            let socket = listeners.socket(*id);
            socket.is_some_and(|socket| !listener::is_listening(&socket))
        };
        self.layout.members().filter(is_deaf).collect()
    }

    fn forget(&mut self, left: &[ListenerId]) {
        if left.is_empty() {
            return;
        }
        debug!(
            "{}: {} listeners left their group by themselves",
            self.endpoint,
            left.len()
        );
        self.layout.left(left);
        self.is_blocked = false;
        for id in left {
            self.live.remove(id);
            self.retired.remove(id);
            self.departs(*id);
        }
    }
}

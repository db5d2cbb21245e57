//! Taking listeners out of their groups.
//!
//! When a listener leaves, the kernel moves the last one of the group into its place, under a
//! program that names places. So a close comes between two programs: the first is right before and
//! after it, the second for what is left. Sometimes there is no such first program (one live
//! listener, in the last place, and several that shall go); then the leaver waits, empty and
//! without new connections, until another listener has joined.
//!
//! A listener that is being closed leaves its group a moment before it leaves the kernel's table
//! of listeners. A SYN that meets it in between is answered by a socket that is about to go. So it
//! is hidden first, from every look-up, and a fence makes sure that none is still under way that
//! began before. One fence does for all that leave together, as it takes some milliseconds.
//!
//! What we believe of a group is checked before each program, not trusted: a worker may have shut
//! its listener down, which takes it out at once, and a process that we do not know may still have
//! one that we closed, which keeps it in.

use std::collections::BTreeSet;

use log::{debug, warn};

use super::fence::Fences;
use super::groups::{Group, Groups};
use crate::fleet::{Endpoint, ListenerId};
use crate::sys::{diag, listener, procfs, steering};
use crate::wire::diag::States;

impl Groups {
    /// Closes a listener as soon as that can be done: now gets nothing, and leaves at a
    /// [`Self::purge`].
    pub(super) fn close(&mut self, id: ListenerId) {
        let Some(endpoint) = self.endpoint(id) else {
            return;
        };
        if let Some(group) = self.groups.get_mut(&endpoint) {
            group.probes.retain(|_, probe| probe.listener != id);
            group.live.remove(&id);
            group.leaving.insert(id);
        }
    }

    /// Closes all listeners that shall leave and can; one that must be hidden before, when it is
    /// called again after the fence.
    pub(super) fn purge(&mut self, fences: &mut Fences) {
        let mut leavers = self.leavers(fences);
        self.hide_all(&leavers, fences);
        leavers.retain(|(endpoint, id)| {
            let group = self.groups.get(endpoint);
            group.is_some_and(|group| group.is_due(*id, fences))
        });
        for (endpoint, id) in leavers {
            self.depart(&endpoint, id);
        }
        self.groups.retain(|_, group| !group.layout.is_empty());
    }

    /// Whether a fence is awaited before something is closed.
    pub(super) fn is_clearing(&self, fences: &Fences) -> bool {
        let mut groups = self.groups.values();
        groups.any(|group| {
            group
                .hidden
                .values()
                .any(|ticket| !fences.has_passed(*ticket))
        })
    }

    /// All that shall leave and can, but for those that wait for their fence: whether they can is
    /// not cheap to tell, and is asked at every event.
    fn leavers(&mut self, fences: &Fences) -> Vec<(Endpoint, ListenerId)> {
        let is_busy = |group: &Group| group.leaving.iter().any(|id| group.is_due(*id, fences));
        let busy = self.groups.iter().filter(|(_, group)| is_busy(group));
        let endpoints: Vec<Endpoint> = busy.map(|(endpoint, _)| *endpoint).collect();
        let mut leavers = Vec::new();
        for endpoint in endpoints {
            self.reconcile(&endpoint);
            let Some(group) = self.groups.get(&endpoint) else {
                continue;
            };
            let due = group.leaving.iter().filter(|id| group.is_due(**id, fences));
            let able = due.filter(|id| group.can_leave(**id));
            leavers.extend(able.map(|id| (endpoint, *id)));
        }
        leavers
    }

    /// Hides those that are not hidden yet, under one fence.
    fn hide_all(&mut self, leavers: &[(Endpoint, ListenerId)], fences: &mut Fences) {
        let mut hidden = Vec::new();
        for (endpoint, id) in leavers {
            let group = self.groups.get(endpoint);
            if group.is_some_and(|group| !group.hidden.contains_key(id)) && self.hide(endpoint, *id)
            {
                hidden.push((*endpoint, *id));
            }
        }
        if hidden.is_empty() {
            return;
        }
        let ticket = fences.ask();
        for (endpoint, id) in hidden {
            if let Some(group) = self.groups.get_mut(&endpoint) {
                group.hidden.insert(id, ticket);
            }
        }
    }

    /// Hides a leaver from look-ups, if there is anybody to hide it for.
    fn hide(&self, endpoint: &Endpoint, id: ListenerId) -> bool {
        let is_alone = self
            .groups
            .get(endpoint)
            .is_none_or(|group| group.live.is_empty());
        let Some(leaver) = self
            .listeners
            .get(&id)
            .filter(|_| self.is_steered() && !is_alone)
        else {
            return false;
        };
        // A hidden listener cannot answer: one that still has handshakes stays as it is.
        let is_empty =
            listener::accept_queue_len(&leaver.socket).is_ok_and(|(waiting, _)| waiting == 0);
        if !is_empty {
            return false;
        }
        let hidden = steering::hide(&leaver.socket);
        if let Err(error) = &hidden {
            debug!("{endpoint}: cannot hide a listener before it is closed: {error}");
        }
        hidden.is_ok()
    }

    fn depart(&mut self, endpoint: &Endpoint, id: ListenerId) {
        let Some(group) = self.groups.get_mut(endpoint) else {
            return;
        };
        if !group.can_leave(id) {
            return;
        }
        group.leaving.remove(&id);
        group.hidden.remove(&id);
        let removal = group.layout.removal(id, &group.live);
        if let Some(removal) = &removal {
            self.attach(endpoint, &removal.before);
        }
        let Some(leaver) = self.listeners.remove(&id) else {
            return;
        };
        drop(leaver.socket);
        if self.left_group(endpoint, leaver.inode) {
            if let Some(group) = self.groups.get_mut(endpoint) {
                group.layout.left(&[id]);
            }
        } else {
            let Some(group) = self.groups.get_mut(endpoint) else {
                return;
            };
            if !group.drained_by_rescuer.remove(&id) {
                let holder = holder(leaver.inode);
                warn!(
                    "{endpoint}: a listener that was closed is still held by {holder}; it gets no connections"
                );
            }
            group.stray.insert(id, leaver.inode);
        }
        self.reattach(endpoint);
    }

    /// Whether the socket is gone. While no other listener is live it does not matter.
    fn left_group(&self, endpoint: &Endpoint, inode: u64) -> bool {
        let is_alone = self
            .groups
            .get(endpoint)
            .is_none_or(|group| group.live.is_empty());
        is_alone || !listening_at(endpoint).contains(&inode)
    }

    /// Looks which listeners left the group by themselves since the last look.
    pub(super) fn reconcile(&mut self, endpoint: &Endpoint) {
        let Some(group) = self.groups.get_mut(endpoint) else {
            return;
        };
        let mut left: Vec<ListenerId> = Vec::new();
        for id in group.layout.members() {
            if self
                .listeners
                .get(&id)
                .is_some_and(|held| !listener::is_listening(&held.socket))
            {
                left.push(id);
            }
        }
        if !group.stray.is_empty() {
            let present = listening_at(endpoint);
            left.extend(
                group
                    .stray
                    .iter()
                    .filter(|(_, inode)| !present.contains(inode))
                    .map(|(id, _)| *id),
            );
            group.stray.retain(|_, inode| present.contains(inode));
        }
        if !left.is_empty() {
            debug!(
                "{endpoint}: {} listeners left their group by themselves",
                left.len()
            );
            group.layout.left(&left);
            group.live.retain(|id, _| !left.contains(id));
        }
    }
}

impl Group {
    /// Whether no fence is awaited for it.
    fn is_due(&self, id: ListenerId, fences: &Fences) -> bool {
        let hidden = self.hidden.get(&id);
        hidden.is_none_or(|ticket| fences.has_passed(*ticket))
    }

    /// Whether a program can be right before and after this one leaves. One that has left by
    /// itself, or that nobody is preferred to, can go in any case.
    fn can_leave(&self, id: ListenerId) -> bool {
        let is_member = self.layout.members().any(|member| member == id);
        !is_member || self.live.is_empty() || self.layout.removal(id, &self.live).is_some()
    }
}

/// The inodes of all that listens on the endpoint's port.
fn listening_at(endpoint: &Endpoint) -> BTreeSet<u64> {
    match diag::connections(endpoint.address.port(), States::LISTENING) {
        Ok(listening) => listening.iter().map(|socket| socket.inode).collect(),
        Err(error) => {
            warn!("{endpoint}: cannot list its listeners: {error}");
            BTreeSet::new()
        }
    }
}

fn holder(inode: u64) -> String {
    procfs::holder_of(inode).map_or_else(
        || "another process".to_owned(),
        |(pid, name)| format!("{name} (pid {pid})"),
    )
}

//! What closing a listener takes, whatever chooses among its group.
//!
//! A listener that is being closed leaves its group a moment before it leaves the kernel's table of
//! listeners. A SYN that meets it in between is answered by a socket that is about to go. So it is hidden
//! first, from every look-up, and a fence makes sure that none is still under way that began before.
//!
//! What was closed is looked for: a process that we do not know may still have it.

use std::collections::BTreeSet;

use log::{debug, warn};

use crate::fleet::{Endpoint, ListenerId};
use crate::supervisor::listeners::{Closed, Listeners};
use crate::sys::{diag, listener, procfs, steering};
use crate::wire::diag::States;

/// Hides a listener from look-ups. A hidden listener cannot answer: one that still has handshakes stays
/// as it is.
pub(super) fn hide(listeners: &Listeners, id: ListenerId) -> bool {
    let Some(socket) = listeners.socket(id) else {
        return false;
    };
    let is_empty = listener::accept_queue_len(&socket).is_ok_and(|(waiting, _)| waiting == 0);
    if !is_empty {
        return false;
    }
    let hidden = steering::hide(&socket);
    if let Err(error) = &hidden {
        debug!("cannot hide a listener before it is closed: {error}");
    }
    hidden.is_ok()
}

/// Has the kernel refuse what comes to any listener. Connections that are there already go on.
pub(in crate::supervisor) fn refuse(listeners: &Listeners) {
    for socket in listeners.sockets() {
        if let Err(error) = steering::hide(&socket) {
            debug!("cannot have the kernel refuse new connections: {error}");
        }
    }
}

/// Those of the closed listeners that are still there.
pub(super) fn leaked(endpoint: &Endpoint, closed: &[Closed]) -> Vec<Closed> {
    if closed.is_empty() {
        return Vec::new();
    }
    let present = listening_at(endpoint);
    let is_there = |closed: &&Closed| present.contains(&closed.inode);
    closed.iter().filter(is_there).copied().collect()
}

pub(super) fn report_leak(closed: &Closed) {
    if closed.is_drained_by_rescuer {
        return;
    }
    let holder = procfs::holder_of(closed.inode).map_or_else(
        || "another process".to_owned(),
        |(pid, name)| format!("{name} (pid {pid})"),
    );
    warn!(
        "{}: a listener that was closed is still held by {holder}; it gets no connections",
        closed.endpoint
    );
}

/// The inodes of all that listens on the endpoint's port.
pub(super) fn listening_at(endpoint: &Endpoint) -> BTreeSet<u64> {
    match diag::connections(endpoint.address.port(), States::LISTENING) {
        Ok(listening) => listening.iter().map(|socket| socket.inode).collect(),
        Err(error) => {
            warn!("{endpoint}: cannot list its listeners: {error}");
            BTreeSet::new()
        }
    }
}

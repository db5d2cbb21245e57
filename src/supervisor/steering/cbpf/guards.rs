//! Guards: listeners of our own that keep a group's program right, and get nothing to answer.
//!
//! A program names indexes, and when a listener leaves, the last one of the group moves to its index. Listeners that
//! we close leave between two programs ([`removal`](super::removal)). But a worker that was told to stop may shut
//! its listener down by itself, at any time and in any order of several. So for each listener that may leave in this
//! way there is one guard at the end of the group: whatever the order, only guards move.
//!
//! ```text
//!   0   1   2   3   4   5      both old ones leave by themselves, in either order:
//!  old old new new  g   g      the guards move to 0 and 1, and the program goes on to name 2 and 3
//! ```
//!
//! At the end of everything new connections must be kept out while the handshakes that have begun come to their end.
//! A guard does that, too: it is the only one that is steered to, and it is full. The kernel drops a SYN for a
//! listener whose queue is full, so the client asks again after a second, and is refused by then.

use std::io;
use std::os::fd::AsFd;

use log::debug;

use super::group::Group;
use super::probe_ports;
use crate::fleet::ListenerId;
use crate::supervisor::listeners::Listeners;
use crate::supervisor::steering::Live;
use crate::supervisor::steering::closing::hide;
use crate::supervisor::steering::probe_connection::ProbeConnection;
use crate::sys::{descriptor, listener};

/// A full listener has one connection more than this.
const BACKLOG: i32 = 0;

impl Group {
    /// These listeners may leave by themselves from now on.
    pub(super) fn expect_departures(&mut self, listeners: &mut Listeners, ids: &[ListenerId]) {
        let here = ids.iter().filter(|id| self.layout.contains(**id));
        let here: Vec<ListenerId> = here.copied().collect();
        if here.is_empty() {
            return;
        }
        // First these: with the last that is expected, the guards would leave.
        self.departing.extend(here);
        self.reconcile(listeners);
        self.pad(listeners);
    }

    /// Puts as many guards at the end of the group as listeners may leave it.
    ///
    /// Nothing is lost where that cannot be done and they do not leave by themselves, so it is no error: they are
    /// closed in order then.
    pub(super) fn pad(&mut self, listeners: &mut Listeners) {
        let indexes = (0..self.layout.len()).rev();
        let from_the_end = indexes.map(|index| self.layout.listener_at(index as u32));
        let is_guard = |id: &Option<ListenerId>| id.is_some_and(|id| self.guards.contains(&id));
        let present = from_the_end.take_while(is_guard).count();
        for _ in present..self.departing.len() {
            match self.add_listener(listeners) {
                Ok(guard) => {
                    self.guards.insert(guard);
                    // The others are hidden, or will be: one that is found and not full would take connections.
                    if self.is_shut() {
                        hide(listeners, guard);
                    }
                }
                Err(error) => {
                    let endpoint = self.endpoint;
                    return debug!("{endpoint}: cannot add a guard to the group: {error}");
                }
            }
        }
    }

    /// A listener of our own joins the group.
    fn add_listener(&mut self, listeners: &mut Listeners) -> io::Result<ListenerId> {
        let socket = listener::create(&self.endpoint.address, self.endpoint.v6_only)?;
        // A group has members of one user only: the workers' user, where that made the listeners.
        let member = self.layout.members().find_map(|id| listeners.socket(id));
        if let Some(member) = member {
            descriptor::give_to(&socket, descriptor::owner(&member)?)?;
        }
        listener::bind_shared(&socket, &self.endpoint.address)?;
        listener::listen(&socket, BACKLOG)?;
        let id = listeners.add_guard(socket, self.endpoint)?;
        self.layout.joined(id);
        Ok(id)
    }

    /// A listener leaves with our help. With the last of those that might have left by themselves the guards leave.
    pub(super) fn departs(&mut self, id: ListenerId) {
        if self.departing.remove(&id) && self.departing.is_empty() && !self.is_shut() {
            for guard in std::mem::take(&mut self.guards) {
                self.leaving.add(guard);
            }
        }
    }

    /// Gives new connections to a guard that is full, and so to nobody.
    ///
    /// # Errors
    /// Those of making a guard and of connecting to it; any: it is not full. All stays as it was then.
    pub(super) fn keep_out(&mut self, listeners: &mut Listeners) -> io::Result<()> {
        if self.is_shut() {
            return Ok(());
        }
        self.reconcile(listeners);
        let guard = self.add_listener(listeners)?;
        let ports = self.index_of(guard).into_iter().flat_map(probe_ports);
        let ports: Vec<u16> = ports.collect();
        let filler = ProbeConnection::begin(&self.endpoint, &ports)?;
        let socket = listeners.socket(guard).ok_or(io::ErrorKind::NotFound)?;
        // On loopback a handshake is done when connect(2) returns.
        if !is_full(&socket) {
            return Err(io::Error::other("no connection reached the guard"));
        }
        self.filler = Some(filler);
        self.live = Live::from([(guard, 1)]);
        self.pad(listeners);
        self.reattach(listeners);
        Ok(())
    }

    /// Whether nobody gets new connections any more.
    fn is_shut(&self) -> bool {
        self.filler.is_some()
    }
}

fn is_full(socket: &impl AsFd) -> bool {
    listener::accept_queue_len(socket).is_ok_and(|(waiting, most)| waiting > most)
}

//! Queues: the listeners that several workers have.
//!
//! Such a listener is one member of its group, whoever has a descriptor. It stays when a worker that
//! has it dies, and all that a worker does to it is done for all: one that shuts it down takes it
//! from its siblings too, until the next one listens.

use std::io;

use crate::fleet::{Endpoint, ListenerId, ListenerSetId};
use crate::supervisor::listeners::Groups;
use crate::sys::listener;

impl Groups {
    /// The listeners of a queue on an endpoint that are there to stay, oldest first.
    pub(crate) fn of_queue(
        &self,
        queue: ListenerSetId,
        endpoint: &Endpoint,
    ) -> impl Iterator<Item = ListenerId> {
        let is_leaving = |id: &ListenerId| {
            let group = self.groups.get(endpoint);
            group.is_some_and(|group| group.leaving.contains(id))
        };
        self.listeners
            .iter()
            .filter(move |(id, it)| {
                it.queue == queue && it.endpoint == *endpoint && !is_leaving(id)
            })
            .map(|(id, _)| *id)
    }

    /// Calls listen(2) on it again. One that was shut down joins its group anew, as the last.
    pub(crate) fn listen_again(&mut self, id: ListenerId, backlog: i32) -> io::Result<()> {
        let endpoint = self.endpoint(id).ok_or(io::ErrorKind::NotFound)?;
        // Before it listens: else we would never learn that it had left.
        self.reconcile(&endpoint);
        let found = self.listeners.get(&id).ok_or(io::ErrorKind::NotFound)?;
        listener::listen(&found.socket, backlog)?;
        let group = self.groups.entry(endpoint).or_default();
        if !group.layout.members().any(|member| member == id) {
            group.layout.joined(id);
            self.steer(&self.live.clone());
        }
        Ok(())
    }
}

//! One connection of ours to one worker, to find something out about it.

use std::io;
use std::time::Instant;

use log::debug;

use super::http_question::{Asked, Question};
use crate::fleet::{Endpoint, ListenerId, Probe, ProbeKind};
use crate::supervisor::listeners::Listeners;
use crate::supervisor::sources::{Source, Sources};
use crate::supervisor::steering::Backend;
use crate::supervisor::steering::probe_connection::ProbeConnection;
use crate::sys::diag;

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) listener: ListenerId,
    pub(super) connection: ProbeConnection,
    pub(super) since: Instant,
    /// What is being asked; none where it is only looked who accepts.
    pub(super) question: Option<Question>,
}

impl Attempt {
    /// Begins to connect, and to ask; the loop hears of the answer as of `source`.
    ///
    /// # Errors
    /// Those of socket(2), bind(2), connect(2) and epoll_ctl(2); any: the listener is gone, or no port reaches it.
    pub(super) fn begin(
        sources: &mut Sources,
        listeners: &Listeners,
        steering: &dyn Backend,
        wanted: &Probe,
        asked: Asked<'_>,
        source: Source,
    ) -> io::Result<Self> {
        let endpoint = listeners.endpoint(wanted.listener);
        let endpoint: Endpoint = endpoint.ok_or(io::ErrorKind::NotFound)?;
        let ports = steering.probe_ports(listeners, wanted.listener);
        let connection = ProbeConnection::begin(&endpoint, &ports)?;
        let question = match wanted.kind {
            ProbeKind::Accept => None,
            ProbeKind::Http => Some(Question::new(
                sources,
                source,
                asked,
                &connection.socket,
                &endpoint,
            )?),
        };
        Ok(Self {
            listener: wanted.listener,
            connection,
            since: Instant::now(),
            question,
        })
    }

    /// The inode of the socket by which a process has accepted it: 0 while none has; none if there is no such connection
    /// any more.
    ///
    /// # Errors
    /// The kernel does not say.
    pub(super) fn accepted_as(&self) -> Result<Option<u64>, diag::DiagError> {
        let found = diag::connection(self.connection.server, self.connection.source);
        let found = found.inspect_err(|error| {
            debug!("cannot look which process accepted: {error}");
        })?;
        Ok(found.map(|accepted| accepted.inode))
    }
}

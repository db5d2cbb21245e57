//! What the loop waits for, each under a token of its own that is never reused: an event that was
//! on its way when its source went is for nobody, not for the next one.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::fleet::{RetirementId, WorkerId};

/// A thing that may become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A signal to the supervisor, or the end of a child.
    Signals,
    /// A thread of ours has done its work: a fence has passed, or threads of a worker stand still.
    Threads,
    /// A client wants in.
    Control,
    /// A client says something, or can be written to.
    Client,
    /// Something has happened to the file of the control socket or of `NOTIFY_SOCKET`.
    SocketFiles,
    /// A worker speaks to `NOTIFY_SOCKET`.
    Notify,
    /// A worker's launcher speaks, or has become its command.
    Launcher(WorkerId),
    /// A rescuer says something.
    Rescuer(RetirementId),
    /// A worker says something over its channel, or can hear something.
    Channel(WorkerId),
    /// A worker waits in bind or listen.
    Calls(WorkerId),
    /// A worker wrote something.
    Pipe,
    /// Our own output can be written to again.
    Sink(usize),
    /// A connection has come to a queue that is watched, or a listener was shut down.
    Queues,
    /// A readiness probe has news.
    Probe(WorkerId),
    /// A health check has news.
    Check(WorkerId),
}

#[derive(Debug)]
pub(crate) struct Sources {
    registry: Registry,
    known: BTreeMap<Token, Source>,
    next: usize,
}

impl Sources {
    pub(crate) fn new(registry: Registry) -> Self {
        Self {
            registry,
            known: BTreeMap::new(),
            next: 0,
        }
    }

    pub(crate) fn get(&self, token: Token) -> Option<Source> {
        self.known.get(&token).copied()
    }

    /// A token for a source that registers itself.
    pub(crate) fn token(&mut self, source: Source) -> Token {
        let token = Token(self.next);
        self.next += 1;
        self.known.insert(token, source);
        token
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn add(
        &mut self,
        descriptor: &impl AsFd,
        source: Source,
        interest: Interest,
    ) -> io::Result<Token> {
        let token = self.token(source);
        let number = descriptor.as_fd().as_raw_fd();
        let registered = self
            .registry
            .register(&mut SourceFd(&number), token, interest);
        if registered.is_err() {
            self.known.remove(&token);
        }
        registered.map(|()| token)
    }

    /// To be called while the descriptor is still open.
    pub(crate) fn remove(&mut self, descriptor: &impl AsFd, token: Token) {
        self.known.remove(&token);
        let number = descriptor.as_fd().as_raw_fd();
        if let Err(error) = self.registry.deregister(&mut SourceFd(&number)) {
            log::debug!("cannot stop waiting for descriptor {number}: {error}");
        }
    }
}

//! How connections become ours alone.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use mio::Interest;

use super::client::Client;
use super::orphan::{LINGER, Orphan, Stage, token};
use super::process::Rescuer;
use crate::sys::tcp;

/// How long the kernel may take until it acknowledges a request that nobody answers, and some more.
const DOUBT: Duration = Duration::from_millis(250);
/// When to ask a silent client whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

impl Rescuer {
    /// Takes a connection that the worker has let go of, and from which it has read these bytes
    /// in vain.
    pub(super) fn adopt(&mut self, worker: u64, socket: OwnedFd, lost_read: Vec<u8>) {
        match thawed(socket) {
            Ok(client) => {
                let stage = if lost_read.is_empty() {
                    Stage::Idle
                } else {
                    self.stage_relay(&client, &lost_read)
                };
                self.keep(Orphan::new(worker, client, stage), self.patience.idle);
            }
            Err(error) => self.fail(worker, &error),
        }
    }

    /// Takes one of which it is not known whether the worker has died with a request: a client that
    /// waits for its answer shall not do so until its own patience ends.
    pub(super) fn adopt_in_doubt(&mut self, worker: u64, socket: OwnedFd) {
        match thawed(socket) {
            Ok(client) => self.keep(Orphan::new(worker, client, Stage::Doubtful), DOUBT),
            Err(error) => self.fail(worker, &error),
        }
    }

    /// Takes one that the worker still has and that has to stay frozen, with the request that has
    /// waited in it.
    pub(super) fn adopt_early(&mut self, worker: u64, socket: OwnedFd, request: &[u8]) {
        let client = Client::from(socket);
        let stage = self.stage_relay(&client, request);
        let orphan = Orphan {
            is_shared: true,
            ..Orphan::new(worker, client, stage)
        };
        self.keep(orphan, self.patience.idle);
    }

    /// Takes a connection that nobody has accepted.
    pub(super) fn welcome(&mut self, worker: u64, socket: OwnedFd) {
        let orphan = Orphan::new(worker, Client::from(socket), Stage::Idle);
        self.keep(orphan, self.patience.idle);
    }

    /// Closes a connection so that the client can read what it was sent, whatever it sends.
    pub(super) fn let_linger(&mut self, worker: u64, socket: OwnedFd) {
        if let Ok(client) = thawed(socket) {
            let _ = client.shut_down(Shutdown::Write);
            self.keep(Orphan::new(worker, client, Stage::Linger), LINGER);
        }
    }

    fn keep(&mut self, mut orphan: Orphan, patience: Duration) {
        let (id, worker) = (self.next_id(), orphan.worker);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if let Err(error) = registry.register(&mut orphan.client, token(id), interest) {
            return self.fail(worker, &error);
        }
        orphan.client.ask_after(KEEPALIVE);
        self.timers.set(id, Some(Instant::now() + patience));
        self.worker(worker).orphans += 1;
        self.orphans.insert(id, orphan);
    }

    fn fail(&mut self, worker: u64, error: &io::Error) {
        log::debug!("cannot take a connection over: {error}");
        self.worker(worker).give_up("system");
    }
}

/// What nobody sleeps on any more, and everybody sees.
fn thawed(socket: OwnedFd) -> io::Result<Client> {
    tcp::thaw(&socket)?;
    Ok(Client::from(socket))
}

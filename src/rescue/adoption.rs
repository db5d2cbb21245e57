//! How connections become ours alone.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use mio::Interest;

use super::adopted::{AdoptedConnection, LINGER_TIMEOUT, Stage, token};
use super::client::Client;
use super::process::Rescuer;
use crate::sys::tcp;

/// How long the kernel may take until it acknowledges a request that nobody answers, and some more.
const IN_DOUBT_TIMEOUT: Duration = Duration::from_millis(250);
/// When to ask a silent client whether it is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

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
                self.insert(
                    AdoptedConnection::new(worker, client, stage),
                    self.timeouts.idle,
                );
            }
            Err(error) => self.fail(worker, &error),
        }
    }

    /// Takes one of which it is not known whether the worker has died with a request: a client that
    /// waits for its answer shall not do so until its own timeouts ends.
    pub(super) fn adopt_in_doubt(&mut self, worker: u64, socket: OwnedFd) {
        match thawed(socket) {
            Ok(client) => self.insert(
                AdoptedConnection::new(worker, client, Stage::Doubtful),
                IN_DOUBT_TIMEOUT,
            ),
            Err(error) => self.fail(worker, &error),
        }
    }

    /// Takes one that the worker still has and that has to stay frozen, with the request that has
    /// waited in it.
    pub(super) fn adopt_shared(&mut self, worker: u64, socket: OwnedFd, request: &[u8]) {
        let client = Client::from(socket);
        let stage = self.stage_relay(&client, request);
        let connection = AdoptedConnection {
            is_shared: true,
            ..AdoptedConnection::new(worker, client, stage)
        };
        self.insert(connection, self.timeouts.idle);
    }

    /// Takes a connection that nobody has accepted.
    pub(super) fn adopt_accepted(&mut self, worker: u64, socket: OwnedFd) {
        let connection = AdoptedConnection::new(worker, Client::from(socket), Stage::Idle);
        self.insert(connection, self.timeouts.idle);
    }

    /// Closes a connection so that the client can read what it was sent, whatever it sends.
    pub(super) fn adopt_lingering(&mut self, worker: u64, socket: OwnedFd) {
        if let Ok(client) = thawed(socket) {
            let _ = client.shut_down(Shutdown::Write);
            self.insert(
                AdoptedConnection::new(worker, client, Stage::Linger),
                LINGER_TIMEOUT,
            );
        }
    }

    fn insert(&mut self, mut connection: AdoptedConnection, timeout: Duration) {
        let (id, worker) = (self.next_id(), connection.worker);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if let Err(error) = registry.register(&mut connection.client, token(id), interest) {
            return self.fail(worker, &error);
        }
        connection.client.ask_after(KEEPALIVE_AFTER);
        self.timers.set(id, Some(Instant::now() + timeout));
        self.worker(worker).open += 1;
        self.adopted.insert(id, connection);
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

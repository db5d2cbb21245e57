//! How connections become ours alone.

use std::io;
use std::net::{Shutdown, TcpStream as Plain};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::TcpStream;
use socket2::SockRef;

use super::orphan::{LINGER, Orphan, Stage, token};
use super::process::Rescuer;
use crate::sys::{descriptor, tcp};

/// How long the kernel may take until it acknowledges a request that nobody answers, and some more.
const DOUBT: Duration = Duration::from_millis(250);
/// When to ask a silent client whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

impl Rescuer {
    /// Takes a connection that the worker has let go of, and from which it has read these bytes
    /// in vain.
    pub(super) fn adopt(&mut self, worker: u64, socket: OwnedFd, swallowed: Vec<u8>) {
        match thawed(socket) {
            Ok(client) => {
                let stage = if swallowed.is_empty() {
                    Stage::Idle
                } else {
                    self.stage_relay(&client, &swallowed)
                };
                self.keep(worker, client, stage, self.patience.idle);
            }
            Err(error) => self.fail(worker, &error),
        }
    }

    /// Takes one of which it is not known whether the worker has died with a request: a client that
    /// waits for its answer shall not do so until its own patience ends.
    pub(super) fn adopt_in_doubt(&mut self, worker: u64, socket: OwnedFd) {
        match thawed(socket) {
            Ok(client) => self.keep(worker, client, Stage::Doubtful, DOUBT),
            Err(error) => self.fail(worker, &error),
        }
    }

    /// Takes a connection that nobody has accepted.
    pub(super) fn welcome(&mut self, worker: u64, client: TcpStream) {
        self.keep(worker, client, Stage::Idle, self.patience.idle);
    }

    /// Closes a connection so that the client can read what it was sent, whatever it sends.
    pub(super) fn let_linger(&mut self, worker: u64, socket: OwnedFd) {
        if descriptor::set_nonblocking(&socket, true).is_ok() {
            let _ = tcp::thaw(&socket);
            let client = TcpStream::from_std(Plain::from(socket));
            let _ = client.shutdown(Shutdown::Write);
            self.keep(worker, client, Stage::Linger, LINGER);
        }
    }

    fn keep(&mut self, worker: u64, mut client: TcpStream, stage: Stage, patience: Duration) {
        let id = self.next_id();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self
            .poll
            .registry()
            .register(&mut client, token(id), interest)
        {
            return self.fail(worker, &error);
        }
        let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
        // Without it, a client that vanishes is found out when its time is up.
        let _ = SockRef::from(&client).set_tcp_keepalive(&keepalive);
        self.timers.set(id, Some(Instant::now() + patience));
        self.worker(worker).orphans += 1;
        self.orphans.insert(
            id,
            Orphan {
                worker,
                client,
                stage,
            },
        );
    }

    fn fail(&mut self, worker: u64, error: &io::Error) {
        log::debug!("cannot take a connection over: {error}");
        self.worker(worker).give_up("system");
    }
}

/// What nobody sleeps on any more, and everybody sees.
fn thawed(socket: OwnedFd) -> io::Result<TcpStream> {
    tcp::thaw(&socket)?;
    descriptor::set_nonblocking(&socket, true)?;
    Ok(TcpStream::from_std(Plain::from(socket)))
}

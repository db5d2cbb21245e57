//! Moves the bytes of one rescue between the client's socket and the server's. What the bytes mean is
//! the [`Exchange`]'s business.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

use super::client::Client;
use super::peer_names::PeerNames;
use super::routes::Ends;
use super::server_connection::{ServerConnection, later};
use crate::wire::http::{Ending, Exchange};

/// How long a connection to the server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may read nothing of what is there for it.
const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// So often bytes are moved before others have their turn.
const MAX_ROUNDS: usize = 16;

/// What a relay needs from outside.
pub(super) struct RelayContext<'a> {
    pub(super) registry: &'a Registry,
    /// The server connection's token.
    pub(super) token: Token,
    pub(super) ends: Ends,
    pub(super) names: Option<&'a PeerNames>,
    pub(super) now: Instant,
    /// Room to read into, which all share.
    pub(super) scratch: &'a mut [u8],
}

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientTimeouts {
    pub(super) head: Duration,
    pub(super) idle: Duration,
}

#[derive(Debug)]
pub(super) struct Relay {
    exchange: Exchange,
    /// The number of the attempt, and its connection.
    server: Option<(u32, ServerConnection)>,
    /// When a byte was moved last.
    moved: Instant,
    /// Since when a head is awaited.
    head_since: Option<Instant>,
}

/// Who has let a deadline pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimedOut {
    Client,
    /// The connection to the server: another one is tried.
    Connect,
}

/// Where a rescue is when no more bytes can be moved.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Some socket must become ready first.
    Waits,
    /// Others have their turn; there may be more.
    Yields,
    /// All is done and written.
    Ended(Ending),
    /// The client's connection broke.
    ClientBroke,
}

impl Relay {
    pub(super) fn new(exchange: Exchange, now: Instant) -> Self {
        Self {
            exchange,
            server: None,
            moved: now,
            head_since: Some(now),
        }
    }

    /// How many requests have been answered.
    pub(super) fn answered(&self) -> u64 {
        self.exchange.answered()
    }

    /// From where the request is passed on.
    pub(super) fn from(&self) -> Option<SocketAddr> {
        self.server.as_ref()?.1.local()
    }

    /// When [`Self::timed_out`] is to be called; none: the server may take its time.
    pub(super) fn deadline(&self, timeouts: ClientTimeouts) -> Option<Instant> {
        if !self.exchange.to_client().is_empty() {
            Some(self.moved + WRITE_STALL_TIMEOUT)
        } else if let Some(since) = self.connecting_since() {
            Some(since + CONNECT_TIMEOUT)
        } else if self.exchange.awaits_body() {
            Some(self.moved + timeouts.idle)
        } else {
            self.head_since.map(|since| since + timeouts.head)
        }
    }

    pub(super) fn timed_out(&mut self) -> TimedOut {
        if self.exchange.to_client().is_empty() && self.connecting_since().is_some() {
            self.exchange.server_failed(false);
            return TimedOut::Connect;
        }
        TimedOut::Client
    }

    fn connecting_since(&self) -> Option<Instant> {
        self.server.as_ref()?.1.connecting_since()
    }

    /// Moves what can be moved.
    pub(super) fn pump(&mut self, client: &mut Client, around: &mut RelayContext<'_>) -> Progress {
        for _ in 0..MAX_ROUNDS {
            match self.round(client, around) {
                Err(_) => return Progress::ClientBroke,
                Ok(true) => self.moved = around.now,
                Ok(false) => match self.exchange.ending() {
                    // What is written for a client of a broken exchange is the answers before.
                    Some(ending) if self.exchange.to_client().is_empty() => {
                        return Progress::Ended(ending);
                    }
                    _ => return Progress::Waits,
                },
            }
        }
        Progress::Yields
    }

    /// One turn in each direction; whether anything moved. An error is the client's.
    fn round(&mut self, client: &mut Client, around: &mut RelayContext<'_>) -> io::Result<bool> {
        let mut moved = self.read_client(client, around.scratch)?;
        moved |= self.connect(around);
        moved |= self.write_server();
        moved |= self.read_server(around.scratch);
        moved |= self.write_client(client)?;
        self.head_since = match self.exchange.awaits_head() {
            true => self.head_since.or(Some(around.now)),
            false => None,
        };
        Ok(moved)
    }

    fn read_client(&mut self, client: &mut Client, scratch: &mut [u8]) -> io::Result<bool> {
        let room = self.exchange.room_from_client().min(scratch.len());
        let Some(room) = scratch.get_mut(..room).filter(|room| !room.is_empty()) else {
            return Ok(false);
        };
        match later(client.read(room))? {
            None => return Ok(false),
            Some(0) => self.exchange.client_closed(),
            Some(count) => self
                .exchange
                .client_sent(room.get(..count).unwrap_or_default()),
        }
        Ok(true)
    }

    fn write_client(&mut self, client: &mut Client) -> io::Result<bool> {
        if self.exchange.to_client().is_empty() {
            return Ok(false);
        }
        let count = later(client.write(self.exchange.to_client()))?;
        self.exchange.was_sent_to_client(count.unwrap_or(0));
        Ok(count.is_some())
    }

    /// Has the connection to a server that is wanted, and no other.
    fn connect(&mut self, around: &RelayContext<'_>) -> bool {
        let wanted = self.exchange.attempt();
        if let Some((attempt, server)) = &mut self.server
            && Some(*attempt) == wanted
        {
            return server.finish_connecting().unwrap_or_else(|_| {
                self.exchange.server_failed(false);
                true
            });
        }
        self.server = None;
        let Some(attempt) = wanted else {
            return false;
        };
        let RelayContext {
            ends, names, now, ..
        } = *around;
        match ServerConnection::open(ends, names, around.registry, around.token, now) {
            Ok(server) => self.server = Some((attempt, server)),
            Err(error) => {
                let Ends { source, target, .. } = ends;
                log::debug!("cannot connect to {target} from {}: {error}", source.ip());
                self.exchange.server_failed(false);
            }
        }
        true
    }

    fn write_server(&mut self) -> bool {
        let Some((_, server)) = &mut self.server else {
            return false;
        };
        let bytes = self.exchange.to_server();
        if bytes.is_empty() {
            if self.exchange.is_server_input_over() {
                server.end_input();
            }
            return false;
        }
        let count = server.write(bytes);
        self.exchange.was_sent_to_server(count.unwrap_or(0));
        count.is_some()
    }

    fn read_server(&mut self, scratch: &mut [u8]) -> bool {
        let Some((_, server)) = &mut self.server else {
            return false;
        };
        let room = self.exchange.room_from_server().min(scratch.len());
        let Some(room) = scratch.get_mut(..room).filter(|room| !room.is_empty()) else {
            return false;
        };
        match server.read(room) {
            Ok(None) => return false,
            Ok(Some(0)) => self.exchange.server_closed(),
            Ok(Some(count)) => self
                .exchange
                .server_sent(room.get(..count).unwrap_or_default()),
            Err(_) => self.exchange.server_failed(true),
        }
        true
    }
}

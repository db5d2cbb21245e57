//! Moves the bytes of one rescue between the client's socket and the server's. What they mean is
//! the [`Exchange`]'s business.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::client::Client;
use crate::wire::http::{Ending, Exchange};

/// How long a connection to the server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may read nothing of what is there for it.
const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// So often bytes are moved before others have their turn.
const MAX_ROUNDS: usize = 16;

/// What a rescue needs from outside.
pub(super) struct Surroundings<'a> {
    pub(super) registry: &'a Registry,
    /// The server connection's token.
    pub(super) token: Token,
    pub(super) target: SocketAddr,
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
    pub(super) exchange: Exchange,
    server: Option<Server>,
    /// When a byte was moved last.
    moved: Instant,
    /// Since when a head is awaited.
    head_since: Option<Instant>,
}

#[derive(Debug)]
struct Server {
    stream: TcpStream,
    attempt: u32,
    since: Instant,
    is_connected: bool,
    /// It takes nothing more, but may still say something.
    is_deaf: bool,
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

    /// When timeouts ends; none: the server may take its time.
    pub(super) fn deadline(&self, timeouts: ClientTimeouts) -> Option<Instant> {
        let connecting = self.server.as_ref().filter(|server| !server.is_connected);
        if !self.exchange.to_client().is_empty() {
            Some(self.moved + WRITE_STALL_TIMEOUT)
        } else if let Some(server) = connecting {
            Some(server.since + CONNECT_TIMEOUT)
        } else if self.exchange.awaits_body() {
            Some(self.moved + timeouts.idle)
        } else {
            self.head_since.map(|since| since + timeouts.head)
        }
    }

    /// ClientTimeouts has ended. Whether it is the client's fault: if not, another connection to the
    /// server is tried.
    pub(super) fn is_clients_fault(&mut self) -> bool {
        let is_connecting = self
            .server
            .as_ref()
            .is_some_and(|server| !server.is_connected);
        if self.exchange.to_client().is_empty() && is_connecting {
            self.exchange.server_failed(false);
            return false;
        }
        true
    }

    /// Moves what can be moved.
    pub(super) fn pump(&mut self, client: &mut Client, around: &mut Surroundings<'_>) -> Progress {
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
    fn round(&mut self, client: &mut Client, around: &mut Surroundings<'_>) -> io::Result<bool> {
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
    fn connect(&mut self, around: &Surroundings<'_>) -> bool {
        let wanted = self.exchange.attempt();
        if self.server.as_ref().map(|server| server.attempt) == wanted {
            return self.check_connected();
        }
        self.server = None;
        let Some(attempt) = wanted else {
            return false;
        };
        match open(around) {
            Ok(stream) => {
                self.server = Some(Server {
                    stream,
                    attempt,
                    since: around.now,
                    is_connected: false,
                    is_deaf: false,
                });
            }
            Err(error) => {
                log::debug!("cannot connect to {}: {error}", around.target);
                self.exchange.server_failed(false);
            }
        }
        true
    }

    fn check_connected(&mut self) -> bool {
        let Some(server) = self.server.as_mut().filter(|server| !server.is_connected) else {
            return false;
        };
        match server.stream.take_error() {
            Ok(None) if server.stream.peer_addr().is_err() => return false,
            Ok(None) => server.is_connected = true,
            Ok(Some(_)) | Err(_) => self.exchange.server_failed(false),
        }
        true
    }

    fn write_server(&mut self) -> bool {
        let Some(server) = self.server.as_mut().filter(|server| server.is_connected) else {
            return false;
        };
        let bytes = self.exchange.to_server();
        if bytes.is_empty() {
            if self.exchange.is_server_input_over() && !server.is_deaf {
                server.is_deaf = true;
                // If it is gone already, the next read tells.
                let _ = server.stream.shutdown(Shutdown::Write);
            }
            return false;
        }
        let length = bytes.len();
        let written = if server.is_deaf {
            Ok(Some(length))
        } else {
            later(server.stream.write(bytes))
        };
        server.is_deaf |= written.is_err();
        // What it does not want is dropped: it may have answered before it stopped to listen.
        let count = written.unwrap_or(Some(length));
        self.exchange.was_sent_to_server(count.unwrap_or(0));
        count.is_some()
    }

    fn read_server(&mut self, scratch: &mut [u8]) -> bool {
        let Some(server) = self.server.as_mut().filter(|server| server.is_connected) else {
            return false;
        };
        let room = self.exchange.room_from_server().min(scratch.len());
        let Some(room) = scratch.get_mut(..room).filter(|room| !room.is_empty()) else {
            return false;
        };
        match later(server.stream.read(room)) {
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

fn open(around: &Surroundings<'_>) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(around.target)?;
    // Heads and bodies are passed on as they come, in small pieces sometimes.
    let _ = stream.set_nodelay(true);
    around.registry.register(
        &mut stream,
        around.token,
        Interest::READABLE | Interest::WRITABLE,
    )?;
    Ok(stream)
}

/// None: not now.
fn later(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

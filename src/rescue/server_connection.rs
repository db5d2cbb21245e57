//! The connection to the server that a request is passed on to.
//!
//! | state | the connection is made | a write fails | nothing more is to be written |
//! | --- | --- | --- | --- |
//! | `Connecting` | `Connected` | - | - |
//! | `Connected` | - | `ReadOnly` | `ReadOnly`, after a shutdown |
//! | `ReadOnly` | - | - | - |

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::peer_names::{PeerName, PeerNames};
use super::routes::Ends;
use crate::sys::connect;

#[derive(Debug)]
pub(super) struct ServerConnection {
    /// Dropped before the stream, so before the port is another's.
    _name: Option<PeerName>,
    stream: TcpStream,
    /// Where it comes from; none where that cannot be seen.
    local: Option<SocketAddr>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting {
        since: Instant,
    },
    Connected,
    /// Nothing more can be written, but an answer may still come.
    ReadOnly,
}

impl ServerConnection {
    pub(super) fn open(
        ends: Ends,
        names: Option<&PeerNames>,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) -> io::Result<Self> {
        let (name, socket) = match ends.client.zip(names) {
            Some((client, names)) => {
                let (name, socket) = names.connect(ends.source, ends.target, client)?;
                (Some(name), socket)
            }
            None => (None, connect::connect_from(ends.source, ends.target)?),
        };
        let mut stream = TcpStream::from_std(socket.into());
        // Heads and bodies are passed on as they come, in small pieces sometimes.
        let _ = stream.set_nodelay(true);
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut stream, token, interest)?;
        Ok(Self {
            _name: name,
            local: stream.local_addr().ok(),
            stream,
            state: State::Connecting { since: now },
        })
    }

    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    pub(super) fn connecting_since(&self) -> Option<Instant> {
        match self.state {
            State::Connecting { since } => Some(since),
            State::Connected | State::ReadOnly => None,
        }
    }

    /// Whether the connection has been made since the last call.
    ///
    /// # Errors
    /// Those of connect(2).
    pub(super) fn finish_connecting(&mut self) -> io::Result<bool> {
        if self.connecting_since().is_none() {
            return Ok(false);
        }
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        let is_connected = self.stream.peer_addr().is_ok();
        if is_connected {
            self.state = State::Connected;
        }
        Ok(is_connected)
    }

    /// How many bytes were written; none: not now. What a server does not want is dropped: the server
    /// may have answered before it stopped to read.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        match self.state {
            State::Connecting { .. } => None,
            State::ReadOnly => Some(bytes.len()),
            State::Connected => later(self.stream.write(bytes)).unwrap_or_else(|_| {
                self.state = State::ReadOnly;
                Some(bytes.len())
            }),
        }
    }

    /// Nothing more is to be written.
    pub(super) fn end_input(&mut self) {
        match self.state {
            State::Connecting { .. } | State::ReadOnly => {}
            State::Connected => {
                self.state = State::ReadOnly;
                // If the server is gone already, the next read tells.
                let _ = self.stream.shutdown(Shutdown::Write);
            }
        }
    }

    /// How many bytes were read; none: not now.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.state {
            State::Connecting { .. } => Ok(None),
            State::Connected | State::ReadOnly => later(self.stream.read(buffer)),
        }
    }
}

/// None: not now.
pub(super) fn later(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

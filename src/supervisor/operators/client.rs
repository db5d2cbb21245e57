//! One client of the control socket: what it has sent, and what is kept for it.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::UnixStream;

use crate::fleet::ClientId;
use crate::sys::socket::Peer;
use crate::wire::control::MAX_REQUEST;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: UnixStream,
    pub(super) id: ClientId,
    pub(super) peer: Peer,
    request: Vec<u8>,
    pub(super) unread: Vec<u8>,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its request is not complete.
    Sending,
    /// It waits for the final reply.
    Waiting,
    /// Its final reply is sent, or is kept until the client reads it.
    Answered,
}

impl Client {
    pub(super) fn new(stream: UnixStream, id: ClientId, peer: Peer) -> Self {
        Self {
            stream,
            id,
            peer,
            request: Vec::new(),
            unread: Vec::new(),
            state: State::Sending,
        }
    }

    /// Reads what there is; a whole request line, if one has come. An error: disconnect.
    pub(super) fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0; MAX_REQUEST];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) if self.state != State::Sending => {} // one request is all that is answered
                Ok(count) => self.request.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if let Some(end) = self.request.iter().position(|byte| *byte == b'\n') {
                self.request.truncate(end);
                self.state = State::Waiting;
                return Ok(Some(std::mem::take(&mut self.request)));
            }
            if self.request.len() > MAX_REQUEST {
                return Err(ErrorKind::InvalidData.into());
            }
        }
    }

    /// Writes what can be written; false when the client is to be disconnected.
    pub(super) fn flush(&mut self) -> bool {
        while !self.unread.is_empty() {
            match self.stream.write(&self.unread) {
                Ok(count) => drop(self.unread.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.state != State::Answered
    }
}

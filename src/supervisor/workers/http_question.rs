//! One HTTP request to a worker, and what there is of its answer.

use std::io::{self, Read, Write};

use mio::{Interest, Token};
use socket2::Socket;

use crate::fleet::{Endpoint, WorkerId};
use crate::supervisor::sources::{Source, Sources};

/// How much of an answer is read; its status line is at its beginning.
const MAX_HEAD_LEN: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Question {
    token: Token,
    unsent: Vec<u8>,
    answer: Vec<u8>,
}

impl Question {
    /// Begins to ask for a path.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(super) fn new(
        sources: &mut Sources,
        worker: WorkerId,
        path: &str,
        socket: &Socket,
        endpoint: &Endpoint,
    ) -> io::Result<Self> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = sources.add(socket, Source::Probe(worker), interest)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {endpoint}\r\nUser-Agent: reuseport-run\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        Ok(Self {
            token,
            unsent: request.into_bytes(),
            answer: Vec::new(),
        })
    }

    /// Stops waiting for the answer.
    pub(super) fn close(&self, sources: &mut Sources, socket: &Socket) {
        sources.remove(socket, self.token);
    }

    /// Writes and reads what is possible; the status, when there is one.
    pub(super) fn advance(&mut self, socket: &Socket) -> io::Result<Option<u16>> {
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        let mut stream = socket;
        while !self.unsent.is_empty() {
            match stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if is_not_yet(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let mut buffer = [0; 2048];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.answer.extend_from_slice(&buffer[..count]),
                Err(error) if is_not_yet(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            if let Some(status) = crate::wire::http::status(&self.answer)? {
                return Ok(Some(status));
            }
            if self.answer.len() > MAX_HEAD_LEN {
                return Err(io::Error::other("the answer's head is too long"));
            }
        }
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.kind() == io::ErrorKind::NotConnected
}

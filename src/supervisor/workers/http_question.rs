//! One HTTP request to a worker, and what there is of its answer.

use std::io::{self, Read, Write};
use std::net::IpAddr;

use mio::{Interest, Token};
use socket2::Socket;

use crate::fleet::Endpoint;
use crate::supervisor::sources::{Source, Sources};

/// How much of an answer is read; its status line is at its beginning.
const MAX_HEAD_LEN: usize = 16 * 1024;

/// How much more is read so that nobody is told by a reset that we have gone.
const MAX_REST_LEN: usize = 1024 * 1024;

/// What is asked for, of every worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) path: &'a str,
    /// The `Host`; none: the endpoint.
    pub(crate) host: Option<&'a str>,
}

#[derive(Debug)]
pub(super) struct Question {
    /// What is asked for, for a person.
    request: String,
    token: Token,
    unsent: Vec<u8>,
    answer: Vec<u8>,
    /// How much was read after the status was known.
    rest: usize,
}

impl Question {
    /// Begins to ask.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(super) fn new(
        sources: &mut Sources,
        source: Source,
        asked: Asked<'_>,
        socket: &Socket,
        endpoint: &Endpoint,
    ) -> io::Result<Self> {
        let path = asked.path;
        let host = asked.host.map_or_else(|| host_of(endpoint), str::to_owned);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: reuseport-run\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        let mut unsent = request.into_bytes();
        // On this host a connection is made by the time that connect(2) returns. Where this fails, so does the next.
        let interest = match send(socket, &mut unsent) {
            Ok(true) => Interest::READABLE,
            Ok(false) | Err(_) => Interest::READABLE | Interest::WRITABLE,
        };
        Ok(Self {
            token: sources.add(socket, source, interest)?,
            request: format!("GET {path} (Host: {host})"),
            unsent,
            answer: Vec::new(),
            rest: 0,
        })
    }

    /// What is asked for, for a person.
    pub(super) fn request(&self) -> &str {
        &self.request
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
        if !send(socket, &mut self.unsent)? {
            return Ok(None);
        }
        let mut stream = socket;
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

    /// Reads what is left of an answer whose status is known, and forgets it. Whether that was all, or is enough.
    pub(super) fn is_read_to_its_end(&mut self, socket: &Socket) -> bool {
        let mut stream = socket;
        let mut buffer = [0; 8192];
        while self.rest < MAX_REST_LEN {
            match stream.read(&mut buffer) {
                Ok(0) => return true,
                Ok(count) => self.rest += count,
                Err(error) => return !is_not_yet(&error),
            }
        }
        true
    }
}

/// Writes what is possible; whether that was all.
fn send(socket: &Socket, unsent: &mut Vec<u8>) -> io::Result<bool> {
    let mut stream = socket;
    while !unsent.is_empty() {
        match stream.write(unsent) {
            Ok(count) => drop(unsent.drain(..count)),
            Err(error) if is_not_yet(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// As what a client of this endpoint would know the server. A server that looks at it refuses `0.0.0.0`, and knows
/// `localhost` for what comes from this machine.
fn host_of(endpoint: &Endpoint) -> String {
    let (ip, port) = (endpoint.address.ip(), endpoint.address.port());
    let host = match ip {
        _ if ip.is_unspecified() || ip.is_loopback() => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    // What a client leaves out, too (RFC 9110, 7.2).
    match port {
        80 => host,
        _ => format!("{host}:{port}"),
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.kind() == io::ErrorKind::NotConnected
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_host_is_what_a_client_would_name() {
        for (address, host) in [
            ("0.0.0.0:8080", "localhost:8080"),
            ("[::]:8080", "localhost:8080"),
            ("127.0.0.1:8080", "localhost:8080"),
            ("[::1]:80", "localhost"),
            ("10.0.0.7:8080", "10.0.0.7:8080"),
            ("[2001:db8::7]:8080", "[2001:db8::7]:8080"),
            ("10.0.0.7:80", "10.0.0.7"),
        ] {
            let endpoint = Endpoint {
                address: address.parse().unwrap(),
                v6_only: false,
            };
            assert_eq!(host_of(&endpoint), host, "{address}");
        }
    }
}

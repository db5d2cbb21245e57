//! One conversation with a supervisor: a request, then lines until one that is final.
//!
//! Who answers is not trusted: a line's length is bounded, and where an answer must be quick,
//! there is one deadline for all of it, so that a slow drip of bytes cannot hold us up.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::exit::Exit;
use crate::wire::control::{Reply, Request, parse_reply, request_line};

/// The longest reply line, in bytes: a status of thousands of workers fits.
const MAX_REPLY_LEN: usize = 16 << 20;

/// How long a supervisor may take to accept a connection or to take the request: it has one
/// thread, which never waits, so longer than this means that it hangs.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

const CHUNK: usize = 64 << 10;

/// Why no reply came.
#[derive(Debug)]
pub(crate) enum Loss {
    /// The connection ended.
    Gone,
    /// The deadline passed.
    Late,
    /// What came is no reply: a sentence.
    Garbage(String),
    /// Something else.
    Failed(io::Error),
}

/// A connection to a supervisor.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    /// Bytes that were read, and not yet given out as a line.
    buffer: Vec<u8>,
    /// So many of them are known to hold no newline.
    searched: usize,
    pub(crate) path: PathBuf,
}

impl Client {
    /// Connects, within a few seconds.
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // For connect(2) on Unix sockets too: it waits while the other side's queue is full.
        socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
        socket.connect(&SockAddr::unix(path)?)?;
        Ok(Self {
            stream: UnixStream::from(OwnedFd::from(socket)),
            buffer: Vec::new(),
            searched: 0,
            path: path.to_owned(),
        })
    }

    /// Sends the request.
    pub(crate) fn send(&mut self, request: &Request) -> Result<(), Loss> {
        self.stream
            .write_all(&request_line(request))
            .map_err(Loss::from)
    }

    /// The next reply; without a deadline, however long it takes.
    pub(crate) fn receive(&mut self, deadline: Option<Instant>) -> Result<Reply, Loss> {
        let line = self.line(deadline)?;
        parse_reply(&line).map_err(Loss::Garbage)
    }

    fn line(&mut self, deadline: Option<Instant>) -> Result<Vec<u8>, Loss> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(line);
            }
            if self.buffer.len() > MAX_REPLY_LEN {
                return Err(Loss::Garbage(format!(
                    "the reply is longer than {MAX_REPLY_LEN} bytes"
                )));
            }
            self.read_more(deadline)?;
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let fresh = self.buffer.iter().skip(self.searched);
        let Some(end) = fresh.copied().position(|byte| byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let mut line: Vec<u8> = self.buffer.drain(..=self.searched + end).collect();
        line.pop();
        self.searched = 0;
        Some(line)
    }

    fn read_more(&mut self, deadline: Option<Instant>) -> Result<(), Loss> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(Loss::Late);
        }
        self.stream.set_read_timeout(left).map_err(Loss::Failed)?;
        let mut chunk = [0; CHUNK];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Loss::Gone),
            Ok(length) => {
                self.buffer
                    .extend_from_slice(chunk.get(..length).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(Loss::from(error)),
        }
    }
}

impl From<io::Error> for Loss {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A Unix socket closed with unread bytes in it resets its peer.
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Gone,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Late,
            _ => Self::Failed(error),
        }
    }
}

impl Loss {
    /// The sentence and the exit code for it.
    pub(crate) fn into_exit(self, path: &Path) -> Exit {
        let path = path.display();
        match self {
            Self::Gone => Exit::absent(format!(
                "the supervisor went away before it answered ({path}); its log says why"
            )),
            Self::Late => Exit::absent(format!(
                "the supervisor at {path} did not answer in time; it hangs or is stopped"
            )),
            Self::Garbage(reason) => Exit::failed(format!(
                "{path}: {reason}; is it a supervisor of the version that reuseport-ctl --version \
                 names?"
            )),
            Self::Failed(error) => {
                Exit::absent(format!("cannot talk to the supervisor at {path}: {error}"))
            }
        }
    }
}

/// Whether a supervisor still answers at this path.
pub(crate) fn answers(path: &Path, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    let Ok(mut client) = Client::connect(path) else {
        return false;
    };
    client.send(&Request::Status).is_ok() && client.receive(Some(deadline)).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::thread;

    use super::*;
    use crate::wire::control::reply_line;

    fn pair() -> (Client, UnixStream) {
        let (stream, other) = UnixStream::pair().unwrap();
        let path = PathBuf::from("/s");
        let client = Client {
            stream,
            buffer: Vec::new(),
            searched: 0,
            path,
        };
        (client, other)
    }

    fn done(message: &str) -> Reply {
        Reply::Done {
            message: message.to_owned(),
        }
    }

    #[test]
    fn lines_come_in_any_pieces() {
        let (mut client, mut other) = pair();
        let bytes = [reply_line(&done("a")), reply_line(&done("b"))].concat();
        let writer = thread::spawn(move || {
            for byte in bytes {
                other.write_all(&[byte]).unwrap();
            }
        });
        assert_eq!(client.receive(None).unwrap(), done("a"));
        assert_eq!(client.receive(None).unwrap(), done("b"));
        assert!(matches!(client.receive(None), Err(Loss::Gone)));
        writer.join().unwrap();
    }

    #[test]
    fn a_drip_of_bytes_does_not_move_the_deadline() {
        let (mut client, mut other) = pair();
        let deadline = Instant::now() + Duration::from_millis(100);
        // Each byte would start a time-out of its own anew; it ends when the client is dropped.
        let writer = thread::spawn(move || {
            while other.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(1));
            }
        });
        assert!(matches!(client.receive(Some(deadline)), Err(Loss::Late)));
        assert!(Instant::now() >= deadline);
        drop(client);
        writer.join().unwrap();
    }

    #[test]
    fn silence_is_late() {
        let (mut client, _other) = pair();
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(matches!(client.receive(Some(deadline)), Err(Loss::Late)));
        assert!(Instant::now() < deadline + WRITE_TIMEOUT);
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let (mut client, mut other) = pair();
        let writer = thread::spawn(move || while other.write_all(&[b'x'; CHUNK]).is_ok() {});
        let loss = client.receive(None).unwrap_err();
        assert!(matches!(&loss, Loss::Garbage(reason) if reason.contains("16777216 bytes")));
        assert!(client.buffer.len() <= MAX_REPLY_LEN + CHUNK);
        drop(client);
        writer.join().unwrap();
    }
}

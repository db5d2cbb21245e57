//! One stream of one worker.

use std::io;
use std::os::fd::OwnedFd;

use mio::Token;

use super::sink::Sink;
use super::stream::Stream;
use super::tail::Tail;
use crate::fleet::WorkerId;
use crate::sys::descriptor;

/// The longest line that is given a prefix as a whole.
const MAX_LINE_LEN: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) end: OwnedFd,
    pub(crate) worker: WorkerId,
    pub(crate) stream: Stream,
    /// Written before each line; none: what comes is passed on as it comes.
    pub(crate) prefix: Option<Vec<u8>>,
    /// What has come of a line that is given a prefix.
    pub(crate) line: Vec<u8>,
}

impl Pipe {
    /// Reads until there is nothing left, or no room for it; false at the end of the stream.
    pub(crate) fn drain(&mut self, sink: &mut Sink, tail: &mut Tail, token: Token) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            if !sink.has_room() {
                sink.pause(token);
                return true;
            }
            match nix::unistd::read(&self.end, &mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    tail.remember(&buffer[..count]);
                    self.pass_on(sink, &buffer[..count]);
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::EAGAIN) => return true,
                Err(_) => return false,
            }
        }
    }

    fn pass_on(&mut self, sink: &mut Sink, bytes: &[u8]) {
        if self.prefix.is_none() {
            return sink.push(bytes);
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() >= MAX_LINE_LEN {
                self.finish(sink);
            }
        }
    }

    /// Passes on the line that there is, even if it has no end yet.
    pub(crate) fn finish(&mut self, sink: &mut Sink) {
        let (Some(prefix), false) = (&self.prefix, self.line.is_empty()) else {
            return;
        };
        let mut line = prefix.clone();
        line.append(&mut self.line);
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        sink.push(&line);
    }
}

/// Both ends of a pipe: ours, which is nonblocking, and the worker's.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = io::pipe()?;
    descriptor::set_nonblocking(&ours, true)?;
    Ok((ours.into(), theirs.into()))
}

//! The workers' channels: what they say, and what is said to them.
//!
//! Nothing here waits for a worker. What is to be said waits in a queue that is bounded; a worker that does not read
//! loses what finds no room there, and hears of nothing else. A worker that says more than is read waits for room, as in
//! every write to a socket: of each, so much is read in a turn, and then it is the others' turn.
//!
//! Node takes one descriptor at a time, and says when it has it: until then, nothing else is said to it
//! (`_handleQueue` of its own primary).

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use log::debug;
use mio::unix::SourceFd;
use mio::{Interest, Token};
use serde_json::Value;

use super::repeated::RepeatedWarning;
use super::sources::{Source, Sources};
use crate::config::Channel as Kind;
use crate::fleet::WorkerId;
use crate::sys::channel;
use crate::wire::channel::{Lines, MAX_LINE_LEN, Message};

/// How much is read of one worker in a turn.
const MAX_READ_LEN: usize = 1 << 16;
/// How much may wait to be said to one worker.
const MAX_WAITING_LEN: usize = 4 << 20;

/// All channels.
#[derive(Debug, Default)]
pub(super) struct Channels {
    workers: BTreeMap<WorkerId, Channel>,
    unread: RepeatedWarning,
    unreadable: RepeatedWarning,
    too_long: RepeatedWarning,
}

#[derive(Debug)]
struct Channel {
    kind: Kind,
    stream: UnixStream,
    token: Token,
    lines: Lines,
    waiting: VecDeque<Outgoing>,
    waiting_len: usize,
    turn: Turn,
}

/// A message that is on its way, or waits.
#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    handle: Option<OwnedFd>,
}

/// Whether something may be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Ours,
    /// The worker has been sent a descriptor, and has not said that it has it.
    Theirs,
}

impl Channels {
    /// A channel for a new worker: its end, which the worker gets.
    ///
    /// # Errors
    /// Those of socketpair(2) and epoll_ctl(2).
    pub(super) fn open(
        &mut self,
        sources: &mut Sources,
        worker: WorkerId,
        kind: Kind,
    ) -> io::Result<Option<OwnedFd>> {
        if kind == Kind::None {
            return Ok(None);
        }
        let (stream, theirs) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = sources.add(&stream, Source::Channel(worker), interest)?;
        let channel = Channel {
            kind,
            stream,
            token,
            lines: Lines::default(),
            waiting: VecDeque::new(),
            waiting_len: 0,
            turn: Turn::Ours,
        };
        self.workers.insert(worker, channel);
        Ok(Some(theirs.into()))
    }

    /// A worker has ended, or was not started.
    pub(super) fn end(&mut self, sources: &mut Sources, worker: WorkerId) {
        if let Some(channel) = self.workers.remove(&worker) {
            sources.remove(&channel.stream, channel.token);
        }
    }

    /// The kind of a worker's channel, if it has one that is open.
    pub(super) fn kind(&self, worker: WorkerId) -> Option<Kind> {
        self.workers.get(&worker).map(|it| it.kind)
    }

    /// What a worker has said; and what waits to be said to it goes on.
    pub(super) fn ready(&mut self, sources: &mut Sources, worker: WorkerId) -> Vec<Message> {
        let Some(channel) = self.workers.get_mut(&worker) else {
            return Vec::new();
        };
        let received = channel.receive(sources);
        let skipped = channel.lines.take_skipped();
        if skipped > 0 {
            self.too_long.warn(format!(
                "worker {worker}: a message of more than {MAX_LINE_LEN} bytes over its channel is dropped"
            ));
        }
        let lines = match received {
            Ok(lines) => lines,
            Err(error) => {
                debug!("worker {worker}: its channel is closed: {error}");
                self.end(sources, worker);
                return Vec::new();
            }
        };
        let mut messages = Vec::new();
        for line in lines {
            match Message::parse(&line) {
                Some(Message::HandleTaken) => self.handle_taken(worker),
                Some(message) => messages.push(message),
                None => self.unreadable.warn(format!(
                    "worker {worker}: what it says over its channel is no JSON, and is dropped"
                )),
            }
        }
        self.send_waiting(sources, worker);
        messages
    }

    fn handle_taken(&mut self, worker: WorkerId) {
        if let Some(channel) = self.workers.get_mut(&worker) {
            channel.turn = Turn::Ours;
        }
    }

    /// Says something to a worker, if it has a channel.
    pub(super) fn say(&mut self, sources: &mut Sources, worker: WorkerId, message: &Value) {
        self.push(sources, worker, message, None);
    }

    /// Likewise; a descriptor goes along.
    pub(super) fn hand_over(
        &mut self,
        sources: &mut Sources,
        worker: WorkerId,
        message: &Value,
        handle: OwnedFd,
    ) {
        self.push(sources, worker, message, Some(handle));
    }

    fn push(
        &mut self,
        sources: &mut Sources,
        worker: WorkerId,
        message: &Value,
        handle: Option<OwnedFd>,
    ) {
        let Some(channel) = self.workers.get_mut(&worker) else {
            return;
        };
        let mut bytes = message.to_string().into_bytes();
        bytes.push(b'\n');
        if channel.waiting_len + bytes.len() > MAX_WAITING_LEN {
            return self.unread.warn(format!(
                "worker {worker} does not read what is said to it over its channel: a message is dropped"
            ));
        }
        channel.waiting_len += bytes.len();
        channel.waiting.push_back(Outgoing {
            bytes,
            sent: 0,
            handle,
        });
        self.send_waiting(sources, worker);
    }

    fn send_waiting(&mut self, sources: &mut Sources, worker: WorkerId) {
        let sent = self.workers.get_mut(&worker).map(Channel::send);
        if let Some(Err(error)) = sent {
            debug!("worker {worker}: its channel is closed: {error}");
            self.end(sources, worker);
        }
    }

    /// When the count of a warning is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let warnings = [&self.unread, &self.unreadable, &self.too_long].into_iter();
        warnings.filter_map(RepeatedWarning::deadline).min()
    }

    pub(super) fn check_time(&mut self) {
        self.unread.check_time();
        self.unreadable.check_time();
        self.too_long.check_time();
    }
}

impl Channel {
    /// The lines that have come. Where there may be more, the loop hears of it again.
    fn receive(&mut self, sources: &Sources) -> io::Result<Vec<Vec<u8>>> {
        let mut bytes = [0; 1 << 13];
        let (mut lines, mut count) = (Vec::new(), 0);
        while count < MAX_READ_LEN {
            // What is passed along is closed: there is nobody who asked for it.
            match channel::receive(&self.stream, &mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(lines),
                Err(error) => return Err(error),
                Ok((0, _)) if lines.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((0, _)) => break,
                Ok((length, _)) => {
                    lines.extend(self.lines.push(&bytes[..length]));
                    count += length;
                }
            }
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        let number = self.stream.as_fd().as_raw_fd();
        sources
            .registry()
            .reregister(&mut SourceFd(&number), self.token, interest)?;
        Ok(lines)
    }

    fn send(&mut self) -> io::Result<()> {
        while self.turn == Turn::Ours
            && let Some(next) = self.waiting.front_mut()
        {
            let handle = next.handle.as_ref().filter(|_| next.sent == 0);
            let handle: Vec<i32> = handle.map(AsRawFd::as_raw_fd).into_iter().collect();
            match channel::send_some(&self.stream, &next.bytes[next.sent..], &handle) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                sent => next.sent += sent?,
            }
            if next.sent == next.bytes.len()
                && let Some(sent) = self.waiting.pop_front()
            {
                self.waiting_len -= sent.bytes.len();
                if sent.handle.is_some() {
                    self.turn = Turn::Theirs;
                }
            }
        }
        Ok(())
    }
}

/// A worker's end, while it is started.
pub(super) fn end_of(theirs: &Option<OwnedFd>) -> Option<BorrowedFd<'_>> {
    theirs.as_ref().map(|end| end.as_fd())
}

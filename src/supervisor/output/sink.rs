//! What waits to be written to one of our streams, and who has to wait for that.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use mio::{Interest, Token};

use super::stream::{MAX_WRITE_LEN, Stream};
use crate::supervisor::sources::{Source, Sources};

/// How much is kept before workers have to wait.
const MAX_QUEUE_LEN: usize = 256 * 1024;
/// How long they wait.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Sink {
    stream: Stream,
    queue: VecDeque<u8>,
    /// Pipes that are not read until there is room.
    paused: BTreeSet<Token>,
    /// Since when nothing could be written.
    stuck: Option<Instant>,
    token: Option<Token>,
    lost: u64,
    is_closed: bool,
}

impl Sink {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            queue: VecDeque::new(),
            paused: BTreeSet::new(),
            stuck: None,
            token: None,
            lost: 0,
            is_closed: false,
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() < MAX_QUEUE_LEN || self.is_dropping()
    }

    /// Leaves a pipe alone until there is room.
    pub(crate) fn pause(&mut self, pipe: Token) {
        self.paused.insert(pipe);
    }

    /// The pipes that may be read again.
    pub(crate) fn resumed(&mut self) -> BTreeSet<Token> {
        if self.has_room() {
            std::mem::take(&mut self.paused)
        } else {
            BTreeSet::new()
        }
    }

    /// When those who wait have waited long enough.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let since = self.stuck.filter(|_| !self.paused.is_empty());
        since.map(|since| since + WRITE_TIMEOUT)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether something can be written now or within that time.
    pub(crate) fn is_writable(&self, patience: Duration) -> bool {
        self.stream.is_writable(patience)
    }

    fn is_dropping(&self) -> bool {
        self.is_closed
            || self
                .stuck
                .is_some_and(|since| since.elapsed() >= WRITE_TIMEOUT)
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.queue.len() >= MAX_QUEUE_LEN && self.is_dropping() {
            self.lost += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        } else if !self.is_closed {
            self.queue.extend(bytes);
        }
    }

    pub(crate) fn flush(&mut self, sources: &mut Sources, now: Instant) {
        while !self.queue.is_empty() {
            if !self.stream.is_writable(Duration::ZERO) {
                self.stuck.get_or_insert(now);
                return self.wait(sources);
            }
            let (front, _) = self.queue.as_slices();
            let piece = &front[..front.len().min(MAX_WRITE_LEN)];
            match nix::unistd::write(self.stream.descriptor(), piece) {
                Ok(count) => drop(self.queue.drain(..count)),
                Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => {
                    return self.wait(sources);
                }
                Err(_) => return self.close(),
            }
            self.unstuck();
        }
    }

    /// Nobody reads it any more; what would be written is of no use to anyone.
    fn close(&mut self) {
        self.is_closed = true;
        self.queue.clear();
    }

    fn unstuck(&mut self) {
        self.stuck = None;
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            let notice = format!(
                "reuseport-run: {lost} lines of output were lost here: their reader was too slow\n"
            );
            self.queue.extend(notice.as_bytes());
        }
    }

    fn wait(&mut self, sources: &mut Sources) {
        if self.token.is_none() {
            // A regular file cannot be waited for; it is always writable.
            self.token = sources
                .add(
                    &self.stream.descriptor(),
                    Source::Sink(self.stream as usize),
                    Interest::WRITABLE,
                )
                .ok();
        }
    }
}

//! The workers' output, and our own log, on its way to our standard output and error.
//!
//! Nothing here ever waits: whoever reads our output may be slow, and the loop that writes it also
//! answers `bind` and reaps. So what cannot be written is kept, up to a bound; at the bound we stop
//! reading, and then a worker that writes waits as it would without us. It does not wait for ever:
//! when nothing could be written for [`PATIENCE`], lines are dropped, and counted, and the count is
//! the first thing that is written when the reader is back.
//!
//! Our descriptors are not made nonblocking, as they are shared with who started us. A pipe or
//! terminal that poll(2) calls writable takes [`PIECE`] bytes without blocking (pipe(7)).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mio::{Interest, Token};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::sources::{Source, Sources};
use crate::fleet::WorkerId;

/// `PIPE_BUF`.
const PIECE: usize = 4096;
/// How much is kept before workers have to wait.
const FULL: usize = 256 * 1024;
/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest line that is given a prefix as a whole.
const LONGEST_LINE: usize = 16 * 1024;
/// How much of a worker's last output is remembered.
const TAIL: usize = 2048;

/// Our log's writer: it only puts the line in the queue.
#[derive(Clone, Debug, Default)]
pub struct LogQueue(Arc<Mutex<Vec<u8>>>);

impl Write for LogQueue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Ok(mut queue) = self.0.lock() {
            queue.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogQueue {
    fn take(&self) -> Vec<u8> {
        self.0
            .lock()
            .map(|mut queue| std::mem::take(&mut *queue))
            .unwrap_or_default()
    }
}

/// Our standard output or error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Output = 0,
    Errors = 1,
}

impl Stream {
    fn number(self) -> i32 {
        match self {
            Self::Output => 1,
            Self::Errors => 2,
        }
    }
}

#[derive(Debug)]
pub(super) struct Output {
    log: LogQueue,
    sinks: [Sink; 2],
    pipes: BTreeMap<Token, Pipe>,
    tails: BTreeMap<WorkerId, VecDeque<u8>>,
}

#[derive(Debug)]
struct Sink {
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

#[derive(Debug)]
struct Pipe {
    end: OwnedFd,
    worker: WorkerId,
    stream: Stream,
    prefix: Option<Vec<u8>>,
    line: Vec<u8>,
}

impl Output {
    pub(super) fn new(log: LogQueue) -> Self {
        let sinks = [Stream::Output, Stream::Errors].map(Sink::new);
        Self {
            log,
            sinks,
            pipes: BTreeMap::new(),
            tails: BTreeMap::new(),
        }
    }

    /// Takes a worker's stream over: `end` is nonblocking.
    pub(super) fn add(
        &mut self,
        sources: &mut Sources,
        end: OwnedFd,
        worker: WorkerId,
        stream: Stream,
        prefix: Option<Vec<u8>>,
    ) -> io::Result<()> {
        let token = sources.add(&end, Source::Pipe, Interest::READABLE)?;
        self.pipes.insert(
            token,
            Pipe {
                end,
                worker,
                stream,
                prefix,
                line: Vec::new(),
            },
        );
        Ok(())
    }

    pub(super) fn pipe_ready(&mut self, sources: &mut Sources, token: Token) {
        let Some(pipe) = self.pipes.get_mut(&token) else {
            return;
        };
        let sink = &mut self.sinks[pipe.stream as usize];
        let tail = self.tails.entry(pipe.worker).or_default();
        if !pipe.drain(sink, tail, token) {
            pipe.finish(sink);
            sources.remove(&pipe.end, token);
            self.pipes.remove(&token);
        }
    }

    /// Reads all that a worker that has ended wrote, so that its last words are known.
    pub(super) fn worker_ended(&mut self, sources: &mut Sources, worker: WorkerId) {
        let pipes = self.pipes.iter().filter(|(_, pipe)| pipe.worker == worker);
        for token in pipes.map(|(token, _)| *token).collect::<Vec<_>>() {
            self.pipe_ready(sources, token);
        }
    }

    /// The last lines that a worker wrote, for a report.
    pub(super) fn last_lines(&self, worker: WorkerId) -> Vec<String> {
        const LINES: usize = 5;
        let bytes: Vec<u8> = self
            .tails
            .get(&worker)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.is_empty())
            .collect();
        lines
            .iter()
            .skip(lines.len().saturating_sub(LINES))
            .map(|line| printable(line))
            .collect()
    }

    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.tails.remove(&worker);
    }

    /// Writes what can be written; to be called when the loop has nothing else to do.
    pub(super) fn flush(&mut self, sources: &mut Sources, now: Instant) {
        let log = self.log.take();
        self.sinks[Stream::Errors as usize].push(&log);
        for index in 0..self.sinks.len() {
            self.sinks[index].flush(sources, now);
            self.resume(sources, index);
            self.sinks[index].flush(sources, now);
        }
    }

    /// When [`Self::flush`] is due at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.sinks.iter().filter(|sink| !sink.paused.is_empty());
        waiting
            .filter_map(|sink| sink.stuck)
            .map(|since| since + PATIENCE)
            .min()
    }

    /// Writes everything, but does not wait longer than [`PATIENCE`] for a slow reader.
    pub(super) fn finish(&mut self, sources: &mut Sources) {
        let until = Instant::now() + PATIENCE;
        loop {
            self.flush(sources, Instant::now());
            let left = until.saturating_duration_since(Instant::now());
            let Some(sink) = self.sinks.iter().find(|sink| !sink.queue.is_empty()) else {
                return;
            };
            if left.is_zero() || !is_writable(sink.stream, left) {
                return;
            }
        }
    }

    fn resume(&mut self, sources: &mut Sources, index: usize) {
        let sink = &mut self.sinks[index];
        if sink.has_room() {
            for token in std::mem::take(&mut sink.paused) {
                self.pipe_ready(sources, token);
            }
        }
    }
}

impl Pipe {
    /// Reads until there is nothing left, or no room for it; false at the end of the stream.
    fn drain(&mut self, sink: &mut Sink, tail: &mut VecDeque<u8>, token: Token) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            if !sink.has_room() {
                sink.paused.insert(token);
                return true;
            }
            match nix::unistd::read(&self.end, &mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    remember(tail, &buffer[..count]);
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
            if piece.ends_with(b"\n") || self.line.len() >= LONGEST_LINE {
                self.finish(sink);
            }
        }
    }

    /// Passes on the line that there is, even if it has no end yet.
    fn finish(&mut self, sink: &mut Sink) {
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

impl Sink {
    fn new(stream: Stream) -> Self {
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

    fn has_room(&self) -> bool {
        self.queue.len() < FULL || self.is_dropping()
    }

    fn is_dropping(&self) -> bool {
        self.is_closed || self.stuck.is_some_and(|since| since.elapsed() >= PATIENCE)
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.queue.len() >= FULL && self.is_dropping() {
            self.lost += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        } else if !self.is_closed {
            self.queue.extend(bytes);
        }
    }

    fn flush(&mut self, sources: &mut Sources, now: Instant) {
        while !self.queue.is_empty() {
            if !is_writable(self.stream, Duration::ZERO) {
                self.stuck.get_or_insert(now);
                return self.wait(sources);
            }
            let (front, _) = self.queue.as_slices();
            let piece = &front[..front.len().min(PIECE)];
            match nix::unistd::write(descriptor(self.stream), piece) {
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
                    &descriptor(self.stream),
                    Source::Sink(self.stream as usize),
                    Interest::WRITABLE,
                )
                .ok();
        }
    }
}

fn descriptor(stream: Stream) -> BorrowedFd<'static> {
    use std::sync::LazyLock;
    static OUTPUT: LazyLock<io::Stdout> = LazyLock::new(io::stdout);
    static ERRORS: LazyLock<io::Stderr> = LazyLock::new(io::stderr);
    match stream {
        Stream::Output => OUTPUT.as_fd(),
        Stream::Errors => ERRORS.as_fd(),
    }
}

fn is_writable(stream: Stream, patience: Duration) -> bool {
    let mut polled = [PollFd::new(descriptor(stream), PollFlags::POLLOUT)];
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
    // An error condition counts as writable: the write will say what it is.
    poll(&mut polled, timeout).is_ok_and(|ready| ready > 0)
}

fn remember(tail: &mut VecDeque<u8>, bytes: &[u8]) {
    tail.extend(&bytes[bytes.len().saturating_sub(TAIL)..]);
    let excess = tail.len().saturating_sub(TAIL);
    tail.drain(..excess);
}

/// Without what could confuse a terminal.
fn printable(line: &str) -> String {
    line.chars()
        .take(400)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

/// Makes a file our standard output and error. Our children inherit neither: what they write goes
/// through us, so that all of it follows when the file is opened again.
pub(super) fn redirect_to(path: &std::path::Path) -> io::Result<()> {
    let file: OwnedFd = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?
        .into();
    crate::sys::descriptor::replace(file.try_clone()?, Stream::Output.number())?;
    crate::sys::descriptor::replace(file, Stream::Errors.number())
}

/// Both ends of a pipe: ours, which is nonblocking, and the worker's.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = io::pipe()?;
    crate::sys::descriptor::set_nonblocking(&ours, true)?;
    Ok((ours.into(), theirs.into()))
}

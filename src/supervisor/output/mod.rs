//! The workers' output, and our own log, on its way to our standard output and error.
//!
//! Nothing here ever waits: whoever reads our output may be slow, and the loop that writes it also
//! answers `bind` and reaps. So what cannot be written is kept, up to a bound; at the bound we stop
//! reading, and then a worker that writes waits as it would without us. It does not wait for ever:
//! when nothing could be written for [`WRITE_TIMEOUT`], lines are dropped, and counted, and the count is
//! the first thing that is written when the reader is back.
//!
//! ```text
//!  worker ──► pipe ──► sink ──► stream: our standard output or error
//!               │       ▲
//!               ▼       └── log
//!              tail: its last words
//! ```

mod log;
mod pipe;
mod sink;
mod stream;
mod tail;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use mio::{Interest, Token};

use crate::fleet::WorkerId;
use crate::supervisor::sources::{Source, Sources};
pub use log::LogQueue;
use pipe::Pipe;
pub(crate) use pipe::pipe;
use sink::{Sink, WRITE_TIMEOUT};
pub(crate) use stream::{Stream, redirect_to};
use tail::Tail;

#[derive(Debug)]
pub(crate) struct Output {
    log: LogQueue,
    sinks: [Sink; 2],
    pipes: BTreeMap<Token, Pipe>,
    tails: BTreeMap<WorkerId, Tail>,
}

impl Output {
    pub(crate) fn new(log: LogQueue) -> Self {
        let sinks = [Stream::Output, Stream::Errors].map(Sink::new);
        Self {
            log,
            sinks,
            pipes: BTreeMap::new(),
            tails: BTreeMap::new(),
        }
    }

    /// Takes a worker's stream over: `end` is nonblocking.
    pub(crate) fn add(
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

    pub(crate) fn pipe_ready(&mut self, sources: &mut Sources, token: Token) {
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
    pub(crate) fn worker_ended(&mut self, sources: &mut Sources, worker: WorkerId) {
        let pipes = self.pipes.iter().filter(|(_, pipe)| pipe.worker == worker);
        for token in pipes.map(|(token, _)| *token).collect::<Vec<_>>() {
            self.pipe_ready(sources, token);
        }
    }

    /// The last lines that a worker wrote, for a report.
    pub(crate) fn last_lines(&self, worker: WorkerId) -> Vec<String> {
        self.tails.get(&worker).map(Tail::lines).unwrap_or_default()
    }

    pub(crate) fn forget(&mut self, worker: WorkerId) {
        self.tails.remove(&worker);
    }

    /// Writes what can be written; to be called when the loop has nothing else to do.
    pub(crate) fn flush(&mut self, sources: &mut Sources, now: Instant) {
        let log = self.log.take();
        self.sinks[Stream::Errors as usize].push(&log);
        for index in 0..self.sinks.len() {
            self.sinks[index].flush(sources, now);
            self.resume(sources, index);
            self.sinks[index].flush(sources, now);
        }
    }

    /// When [`Self::flush`] is due at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.sinks.iter().filter_map(Sink::deadline).min()
    }

    /// Writes everything, but does not wait longer than [`WRITE_TIMEOUT`] for a slow reader.
    pub(crate) fn finish(&mut self, sources: &mut Sources) {
        let until = Instant::now() + WRITE_TIMEOUT;
        loop {
            self.flush(sources, Instant::now());
            let left = until.saturating_duration_since(Instant::now());
            let Some(sink) = self.sinks.iter().find(|sink| !sink.is_empty()) else {
                return;
            };
            if left.is_zero() || !sink.is_writable(left) {
                return;
            }
        }
    }

    fn resume(&mut self, sources: &mut Sources, index: usize) {
        for token in self.sinks[index].resumed() {
            self.pipe_ready(sources, token);
        }
    }
}

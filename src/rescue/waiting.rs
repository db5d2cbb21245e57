//! Requests that wait in the frost: they came after the connection was frozen, or just before, and
//! the worker has not touched them. It would not answer them any more, and must not be told to stop
//! before all its connections have been idle for a while: so they are taken from it at once, and
//! answered by the new generation. The worker sees no byte of them, and then that the client is gone,
//! as clients of idle connections go.
//!
//! The hazard is a worker that reads at the same time. The bytes of one socket go to one reader: so
//! either it gets the request or we do, and if it does, nothing is there for us. That a reader takes
//! a part only, and we the rest, would need one that reads in small pieces, in the very moment
//! between our two calls; its connection cannot be saved.
//!
//! What it closes when it is told to stop is ours then, but not what it shuts down (shutdown(2), as
//! servers on hyper do): that breaks the connection for all who have it, with the request that is on
//! its way. So it is told in a lull, when those that ask often have gone over already.
//!
//! Another is a request that is not all there: its rest would come in while the connection is frozen
//! for us, too. And an answer that somebody has begun: ours must not end up in its middle. Both are
//! left until the worker is quiet. And once it has been told to stop, what it has not closed is left
//! alone.

use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::worker::{WatchedConnection, Worker};
use crate::sys::tcp;
use crate::wire::http::is_whole;

/// More than this is an upload, which can wait.
const MAX_REQUEST_LEN: usize = 16 * 1024;
/// A worker is told to stop when no client has asked for so long,
const IDLE_BEFORE_STOP: Duration = Duration::from_millis(50);
/// or when they have gone on for so long.
const MAX_STOP_DELAY: Duration = Duration::from_millis(500);

impl Worker {
    /// Whether its clients say nothing just now, or never will.
    pub(super) fn is_left_alone(&self, now: Instant) -> bool {
        let since = |then| now.saturating_duration_since(then);
        let asked = self.asked;
        asked.is_none_or(|(first, last)| {
            since(last) >= IDLE_BEFORE_STOP || since(first) >= MAX_STOP_DELAY
        })
    }

    /// Takes the connections on which a request waits, with what was read from them.
    pub(super) fn take_waiting(&mut self, now: Instant) -> Vec<(OwnedFd, Vec<u8>)> {
        if self.told.is_some() {
            return Vec::new();
        }
        if self
            .connections
            .values()
            .any(|connection| connection.tracker.has_request())
        {
            let first = self.asked.map_or(now, |(first, _)| first);
            self.asked = Some((first, now));
        }
        let is_waiting = |connection: &WatchedConnection| {
            connection.is_frozen && connection.tracker.is_request_waiting(now)
        };
        let waiting = self
            .connections
            .iter()
            .filter(|(_, connection)| is_waiting(connection));
        let mut taken = Vec::new();
        for id in waiting.map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some(request) = self
                .connections
                .get(&id)
                .and_then(|connection| take(&connection.socket))
            else {
                continue;
            };
            if let Some(connection) = self.connections.remove(&id) {
                taken.push((connection.socket, request));
            }
        }
        taken
    }
}

/// Takes the request, if it is all there and nothing else is.
fn take(socket: &OwnedFd) -> Option<Vec<u8>> {
    let mut request = vec![0; MAX_REQUEST_LEN];
    let length = tcp::peek(socket, &mut request).ok()?;
    request.truncate(length);
    if !is_whole(&request) {
        return None;
    }
    let mut taken = vec![0; length];
    let count = tcp::receive(socket, &mut taken).ok()?;
    if taken.get(..count) == Some(&request) {
        return Some(request);
    }
    log::warn!("a worker has read a part of a request at the same time: its connection is closed");
    let _ = SockRef::from(socket).shutdown(Shutdown::Both);
    None
}

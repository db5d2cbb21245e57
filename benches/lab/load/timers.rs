//! Deadlines: what becomes of a connection if nothing happens.
//!
//! A lane holds deadlines that all come the same time after their beginnings, so that they are due
//! in the order in which they were set, and a queue does what would otherwise take a tree. A deadline
//! is not withdrawn when what it was for has happened: the connection's serial number has changed
//! then, and who finds the old one at the front drops it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::connection::Connection;

pub(super) struct Lane {
    patience: Duration,
    queue: VecDeque<Deadline>,
}

struct Deadline {
    at: Instant,
    slot: usize,
    serial: u64,
}

impl Lane {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            queue: VecDeque::new(),
        }
    }

    /// Sets a deadline for what the connection in `slot` does now, and has done since `since`.
    pub(super) fn set(&mut self, slot: usize, serial: u64, since: Instant) {
        let at = since + self.patience;
        self.queue.push_back(Deadline { at, slot, serial });
    }

    /// The next deadline. It also forgets those that no longer matter: called at every turn, it
    /// keeps the queue as short as the requests under way are few.
    pub(super) fn next(&mut self, connections: &[Connection]) -> Option<Instant> {
        while let Some(first) = self.queue.front() {
            if connections[first.slot].serial() == first.serial {
                return Some(first.at);
            }
            self.queue.pop_front();
        }
        None
    }

    /// A connection whose deadline has passed.
    pub(super) fn pop_due(&mut self, now: Instant, connections: &[Connection]) -> Option<usize> {
        let is_due = self.next(connections)? <= now;
        if is_due {
            self.queue.pop_front().map(|first| first.slot)
        } else {
            None
        }
    }
}

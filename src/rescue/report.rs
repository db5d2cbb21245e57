//! What the supervisor is told of the connections: sometimes how far it is, and once how it ended.

use std::io;
use std::time::{Duration, Instant};

use super::process::Rescuer;
use crate::sys::channel;
use crate::wire::rescue::{Report, encode};

/// How often progress is told of at most.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

impl Rescuer {
    /// Reports on workers of which nothing is left, and now and then on the others.
    pub(super) fn report_tallies(&mut self, now: Instant) {
        let done = self.workers.iter().filter(|(_, worker)| worker.is_done());
        for worker in done.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(ended) = self.workers.remove(&worker) {
                self.report(&Report::Finished {
                    worker,
                    tally: ended.tally,
                });
            }
        }
        if self.has_progress() && now >= self.next_progress {
            self.next_progress = now + PROGRESS_INTERVAL;
            self.tell_progress();
        }
    }

    /// Whether there is something that the supervisor has not been told.
    pub(super) fn has_progress(&self) -> bool {
        let mut workers = self.workers.values();
        workers.any(|worker| worker.tally != worker.known_tally)
    }

    fn tell_progress(&mut self) {
        let mut reports = Vec::new();
        for (id, worker) in &mut self.workers {
            if worker.tally != worker.known_tally {
                worker.known_tally = worker.tally.clone();
                reports.push(Report::Progress {
                    worker: *id,
                    tally: worker.tally.clone(),
                });
            }
        }
        reports.iter().for_each(|report| self.report(report));
    }

    pub(super) fn report(&mut self, report: &Report) {
        self.outbox.push_back(encode(report));
    }

    /// Sends what can be sent. If nobody hears it, nobody wants to know.
    pub(super) fn flush(&mut self) {
        while let Some(message) = self.outbox.front() {
            match channel::send(&self.channel, message, &[]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                _ => drop(self.outbox.pop_front()),
            }
        }
    }
}

//! The last moment before a worker gets its stop signal: its rescuer is ready, and its readers stand
//! still.
//!
//! ```text
//!            the look             readers, if any           they stand still      nothing was taken
//!   LookDue ──────────► ReadersAsked ──────────► Stopping ──────────► CheckAsked ──────────► Prepared
//!     ▲                    │  ▲  no readers        │ no right to trace   │  ▲
//!     │                    ▼  └────────────────────┼─────────────────────┘ something was
//!  Pausing              Prepared ◄─────────────────┘
//! ```
//! The look finds the connections that the worker has accepted since its rescuer was given them. It lists
//! all connections of the port, so workers whose turn comes together share one.
//!
//! A worker whose new connections cannot be kept from it (`--steering none`) accepts until it is stopped. So it
//! is paused first: all its threads stand still from before the look until the stop signal has gone out, and
//! nothing is accepted that its rescuer does not have. Then there is nothing to check either.
//!
//! A thread that dies in a read takes along what is there. So the rescuer copies that first, then the
//! threads are stopped, and it looks whether anything was taken in between. If so, they go on and answer
//! it, and all begins again. The threads stand still until the stop signal has gone out.
//!
//! Nobody waits for ever: a rescuer that hangs is killed (`watch`), and at the fleet's deadline the signal goes
//! out all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use mio::Waker;

use super::interruption::wake;
use crate::fleet::WorkerId;
use crate::sys::interrupt::StoppedThreads;
use crate::wire::rescue::Order;

/// The handshakes under way, and those that are done and whose signal has not gone out yet.
#[derive(Debug)]
pub(super) struct StopHandshakes {
    waker: Arc<Waker>,
    handshakes: BTreeMap<WorkerId, Handshake>,
}

#[derive(Debug)]
enum Handshake {
    Pausing(Pause),
    LookDue(Option<Pause>),
    ReadersAsked(Option<Pause>),
    Stopping(StoppedThreads),
    CheckAsked(StoppedThreads),
    /// What stands still is let go when this is dropped.
    Prepared(#[expect(dead_code, reason = "it is kept")] Still),
}

/// What stands still until the stop signal has gone out.
#[derive(Debug)]
enum Still {
    Nothing,
    Readers(#[expect(dead_code, reason = "it is kept")] StoppedThreads),
    All(#[expect(dead_code, reason = "it is kept")] Pause),
}

/// A worker all of whose threads are stopped. More are found as long as some run, so it takes turns.
#[derive(Debug)]
struct Pause {
    threads: BTreeSet<i32>,
    turns: Vec<StoppedThreads>,
}

/// What a step of a handshake asks for.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing, for now.
    Wait,
    /// Send the rescuer an order: name the worker's readers (again), or check whether anything was taken.
    Ask(Order),
    /// The worker may be told to stop.
    Prepared,
}

impl StopHandshakes {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self {
            waker,
            handshakes: BTreeMap::new(),
        }
    }

    pub(super) fn begin(&mut self, worker: WorkerId) {
        self.handshakes.insert(worker, Handshake::LookDue(None));
    }

    /// Begins by stopping all threads of a worker; `threads` says which there are.
    pub(super) fn begin_paused(&mut self, worker: WorkerId, threads: impl Fn() -> Vec<i32>) {
        let none = Pause {
            threads: BTreeSet::new(),
            turns: Vec::new(),
        };
        let pausing = self.pause(worker, none, threads);
        self.handshakes.insert(worker, pausing);
    }

    /// Stops the threads that are not stopped yet. When there are none, the worker is paused.
    fn pause(
        &self,
        worker: WorkerId,
        mut pause: Pause,
        threads: impl Fn() -> Vec<i32>,
    ) -> Handshake {
        let mut more = threads();
        more.retain(|thread| pause.threads.insert(*thread));
        if more.is_empty() {
            return Handshake::LookDue(Some(pause));
        }
        match StoppedThreads::begin(more, wake(&self.waker)) {
            Ok(stopped) => {
                pause.turns.push(stopped);
                Handshake::Pausing(pause)
            }
            Err(error) => {
                log::debug!("worker {worker}: cannot pause it: {error}");
                Handshake::LookDue(Some(pause))
            }
        }
    }

    /// Goes on with the pauses whose threads have come to stand still.
    pub(super) fn proceed_pausing(&mut self, threads: impl Fn(WorkerId) -> Vec<i32>) {
        let ids: Vec<WorkerId> = self.handshakes.keys().copied().collect();
        for worker in ids {
            let Some(Handshake::Pausing(pause)) = self.handshakes.get_mut(&worker) else {
                continue;
            };
            let last = pause.turns.last_mut();
            let Some(answer) = last.map_or(Some(Ok(0)), StoppedThreads::poll) else {
                continue;
            };
            let Some(Handshake::Pausing(pause)) = self.handshakes.remove(&worker) else {
                continue;
            };
            let next = match answer {
                Ok(_) => self.pause(worker, pause, || threads(worker)),
                Err(error) => {
                    log::debug!("worker {worker}: cannot pause it: {error}");
                    Handshake::LookDue(None)
                }
            };
            self.handshakes.insert(worker, next);
        }
    }

    /// When to go on although nobody has woken the loop: at once, if a look is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.is_look_due().then(Instant::now)
    }

    /// Whether workers wait for the look at their connections.
    pub(super) fn is_look_due(&self) -> bool {
        let mut handshakes = self.handshakes.values();
        handshakes.any(|handshake| matches!(handshake, Handshake::LookDue(_)))
    }

    /// The workers that wait for a look, which is taken now; their rescuers are asked for readers next.
    pub(super) fn look(&mut self) -> Vec<WorkerId> {
        let mut looked_at = Vec::new();
        for (worker, handshake) in &mut self.handshakes {
            if let Handshake::LookDue(pause) = handshake {
                *handshake = Handshake::ReadersAsked(pause.take());
                looked_at.push(*worker);
            }
        }
        looked_at
    }

    /// The rescuer has named the readers.
    pub(super) fn readers(&mut self, worker: WorkerId, readers: Vec<i32>) -> Next {
        let wake = wake(&self.waker);
        let Some(handshake @ Handshake::ReadersAsked(_)) = self.handshakes.get_mut(&worker) else {
            return Next::Wait;
        };
        if let Handshake::ReadersAsked(pause) = handshake
            && let Some(pause) = pause.take()
        {
            *handshake = Handshake::Prepared(Still::All(pause));
            return Next::Prepared;
        }
        if readers.is_empty() {
            *handshake = Handshake::Prepared(Still::Nothing);
            return Next::Prepared;
        }
        match StoppedThreads::begin(readers, wake) {
            Ok(stopped) => {
                *handshake = Handshake::Stopping(stopped);
                Next::Wait
            }
            Err(error) => {
                log::debug!("worker {worker}: cannot stop its readers: {error}");
                *handshake = Handshake::Prepared(Still::Nothing);
                Next::Prepared
            }
        }
    }

    /// Workers whose readers have come to stand still, or cannot be made to.
    pub(super) fn stopped(&mut self) -> Vec<(WorkerId, Next)> {
        let mut answers = Vec::new();
        for (worker, handshake) in &mut self.handshakes {
            let Handshake::Stopping(stopped) = handshake else {
                continue;
            };
            let Some(answer) = stopped.poll() else {
                continue;
            };
            let former = std::mem::replace(handshake, Handshake::Prepared(Still::Nothing));
            let next = match (answer, former) {
                (Ok(_), Handshake::Stopping(stopped)) => {
                    *handshake = Handshake::CheckAsked(stopped);
                    Next::Ask(Order::ReadersStopped { worker: worker.0 })
                }
                // Without the right to trace, the copies must do.
                _ => Next::Prepared,
            };
            answers.push((*worker, next));
        }
        answers
    }

    /// The rescuer has looked whether anything was taken.
    pub(super) fn checked(&mut self, worker: WorkerId, nothing_was_taken: bool) -> Next {
        match self.handshakes.remove(&worker) {
            Some(Handshake::CheckAsked(stopped)) if nothing_was_taken => {
                let still = Still::Readers(stopped);
                self.handshakes.insert(worker, Handshake::Prepared(still));
                Next::Prepared
            }
            Some(Handshake::CheckAsked(_)) => {
                self.handshakes
                    .insert(worker, Handshake::ReadersAsked(None));
                Next::Ask(Order::PrepareStop { worker: worker.0 })
            }
            Some(other) => {
                self.handshakes.insert(worker, other);
                Next::Wait
            }
            None => Next::Wait,
        }
    }

    /// Whether a handshake waits for the rescuer's answer, and not for threads of ours.
    pub(super) fn awaits_rescuer(&self, worker: WorkerId) -> bool {
        match self.handshakes.get(&worker) {
            Some(Handshake::ReadersAsked(_) | Handshake::CheckAsked(_)) => true,
            Some(
                Handshake::Pausing(_)
                | Handshake::LookDue(_)
                | Handshake::Stopping(_)
                | Handshake::Prepared(_),
            )
            | None => false,
        }
    }

    /// Ends a handshake: readers that stand still go on.
    pub(super) fn end(&mut self, worker: WorkerId) {
        self.handshakes.remove(&worker);
    }
}

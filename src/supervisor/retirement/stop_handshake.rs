//! The last moment before a worker gets its stop signal: its rescuer is ready, and its readers stand
//! still.
//!
//! ```text
//!           the look             readers, if any           they stand still      nothing was taken
//!  LookDue ──────────► ReadersAsked ──────────► Stopping ──────────► CheckAsked ──────────► Prepared
//!                         │  ▲  no readers        │ no right to trace   │  ▲
//!                         ▼  └────────────────────┼─────────────────────┘ something was
//!                      Prepared ◄─────────────────┘
//! ```
//! The look finds the connections that the worker has accepted since its rescuer was given them. It lists
//! all connections of the port, so workers whose turn comes together share one.
//!
//! A thread that dies in a read takes along what is there. So the rescuer copies that first, then the
//! threads are stopped, and it looks whether anything was taken in between. If so, they go on and answer
//! it, and all begins again. The threads stand still until the stop signal has gone out.
//!
//! Nobody waits for a rescuer for ever: the fleet sets a deadline, and then the signal goes out all the
//! same.

use std::collections::BTreeMap;
use std::sync::Arc;

use mio::Waker;

use super::interruption::wake;
use crate::fleet::WorkerId;
use crate::sys::interrupt::StoppedThreads;

/// The handshakes under way, and those that are done and whose signal has not gone out yet.
#[derive(Debug)]
pub(super) struct StopHandshakes {
    waker: Arc<Waker>,
    handshakes: BTreeMap<WorkerId, Handshake>,
}

#[derive(Debug)]
enum Handshake {
    LookDue,
    ReadersAsked,
    Stopping(StoppedThreads),
    CheckAsked(StoppedThreads),
    /// Readers that stand still are let go when this is dropped.
    Prepared {
        _stopped: Option<StoppedThreads>,
    },
}

/// What a step of a handshake asks for.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing, for now.
    Wait,
    /// Have the rescuer name the worker's readers (again).
    AskReaders,
    /// Have the rescuer check whether anything was taken.
    AskCheck,
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
        self.handshakes.insert(worker, Handshake::LookDue);
    }

    /// Whether workers wait for the look at their connections.
    pub(super) fn is_look_due(&self) -> bool {
        let mut handshakes = self.handshakes.values();
        handshakes.any(|handshake| matches!(handshake, Handshake::LookDue))
    }

    /// The workers that wait for a look, which is taken now; their rescuers are asked for readers next.
    pub(super) fn look(&mut self) -> Vec<WorkerId> {
        let mut looked_at = Vec::new();
        for (worker, handshake) in &mut self.handshakes {
            if matches!(handshake, Handshake::LookDue) {
                *handshake = Handshake::ReadersAsked;
                looked_at.push(*worker);
            }
        }
        looked_at
    }

    /// The rescuer has named the readers.
    pub(super) fn readers(&mut self, worker: WorkerId, readers: Vec<i32>) -> Next {
        let wake = wake(&self.waker);
        let Some(handshake @ Handshake::ReadersAsked) = self.handshakes.get_mut(&worker) else {
            return Next::Wait;
        };
        if readers.is_empty() {
            *handshake = Handshake::Prepared { _stopped: None };
            return Next::Prepared;
        }
        match StoppedThreads::begin(readers, wake) {
            Ok(stopped) => {
                *handshake = Handshake::Stopping(stopped);
                Next::Wait
            }
            Err(error) => {
                log::debug!("worker {worker}: cannot stop its readers: {error}");
                *handshake = Handshake::Prepared { _stopped: None };
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
            let former = std::mem::replace(handshake, Handshake::Prepared { _stopped: None });
            let next = match (answer, former) {
                (Ok(_), Handshake::Stopping(stopped)) => {
                    *handshake = Handshake::CheckAsked(stopped);
                    Next::AskCheck
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
                let _stopped = Some(stopped);
                self.handshakes
                    .insert(worker, Handshake::Prepared { _stopped });
                Next::Prepared
            }
            Some(Handshake::CheckAsked(_)) => {
                self.handshakes.insert(worker, Handshake::ReadersAsked);
                Next::AskReaders
            }
            Some(other) => {
                self.handshakes.insert(worker, other);
                Next::Wait
            }
            None => Next::Wait,
        }
    }

    /// Ends a handshake: readers that stand still go on. Whether the rescuer owes an answer.
    pub(super) fn end(&mut self, worker: WorkerId) -> bool {
        match self.handshakes.remove(&worker) {
            Some(Handshake::ReadersAsked | Handshake::Stopping(_) | Handshake::CheckAsked(_)) => {
                true
            }
            Some(Handshake::LookDue | Handshake::Prepared { .. }) | None => false,
        }
    }
}

//! Fences, each waited for by a thread of its own: the kernel takes milliseconds for one, seconds
//! on a machine that has too much to do, and meanwhile workers wait in bind and clients on frozen
//! connections.
//!
//! A fence is good for what was done before it *began*. So a request while one is under way
//! gets the next one, which serves all requests until it begins.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread::Builder;

use log::debug;
use mio::Waker;

use crate::sys::steering;

/// A requested fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

#[derive(Debug)]
pub(crate) struct Fences {
    waker: Arc<Waker>,
    requested: u64,
    /// The last ticket that the fence under way is good for.
    under_way: Option<(u64, Receiver<io::Result<()>>)>,
    passed: u64,
    /// The kernel does not make fences: a delay must do.
    is_refused: bool,
}

impl Fences {
    /// `waker` wakes the loop when a fence has passed.
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Self {
            waker,
            requested: 0,
            under_way: None,
            passed: 0,
            is_refused: false,
        }
    }

    /// Requests a fence; the loop is woken when it has passed.
    pub(crate) fn request(&mut self) -> Ticket {
        self.requested += 1;
        if self.under_way.is_none() {
            self.begin();
        }
        Ticket(self.requested)
    }

    /// Whether a fence has passed, or the kernel makes none.
    pub(crate) fn has_passed(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.passed
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// To be called when the loop has been woken.
    pub(crate) fn collect(&mut self) {
        let Some((ticket, reported)) = &self.under_way else {
            return;
        };
        let result = match reported.try_recv() {
            Ok(result) => result,
            // Another thread has woken the loop.
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => Err(io::ErrorKind::Other.into()),
        };
        let ticket = *ticket;
        self.under_way = None;
        self.ended(ticket, result);
        if self.requested > self.passed {
            self.begin();
        }
    }

    fn begin(&mut self) {
        let (ticket, waker) = (self.requested, Arc::clone(&self.waker));
        let (report, reported) = sync_channel(1);
        let wait = move || {
            // The receiver may be gone.
            let _ = report.send(steering::fence());
            if let Err(error) = waker.wake() {
                log::error!("cannot wake the event loop: {error}");
            }
        };
        match Builder::new().name("fence".into()).spawn(wait) {
            Ok(_) => self.under_way = Some((ticket, reported)),
            Err(error) => {
                debug!("cannot start a thread ({error}); waiting for a fence here");
                self.ended(ticket, steering::fence());
                // The loop looks only when it is woken.
                if let Err(error) = self.waker.wake() {
                    log::error!("cannot wake the event loop: {error}");
                }
            }
        }
    }

    fn ended(&mut self, ticket: u64, result: io::Result<()>) {
        if let Err(error) = &result {
            debug!("membarrier is refused ({error}); waiting instead");
        }
        self.is_refused = result.is_err();
        self.passed = ticket;
    }
}

//! Fences, each waited for by a thread of its own: the kernel takes milliseconds for one, seconds
//! on a machine that has too much to do, and meanwhile workers wait in bind and clients in the
//! frost.
//!
//! A fence is good for what was done before it *began*. So whoever asks while one is under way
//! gets the next one, which serves all that ask until it begins.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use log::debug;
use mio::{Registry, Token, Waker};

use crate::sys::steering;

/// Stands for a fence that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

#[derive(Debug)]
pub(crate) struct Fences {
    waker: Arc<Waker>,
    asked: u64,
    /// The last ticket that the fence under way is good for.
    under_way: Option<(u64, JoinHandle<io::Result<()>>)>,
    passed: u64,
    /// The kernel does not make fences: time must do.
    is_refused: bool,
}

impl Fences {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self {
            waker: Arc::new(Waker::new(registry, token)?),
            asked: 0,
            under_way: None,
            passed: 0,
            is_refused: false,
        })
    }

    /// Asks for a fence; the token becomes ready when it has passed.
    pub(crate) fn ask(&mut self) -> Ticket {
        self.asked += 1;
        if self.under_way.is_none() {
            self.begin();
        }
        Ticket(self.asked)
    }

    /// Whether a fence has passed, or there are none here.
    pub(crate) fn has_passed(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.passed
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// To be called when the token is ready.
    pub(crate) fn collect(&mut self) {
        let Some((ticket, thread)) = self.under_way.take() else {
            return;
        };
        // It has woken us with its last breath.
        let result = thread.join();
        self.ended(
            ticket,
            result.unwrap_or_else(|_| Err(io::ErrorKind::Other.into())),
        );
        if self.asked > self.passed {
            self.begin();
        }
    }

    fn begin(&mut self) {
        let (ticket, waker) = (self.asked, Arc::clone(&self.waker));
        let wait = move || {
            let result = steering::fence();
            waker.wake().and(result)
        };
        match Builder::new().name("fence".into()).spawn(wait) {
            Ok(thread) => self.under_way = Some((ticket, thread)),
            Err(error) => {
                debug!("cannot start a thread ({error}); waiting for a fence here");
                self.ended(ticket, steering::fence());
                // Nobody looks before the loop is told.
                let _ = self.waker.wake();
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

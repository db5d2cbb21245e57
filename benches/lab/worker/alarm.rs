//! Points in time at which a worker has something to do, behind one timerfd(2).
//!
//! epoll_wait(2) counts in milliseconds, and a service time of 1 ms would take 2 half the time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// The points in time, each with what it is for.
#[derive(Debug)]
pub struct Alarm<T> {
    timer: TimerFd,
    due: BinaryHeap<Reverse<(Instant, T)>>,
    /// What the timer is set to.
    set: Option<Instant>,
}

impl<T: Ord> Alarm<T> {
    /// None is due yet; `poll` reports `token` when one is.
    ///
    /// # Errors
    /// Those of timerfd_create(2) and epoll_ctl(2).
    pub fn new(poll: &Poll, token: Token) -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let number = timer.as_fd().as_raw_fd();
        let registry = poll.registry();
        registry.register(&mut SourceFd(&number), token, Interest::READABLE)?;
        Ok(Self {
            timer,
            due: BinaryHeap::new(),
            set: None,
        })
    }

    /// Something to do after `delay`.
    pub fn add(&mut self, delay: Duration, what: T) {
        self.due.push(Reverse((Instant::now() + delay, what)));
    }

    /// The next thing whose time has come.
    pub fn next(&mut self) -> Option<T> {
        let Reverse((first, _)) = self.due.peek()?;
        if *first > Instant::now() {
            return None;
        }
        self.due.pop().map(|Reverse((_, what))| what)
    }

    /// Sets the timer to the first point: call it before waiting. Setting it anew also makes what
    /// it has reported unread, so it is never read.
    ///
    /// # Errors
    /// Those of timerfd_settime(2).
    pub fn set(&mut self) -> io::Result<()> {
        let first = self.due.peek().map(|Reverse((first, _))| *first);
        if let Some(first) = first
            && self.set != Some(first)
        {
            // Zero would unset it.
            let delay = first.saturating_duration_since(Instant::now());
            let delay = delay.max(Duration::from_nanos(1));
            let expiration = Expiration::OneShot(TimeSpec::from_duration(delay));
            self.timer.set(expiration, TimerSetTimeFlags::empty())?;
        }
        self.set = first;
        Ok(())
    }
}

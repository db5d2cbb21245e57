//! An alarm for the next request of an open loop.
//!
//! epoll's own time-out has milliseconds, and rounded up it would make every request of a fast open
//! loop late by as much as the server takes to answer it. A timer descriptor has nanoseconds, and no
//! slack (timerfd_create(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

pub(super) struct Alarm {
    timer: TimerFd,
    /// What it is set for, until it rings.
    at: Option<Instant>,
}

impl Alarm {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK,
        )?;
        registry.register(
            &mut SourceFd(&timer.as_fd().as_raw_fd()),
            token,
            Interest::READABLE,
        )?;
        Ok(Self { timer, at: None })
    }

    /// Rings at that time; false if that has passed.
    ///
    /// The timer is never read: every expiry is a new edge, and to set it anew clears it.
    pub(super) fn set(&mut self, at: Instant, now: Instant) -> io::Result<bool> {
        let left = at.saturating_duration_since(now);
        if left == Duration::ZERO || self.at == Some(at) {
            return Ok(left > Duration::ZERO);
        }
        let once = Expiration::OneShot(TimeSpec::from_duration(left));
        self.timer.set(once, TimerSetTimeFlags::empty())?;
        self.at = Some(at);
        Ok(true)
    }
}

//! sd_notify(3), both ways: what workers say to `NOTIFY_SOCKET`, and what we say to the service
//! manager that started us, if one did.
//!
//! All workers speak to one socket. The kernel tells which process spoke.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::warn;
use mio::Interest;

use crate::supervisor::StartError;
use crate::supervisor::sources::{Source, Sources};
use crate::sys::socket;
use crate::wire::notify::{Notice, compose, parse};

/// The longest datagram that is read.
const MAX_DATAGRAM_LEN: usize = 4096;

#[derive(Debug)]
pub(crate) struct Notify {
    workers: socket::Bound<std::os::unix::net::UnixDatagram>,
    manager: Option<PathBuf>,
    watchdog: Option<Watchdog>,
}

/// The service manager expects a WATCHDOG=1 at each interval (`WATCHDOG_USEC`).
#[derive(Debug)]
struct Watchdog {
    every: Duration,
    next: Instant,
}

impl Notify {
    /// The workers' socket is beside the control socket.
    pub(crate) fn open(control: &Path, sources: &mut Sources) -> Result<Self, StartError> {
        let mut path = OsString::from(control);
        path.push(".notify");
        let workers = socket::bind_notify(Path::new(&path))?;
        let added = sources.add(&workers.socket, Source::Notify, Interest::READABLE);
        added.map_err(|source| StartError::System {
            operation: "wait for the workers' notifications",
            source,
        })?;
        let manager = std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from);
        let watchdog = manager.as_ref().and_then(|_| Watchdog::from_environment());
        Ok(Self {
            workers,
            manager,
            watchdog,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.workers.path()
    }

    /// When the next WATCHDOG=1 is due.
    pub(crate) fn watchdog(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(|watchdog| watchdog.next)
    }

    pub(crate) fn notify_manager(&self, notices: &[(&str, &str)]) {
        let Some(manager) = &self.manager else { return };
        if let Err(error) = socket::send_notification(manager, &compose(notices)) {
            warn!(
                "cannot tell the service manager at {}: {error}",
                manager.display()
            );
        }
    }

    pub(crate) fn check_watchdog(&mut self) {
        let now = Instant::now();
        if let Some(watchdog) = self
            .watchdog
            .as_mut()
            .filter(|watchdog| watchdog.next <= now)
        {
            watchdog.next = now + watchdog.every;
            self.notify_manager(&[("WATCHDOG", "1")]);
        }
    }
}

impl Watchdog {
    fn from_environment() -> Option<Self> {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let every = Duration::from_micros(number("WATCHDOG_USEC")? / 2);
        (is_ours && !every.is_zero()).then(|| Self {
            every,
            next: Instant::now() + every,
        })
    }
}

impl Notify {
    /// The notifications of the workers, each with the pid of its sender.
    pub(crate) fn receive(&self) -> Vec<(Option<i32>, Vec<Notice>)> {
        let mut bytes = [0; MAX_DATAGRAM_LEN];
        let mut received = Vec::new();
        loop {
            match socket::receive_notification(&self.workers.socket, &mut bytes) {
                Ok((length, sender)) => received.push((sender, parse(&bytes[..length]))),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return received,
                Err(error) => {
                    warn!("cannot read the workers' notifications: {error}");
                    return received;
                }
            }
        }
    }
}

//! sd_notify(3), both ways: what workers say to `NOTIFY_SOCKET`, and what we say to the service
//! manager that started us, if one did.
//!
//! All workers speak to one socket. Who spoke is told by the kernel as a pid, and that is a
//! worker's, or one of its descendants', or in its process group.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use mio::Interest;

use crate::fleet::{Event, WorkerId};
use crate::supervisor::sources::{Source, Sources};
use crate::supervisor::{StartError, Supervisor};
use crate::sys::{procfs, socket};
use crate::wire::notify::{Notice, compose, parse};

/// The longest datagram that is read.
const LONGEST: usize = 4096;

#[derive(Debug)]
pub(crate) struct Notify {
    workers: socket::Bound<std::os::unix::net::UnixDatagram>,
    manager: Option<PathBuf>,
    watchdog: Option<Watchdog>,
}

/// The service manager wants a sign of life every so often (`WATCHDOG_USEC`).
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
        let watchdog = manager.as_ref().and_then(|_| Watchdog::asked_for());
        Ok(Self {
            workers,
            manager,
            watchdog,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.workers.path()
    }

    /// When the next sign of life is due.
    pub(crate) fn watchdog(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(|watchdog| watchdog.next)
    }

    pub(crate) fn tell_manager(&self, notices: &[(&str, &str)]) {
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
            self.tell_manager(&[("WATCHDOG", "1")]);
        }
    }
}

impl Watchdog {
    fn asked_for() -> Option<Self> {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let every = Duration::from_micros(number("WATCHDOG_USEC")? / 2);
        (is_ours && !every.is_zero()).then(|| Self {
            every,
            next: Instant::now() + every,
        })
    }
}

impl Supervisor {
    pub(crate) fn notify_ready(&mut self) {
        let mut bytes = [0; LONGEST];
        loop {
            match socket::receive_notification(&self.notify.workers.socket, &mut bytes) {
                Ok((length, sender)) => self.notified(&bytes[..length], sender),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) => return warn!("cannot read the workers' notifications: {error}"),
            }
        }
    }

    fn notified(&mut self, datagram: &[u8], sender: Option<i32>) {
        let Some(worker) = sender.and_then(|pid| self.worker_of(pid)) else {
            return warn!(
                "a notification came from pid {}, which is no worker's",
                sender.unwrap_or(0)
            );
        };
        for notice in parse(datagram) {
            match notice {
                Notice::Ready => self.inbox.push_back(Event::Notified { worker }),
                Notice::Status(status) => info!("{}: says: {status}", self.describe(worker)),
                other => debug!("worker {worker}: {other:?}"),
            }
        }
    }

    /// The worker that a process belongs to.
    fn worker_of(&self, pid: i32) -> Option<WorkerId> {
        let direct = self
            .children
            .by_pid(pid)
            .or_else(|| self.children.by_pid(procfs::process_group(pid)?));
        direct.or_else(|| {
            let is_descendant =
                |child: &super::Child| procfs::descendants(child.pid).contains(&pid);
            self.children
                .iter()
                .find(|(_, child)| is_descendant(child))
                .map(|(worker, _)| worker)
        })
    }
}

//! sd_notify(3), both ways: what workers say to `NOTIFY_SOCKET`, and what we say to the service
//! manager that started us, if one did.
//!
//! All workers speak to one socket. The kernel tells which process spoke.
//!
//! What the service manager is told:
//!
//! | when | what |
//! | --- | --- |
//! | the first generation serves | `READY=1` |
//! | a reload begins | `RELOADING=1`, `MONOTONIC_USEC` |
//! | a reload is done or has failed, and no other is under way | `READY=1` |
//! | the end begins | `STOPPING=1`, and no `READY=1` after it |
//! | at each of these, and as a change goes on | `STATUS`, a line for a person |

use std::ffi::OsString;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::warn;
use mio::{Interest, Token};

use crate::fleet::ChangeKind;
use crate::supervisor::StartError;
use crate::supervisor::repeated::RepeatedWarning;
use crate::supervisor::sources::{Source, Sources};
use crate::sys::{notification, process, socket};
use crate::wire::notify::{Notice, compose, parse};

/// The longest datagram that is read.
const MAX_DATAGRAM_LEN: usize = 4096;

#[derive(Debug)]
pub(crate) struct Notify {
    workers: socket::Bound<UnixDatagram>,
    token: Token,
    /// The workers' user, where that is another than ours.
    user: Option<u32>,
    manager: Option<PathBuf>,
    told: Told,
    strangers: RepeatedWarning,
    unreadable: RepeatedWarning,
    unreachable: RepeatedWarning,
    watchdog: Option<Watchdog>,
}

/// What the service manager takes us to be doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Starting,
    Serving,
    /// So many reloads are under way: one may begin while the old workers of the one before drain.
    Reloading(u32),
    Stopping,
}

impl Told {
    fn reload_began(self) -> Self {
        match self {
            Self::Starting | Self::Serving => Self::Reloading(1),
            Self::Reloading(count) => Self::Reloading(count.saturating_add(1)),
            Self::Stopping => Self::Stopping,
        }
    }

    fn change_ended(self, kind: ChangeKind) -> Self {
        match (self, kind) {
            (Self::Starting, ChangeKind::Start) | (Self::Reloading(0 | 1), ChangeKind::Reload) => {
                Self::Serving
            }
            (Self::Reloading(count), ChangeKind::Reload) => Self::Reloading(count - 1),
            (unchanged, _) => unchanged,
        }
    }
}

/// The service manager expects a WATCHDOG=1 at each interval (`WATCHDOG_USEC`).
#[derive(Debug)]
struct Watchdog {
    every: Duration,
    next: Instant,
}

impl Notify {
    /// The workers' socket is beside the control socket.
    pub(crate) fn open(
        control: &Path,
        sources: &mut Sources,
        user: Option<u32>,
    ) -> Result<Self, StartError> {
        let mut path = OsString::from(control);
        path.push(".notify");
        let (workers, token) = bind(Path::new(&path), sources, user)?;
        let manager = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty());
        let manager = manager.map(PathBuf::from);
        let watchdog = manager.as_ref().and_then(|_| Watchdog::from_environment());
        Ok(Self {
            workers,
            token,
            user,
            manager,
            told: Told::Starting,
            strangers: RepeatedWarning::default(),
            unreadable: RepeatedWarning::default(),
            unreachable: RepeatedWarning::default(),
            watchdog,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.workers.path()
    }

    /// Whether workers find the socket.
    pub(crate) fn is_there(&self) -> bool {
        self.workers.is_there()
    }

    /// Makes the socket again if workers do not find it; says whether that was so.
    pub(crate) fn restore(&mut self, sources: &mut Sources) -> Result<bool, StartError> {
        if self.is_there() {
            return Ok(false);
        }
        let (workers, token) = bind(self.path(), sources, self.user)?;
        sources.remove(&self.workers.socket, self.token);
        (self.workers, self.token) = (workers, token);
        Ok(true)
    }

    /// When the next WATCHDOG=1 is due, or the count of a warning.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let watchdog = self.watchdog.as_ref().map(|watchdog| watchdog.next);
        let warnings = [&self.strangers, &self.unreadable, &self.unreachable];
        let counts = warnings.into_iter().filter_map(RepeatedWarning::deadline);
        counts.chain(watchdog).min()
    }

    pub(crate) fn check_time(&mut self) {
        self.check_watchdog();
        self.strangers.check_time();
        self.unreadable.check_time();
        self.unreachable.check_time();
    }

    pub(crate) fn status(&mut self, status: &str) {
        self.notify_manager(&[("STATUS", status)]);
    }

    pub(crate) fn reload_began(&mut self, status: &str) {
        self.told = self.told.reload_began();
        let now = process::monotonic_microseconds().to_string();
        self.notify_manager(&[
            ("RELOADING", "1"),
            ("MONOTONIC_USEC", &now),
            ("STATUS", status),
        ]);
    }

    /// A change is done, or has failed and others serve on.
    pub(crate) fn change_ended(&mut self, kind: ChangeKind, status: &str) {
        let before = self.told;
        self.told = before.change_ended(kind);
        match self.told {
            Told::Serving if before != Told::Serving => {
                self.notify_manager(&[("READY", "1"), ("STATUS", status)]);
            }
            Told::Starting | Told::Serving => self.status(status),
            Told::Reloading(_) | Told::Stopping => {}
        }
    }

    pub(crate) fn stopping(&mut self, status: &str) {
        self.told = Told::Stopping;
        self.notify_manager(&[("STOPPING", "1"), ("STATUS", status)]);
    }

    fn notify_manager(&mut self, notices: &[(&str, &str)]) {
        let Some(manager) = &self.manager else { return };
        if let Err(error) = notification::send(manager, &compose(notices)) {
            let manager = manager.display();
            self.unreachable.warn(format!(
                "cannot tell the service manager at {manager} what we do: {error}; see to NOTIFY_SOCKET, or unset it"
            ));
        }
    }

    fn check_watchdog(&mut self) {
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

/// Nobody but the workers' user may write to it, and the control socket beside it stays ours. Whoever of that user is
/// no worker is found out by its pid.
fn bind(
    path: &Path,
    sources: &mut Sources,
    user: Option<u32>,
) -> Result<(socket::Bound<UnixDatagram>, Token), StartError> {
    let workers = socket::bind_notify(path)?;
    if let Some(user) = user
        && let Err(error) = workers.give_to(user)
    {
        warn!(
            "user {user} cannot write to {}, and workers cannot say READY=1: {error}; give the supervisor CAP_CHOWN",
            path.display()
        );
    }
    let added = sources.add(&workers.socket, Source::Notify, Interest::READABLE);
    let token = added.map_err(|source| StartError::System {
        operation: "wait for the workers' notifications",
        source,
    })?;
    Ok((workers, token))
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
    pub(crate) fn receive(&mut self) -> Vec<(Option<i32>, Vec<Notice>)> {
        let mut bytes = [0; MAX_DATAGRAM_LEN];
        let mut received = Vec::new();
        loop {
            match notification::receive(&self.workers.socket, &mut bytes) {
                Ok((length, sender)) => received.push((sender, parse(&bytes[..length]))),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return received,
                Err(error) => {
                    let sentence = format!("cannot read the workers' notifications: {error}");
                    self.unreadable.warn(sentence);
                    return received;
                }
            }
        }
    }

    /// A notification came from somebody who is no worker. One that is only a barrier says nothing, and is
    /// answered.
    pub(crate) fn strange(&mut self, sender: Option<i32>, notices: &[Notice]) {
        if notices != [Notice::Barrier] {
            let pid = sender.unwrap_or(0);
            let socket = self.path().display();
            let sentence = format!(
                "a notification came to {socket} from pid {pid}, which is no worker's; it is passed over"
            );
            self.strangers.warn(sentence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_reloads_that_overlap_the_last_one_to_end_is_the_end() {
        let both = Told::Serving.reload_began().reload_began();
        let one = both.change_ended(ChangeKind::Reload);
        assert_eq!(one, Told::Reloading(1));
        assert_eq!(one.change_ended(ChangeKind::Scale), Told::Reloading(1));
        assert_eq!(one.change_ended(ChangeKind::Reload), Told::Serving);
    }

    #[test]
    fn nothing_follows_the_end() {
        let stopping = Told::Stopping;
        assert_eq!(stopping.reload_began(), Told::Stopping);
        assert_eq!(stopping.change_ended(ChangeKind::Reload), Told::Stopping);
    }
}

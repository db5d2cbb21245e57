//! The ways to share a port among workers, each as it is started.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::control::Control;
use super::port::Reservation;

/// A way must be up, and gone, within this time.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two looks at whether it is.
const GLANCE: Duration = Duration::from_millis(5);

/// How n workers come to their connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Each has a listener of its own: reuseport-run.
    Queues,
    /// Two listeners, each for half of them: reuseport-run --queues 2.
    TwoQueues,
    /// One listener for all: reuseport-run --queues 1.
    OneQueue,
    /// The same, with workers that wait for it with `EPOLLEXCLUSIVE`.
    OneQueueExclusive,
    /// All accept from one listener, and all wake.
    Shared,
    /// The same with `EPOLLEXCLUSIVE`: one wakes.
    SharedExclusive,
    /// A master accepts, and hands over to who has taken the one before (Node's way).
    Dispatch,
    /// A master accepts, and hands over to who has nothing to do.
    DispatchFree,
}

impl Way {
    /// All, ours first: it is what the others are compared with.
    pub const ALL: [Self; 8] = [
        Self::Queues,
        Self::TwoQueues,
        Self::OneQueue,
        Self::OneQueueExclusive,
        Self::Shared,
        Self::SharedExclusive,
        Self::Dispatch,
        Self::DispatchFree,
    ];

    /// Its name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queues => "queues",
            Self::TwoQueues => "two-queues",
            Self::OneQueue => "one-queue",
            Self::OneQueueExclusive => "one-queue-exclusive",
            Self::Shared => "shared",
            Self::SharedExclusive => "shared-exclusive",
            Self::Dispatch => "dispatch",
            Self::DispatchFree => "dispatch-free",
        }
    }

    /// Starts so many workers with these options, and waits until they answer. `supervisor` is the
    /// reuseport-run to use, and reuseport-ctl stands beside it.
    ///
    /// # Errors
    /// A sentence, with what the programs said.
    pub fn start(self, supervisor: &Path, workers: u32, options: &[String]) -> io::Result<Started> {
        let directory = tempfile::tempdir()?;
        let port = Reservation::new()?;
        let control = directory.path().join("control.sock");
        let mut command = match self {
            _ if self.opponent().is_some() => Command::new(env::current_exe()?),
            _ => supervised(supervisor, &control),
        };
        command.args(self.arguments(workers, port.port(), options)?);
        let said = directory.path().join("said");
        let child = command
            // ^C is for the bench, which then ends what it has started.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said)?)
            .spawn()?;
        let mut started = Started {
            way: self,
            child,
            port,
            said,
            control: Control {
                program: supervisor.with_file_name("reuseport-ctl"),
                socket: control,
            },
            _directory: directory,
        };
        started.wait_until_up()?;
        Ok(started)
    }

    fn arguments(self, workers: u32, port: u16, options: &[String]) -> io::Result<Vec<OsString>> {
        let count = ["--workers".into(), workers.to_string().into()];
        let place = ["--port".into(), port.to_string().into()];
        let mut words: Vec<OsString> = Vec::new();
        if let Some((program, options)) = self.opponent() {
            words.push(program.into());
            words.extend(count.into_iter().chain(place));
            words.extend(options.iter().map(OsString::from));
        } else {
            words.extend(count);
            words.extend(self.queues().iter().map(OsString::from));
            words.extend(["--".into(), env::current_exe()?.into(), "worker".into()]);
            words.extend(place);
            words.extend(self.trait_of_workers().map(OsString::from));
        }
        words.extend(options.iter().map(OsString::from));
        Ok(words)
    }

    /// How many queues we are asked for, if not one for each worker.
    fn queues(self) -> &'static [&'static str] {
        match self {
            Self::TwoQueues => &["--queues", "2"],
            Self::OneQueue | Self::OneQueueExclusive => &["--queues", "1"],
            _ => &[],
        }
    }

    /// What sets our workers apart, if something does.
    fn trait_of_workers(self) -> Option<&'static str> {
        (self == Self::OneQueueExclusive).then_some("--exclusive")
    }

    /// The program of the laboratory that does it, and what sets it apart; none for our own way.
    fn opponent(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Self::Queues | Self::TwoQueues | Self::OneQueue | Self::OneQueueExclusive => None,
            Self::Shared => Some(("share", &["--"])),
            Self::SharedExclusive => Some(("share", &["--", "--exclusive"])),
            Self::Dispatch => Some(("master", &["--rule", "taken", "--"])),
            Self::DispatchFree => Some(("master", &["--rule", "free", "--"])),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn supervised(supervisor: &Path, control: &Path) -> Command {
    let mut command = Command::new(supervisor);
    command.arg("--control").arg(control);
    command
}

/// Workers that serve; dropped, they are gone.
#[derive(Debug)]
pub struct Started {
    way: Way,
    child: Child,
    port: Reservation,
    /// The file in which their stderr goes.
    said: PathBuf,
    control: Control,
    _directory: tempfile::TempDir,
}

impl Started {
    /// Whom to ask.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.port()))
    }

    /// The process that has started the others.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_up(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        while !self.is_up() {
            let is_over = self.child.try_wait()?.is_some() || Instant::now() > deadline;
            if is_over {
                let said = fs::read_to_string(&self.said).unwrap_or_default();
                let text = format!("{} did not begin to serve: {}", self.way, said.trim());
                return Err(io::Error::other(text));
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// The supervisor knows when all are ready. The others open the port first and start their
    /// workers then, which is a matter of milliseconds; the load's warm-up is longer.
    fn is_up(&self) -> bool {
        if self.way.opponent().is_some() {
            return TcpStream::connect(self.address()).is_ok();
        }
        let status = self.control.status();
        status.is_ok_and(|status| status.phase == "serving")
    }
}

impl Drop for Started {
    /// Told to stop and, if that takes too long, killed: the next measurement must not share the
    /// machine with this one's remains.
    fn drop(&mut self) {
        let Ok(pid) = i32::try_from(self.child.id()) else {
            return;
        };
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let deadline = Instant::now() + STEP_TIMEOUT;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                let _ = kill(Pid::from_raw(-pid), Signal::SIGKILL);
                let _ = self.child.kill();
            }
            thread::sleep(GLANCE);
        }
    }
}

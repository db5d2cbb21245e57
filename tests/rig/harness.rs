//! A supervisor under test, seen from outside: its lines, its status, its exit.
//!
//! Everything that is waited for can be observed, and one deadline bounds all the waiting of a test:
//! when it passes, the test fails and prints what the supervisor said and what its status was.
//!
//! ```ignore
//! let mut supervisor = Supervisor::builder()
//!     .args(["-n", "2", "--drain-timeout", "1s"])
//!     .fixture("misbehave", ["--port", "{port}"])
//!     .start();
//! supervisor.wait_serving(2);
//! ```
//!
//! `{port}`, `{dir}` and `{control}` are filled in, in options and command: a port that is reserved
//! for this test, its directory of temporary files, and the control socket. Dropping the supervisor
//! kills it and all that it started.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reuseport_run::wire::control::Status;
use tempfile::TempDir;

use crate::rig::control::Control;
use crate::rig::load::Plan;
use crate::rig::output_lines::OutputLines;
use crate::rig::port::Reservation;
use crate::rig::process_tree::ProcessTree;

/// The time that one test may take in all, unless it asks for another.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a condition is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The project's binaries.
pub fn supervisor_program() -> PathBuf {
    env!("CARGO_BIN_EXE_reuseport-run").into()
}

pub fn ctl_program() -> PathBuf {
    env!("CARGO_BIN_EXE_reuseport-ctl").into()
}

/// One of the test programs: `rig`, `trial`, `misbehave`.
pub fn fixture(name: &str) -> PathBuf {
    let path = supervisor_program()
        .parent()
        .unwrap()
        .join("examples")
        .join(name);
    assert!(
        path.exists(),
        "{} is not built: run cargo build --examples",
        path.display()
    );
    path
}

/// A supervisor to be started.
pub struct Builder {
    arguments: Vec<String>,
    command: Vec<String>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    directory: TempDir,
    reservation: Reservation,
    time: Duration,
}

impl Builder {
    /// The time that the test may take in all.
    pub fn within(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Starts the supervisor through this command, which must become it: the supervisor and its
    /// arguments are appended.
    pub fn through<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.wrapper = words.into_iter().map(Into::into).collect();
        self
    }

    /// The same with a shell, whose script must end with `exec "$@"`.
    pub fn through_shell(self, script: &str) -> Self {
        self.through(["sh", "-c", script, "sh"])
    }

    /// More options of the supervisor. Its control socket is given already.
    pub fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The server's command.
    pub fn command<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.command = words.into_iter().map(Into::into).collect();
        self
    }

    /// One of the test programs as the server.
    pub fn fixture<S: Into<String>>(
        self,
        name: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let program = fixture(name).display().to_string();
        self.command(
            [program]
                .into_iter()
                .chain(arguments.into_iter().map(Into::into)),
        )
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub fn port(&self) -> u16 {
        self.reservation.port()
    }

    /// Where files for this test can be put: `{dir}`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file that the server or the supervisor is to read: `{dir}/NAME`.
    pub fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.directory.path().join(name), self.fill(text)).unwrap();
        self
    }

    #[track_caller]
    pub fn start(self) -> Supervisor {
        let socket = self.directory.path().join("ctl.sock");
        let mut words = self.wrapper.iter().map(|word| self.fill(word));
        let mut command = match words.next() {
            Some(program) => {
                let mut command = Command::new(program);
                command.args(words).arg(supervisor_program());
                command
            }
            None => Command::new(supervisor_program()),
        };
        command
            .arg("--control")
            .arg(&socket)
            .args(self.arguments.iter().map(|a| self.fill(a)));
        if !self.command.is_empty() {
            command
                .arg("--")
                .args(self.command.iter().map(|word| self.fill(word)));
        }
        command.envs(
            self.environment
                .iter()
                .map(|(name, value)| (name, self.fill(value))),
        );
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let processes = ProcessTree::new();
        processes.adopt(&mut command);
        let mut child = command.spawn().unwrap();
        let (output, output_lines) = (
            Arc::new(OutputLines::default()),
            Arc::new(OutputLines::default()),
        );
        output.follow(child.stdout.take().unwrap());
        output_lines.follow(child.stderr.take().unwrap());
        Supervisor {
            child,
            processes,
            output,
            output_lines,
            control: Control {
                program: ctl_program(),
                socket,
            },
            time: self.time,
            deadline: Instant::now() + self.time,
            exit: RefCell::new(None),
            directory: self.directory,
            reservation: self.reservation,
        }
    }

    fn fill(&self, word: &str) -> String {
        let directory = self.directory.path().display().to_string();
        word.replace("{port}", &self.port().to_string())
            .replace("{control}", &format!("{directory}/ctl.sock"))
            .replace("{dir}", &directory)
    }
}

/// A running supervisor.
pub struct Supervisor {
    child: Child,
    processes: ProcessTree,
    output: Arc<OutputLines>,
    output_lines: Arc<OutputLines>,
    control: Control,
    time: Duration,
    deadline: Instant,
    exit: RefCell<Option<i32>>,
    directory: TempDir,
    reservation: Reservation,
}

impl Supervisor {
    pub fn builder() -> Builder {
        Builder {
            arguments: Vec::new(),
            command: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            directory: TempDir::new().unwrap(),
            reservation: Reservation::new().unwrap(),
            time: TEST_TIMEOUT,
        }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn port(&self) -> u16 {
        self.reservation.port()
    }

    /// The control socket.
    pub fn control(&self) -> &Path {
        &self.control.socket
    }

    /// Where a client reaches the workers.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// A load on the workers, to be adapted and started.
    pub fn plan(&self) -> Plan {
        Plan::new(self.address())
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes or replaces a file in the test's directory, in one step.
    pub fn write(&self, name: &str, text: &str) {
        let new = self.directory.path().join(format!("{name}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(new, self.directory.path().join(name)).unwrap();
    }

    /// What it has written to stderr so far.
    pub fn lines(&self) -> Vec<String> {
        self.output_lines.lines()
    }

    /// What it has written to stdout so far.
    pub fn output(&self) -> Vec<String> {
        self.output.lines()
    }

    /// Waits for a line on stderr that contains `pattern`, from the start on; returns it.
    #[track_caller]
    pub fn wait_line(&self, pattern: &str) -> String {
        self.wait_line_after(0, pattern)
    }

    /// The same, but not among the first `seen` lines.
    #[track_caller]
    pub fn wait_line_after(&self, seen: usize, pattern: &str) -> String {
        let find = || {
            self.lines()
                .into_iter()
                .skip(seen)
                .find(|line| line.contains(pattern))
        };
        self.wait_for(&format!("a line with {pattern:?}"), find)
    }

    /// Runs `reuseport-ctl` to its end.
    #[track_caller]
    pub fn ctl<S: Into<String>>(&self, words: impl IntoIterator<Item = S>) -> Output {
        let words: Vec<String> = words.into_iter().map(Into::into).collect();
        self.control.run(&words).unwrap()
    }

    /// The same, and it must exit with 0; returns what it printed.
    #[track_caller]
    pub fn ctl_ok<S: Into<String>>(&self, words: impl IntoIterator<Item = S>) -> String {
        let words: Vec<String> = words.into_iter().map(Into::into).collect();
        match self.control.succeed(&words) {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(trouble) => self.give_up(&trouble),
        }
    }

    #[track_caller]
    pub fn status(&self) -> Status {
        self.remember();
        self.control
            .status()
            .unwrap_or_else(|trouble| self.give_up(&trouble))
    }

    /// Waits for a status that is as it should be; returns it. Until the supervisor can be asked,
    /// no status is.
    #[track_caller]
    pub fn wait_status(&self, good: impl Fn(&Status) -> bool) -> Status {
        self.remember();
        self.wait_for("a certain status", || {
            self.control.status().ok().filter(&good)
        })
    }

    /// Waits until the supervisor is at rest with so many workers serving, and no other.
    #[track_caller]
    pub fn wait_serving(&self, workers: usize) -> Status {
        self.wait_status(|status| {
            let serving = status
                .workers
                .iter()
                .filter(|worker| worker.phase == "serving")
                .count();
            status.phase == "serving" && serving == workers && status.workers.len() == workers
        })
    }

    pub fn signal(&self, signal: Signal) {
        self.remember();
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits for the end; returns the exit code, or 128 and the number of the signal.
    #[track_caller]
    pub fn wait_exit(&mut self) -> i32 {
        self.remember();
        if self.exit.borrow().is_none() {
            let mut code = None;
            while code.is_none() {
                self.check_time("its exit");
                code = self.child.try_wait().unwrap().map(|status| {
                    status
                        .code()
                        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
                });
                thread::sleep(POLL_INTERVAL);
            }
            self.exit.replace(code);
        }
        self.exit.borrow().unwrap()
    }

    /// Waits until no process that it started is left.
    #[track_caller]
    pub fn wait_nobody(&self) {
        self.wait_for("nobody left", || {
            self.processes.members().is_empty().then_some(())
        });
    }

    /// The pids of all processes that came of it, itself included.
    pub fn members(&self) -> Vec<i32> {
        self.processes.members()
    }

    /// Waits for something to be there; fails the test when its time is over.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        loop {
            if let Some(found) = look() {
                return found;
            }
            self.check_time(what);
            thread::sleep(POLL_INTERVAL);
        }
    }

    #[track_caller]
    fn check_time(&self, what: &str) {
        if Instant::now() > self.deadline {
            self.give_up(&format!(
                "the test's {:?} were over while it waited for {what}",
                self.time
            ));
        }
    }

    /// Fails the test and says everything that is known.
    #[track_caller]
    pub fn give_up(&self, why: &str) -> ! {
        let indent = |lines: Vec<String>| lines.join("\n  | ");
        let (stderr, stdout) = (indent(self.lines()), indent(self.output()));
        let status = self.control.status();
        panic!("{why}\nstderr:\n  | {stderr}\nstdout:\n  | {stdout}\nstatus: {status:#?}");
    }

    /// Remembers who belongs to it now, so that they are found when it has gone.
    fn remember(&self) {
        self.processes.members();
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.processes.kill();
        // Killed; what remains is to let the kernel forget it.
        let _ = self.child.wait();
        if thread::panicking() {
            for line in self.lines() {
                eprintln!("  | {line}");
            }
        }
    }
}

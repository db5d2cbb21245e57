//! What is tried: a supervisor with its workers, or a server alone.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reuseport_run::wire::control::Status;

use crate::rig::control::{Control, Trouble};
use crate::rig::output_lines::OutputLines;
use crate::rig::process_tree::ProcessTree;

use super::options::Options;
use super::{POLL_INTERVAL, is_full};

/// How long starting, stopping and any change may take, if nobody says otherwise.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// How long after the supervisor's end a process of it may still be seen. A process that was killed
/// is there until the kernel has taken it apart.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

pub struct SupervisedServer<'a> {
    /// Where the clients connect to.
    pub address: SocketAddr,
    /// How many workers there should be.
    pub workers: usize,
    /// How long starting, stopping and any change may take.
    pub step_timeout: Duration,
    processes: &'a ProcessTree,
    child: Child,
    control: Option<Control>,
}

impl<'a> SupervisedServer<'a> {
    /// Starts `server`, under a supervisor unless the options say `direct`.
    pub fn start(
        options: &Options,
        address: SocketAddr,
        server: &[String],
        directory: &Path,
        processes: &'a ProcessTree,
        output_lines: &Arc<OutputLines>,
    ) -> Result<Self, Trouble> {
        let socket = directory.join("ctl.sock");
        let mut command = match &options.supervisor {
            Some(program) if !options.direct => {
                let mut command = Command::new(program);
                let more = options.args.replace("{port}", &address.port().to_string());
                command
                    .args(["-n", &options.workers.to_string(), "--control"])
                    .arg(&socket);
                command
                    .args(more.split_ascii_whitespace())
                    .arg("--")
                    .args(server);
                command
            }
            _ => {
                let mut command = Command::new(&server[0]);
                command.args(&server[1..]);
                command
            }
        };
        let child = spawn(&mut command, processes, output_lines)?;
        let program = options.ctl.clone().filter(|_| !options.direct);
        let control = program.map(|program| Control { program, socket });
        Ok(Self {
            address,
            workers: options.workers,
            step_timeout: STEP_TIMEOUT,
            processes,
            child,
            control,
        })
    }

    pub fn wait_ready(&mut self) -> Result<(), Trouble> {
        if self.control.is_none() {
            return self.wait_listening();
        }
        let wanted = self.workers;
        self.wait_until("all workers serving", |server| {
            // Before it has its control socket it cannot be asked.
            Ok(server.status().is_ok_and(|status| is_full(&status, wanted)))
        })
    }

    fn wait_listening(&mut self) -> Result<(), Trouble> {
        self.wait_until("the server listening", |server| {
            Ok(TcpStream::connect(server.address).is_ok())
        })
    }

    pub fn control(&self, words: &[&str]) -> Result<(), Trouble> {
        self.client()?.succeed(words).map(drop)
    }

    /// The same, without waiting for its end.
    pub fn begin(&self, words: &[&str]) -> Result<Child, Trouble> {
        self.client()?.begin(words)
    }

    pub fn status(&self) -> Result<Status, Trouble> {
        // Who is here now is remembered, for the question who is left.
        self.processes.members();
        self.client()?.status()
    }

    pub fn wait_status(
        &mut self,
        what: &str,
        good: impl Fn(&Status) -> bool,
    ) -> Result<(), Trouble> {
        self.wait_until(what, |server| Ok(good(&server.status()?)))
    }

    /// Ends it with SIGTERM. A supervisor must exit with 0 and leave nobody behind.
    pub fn stop(&mut self) -> Result<ExitStatus, Trouble> {
        self.stop_with(Signal::SIGTERM)
    }

    /// The same with another signal, as a server alone may need. Whom such a server leaves behind is its own affair.
    pub fn stop_with(&mut self, signal: Signal) -> Result<ExitStatus, Trouble> {
        self.processes.members();
        let pid = i32::try_from(self.child.id()).map_err(|error| error.to_string())?;
        kill(Pid::from_raw(pid), signal).map_err(|error| format!("no stop: {error}"))?;
        let status = self.wait_exit()?;
        if self.control.is_some() && !status.success() {
            return Err(format!("the supervisor ends with {status}"));
        }
        if self.control.is_some() {
            self.wait_nobody()?;
        }
        Ok(status)
    }

    fn wait_exit(&mut self) -> Result<ExitStatus, Trouble> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => thread::sleep(POLL_INTERVAL),
                Err(error) => return Err(format!("cannot wait for the end: {error}")),
            }
        }
        Err(format!(
            "the signal does not end it within {STEP_TIMEOUT:?}"
        ))
    }

    fn wait_nobody(&self) -> Result<(), Trouble> {
        let deadline = Instant::now() + EXIT_TIMEOUT;
        loop {
            let left = self.processes.members();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("processes are left behind: {left:?}"));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn wait_until(
        &mut self,
        what: &str,
        mut good: impl FnMut(&Self) -> Result<bool, Trouble>,
    ) -> Result<(), Trouble> {
        let deadline = Instant::now() + self.step_timeout;
        while !good(self)? {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended with {status} while waiting for {what}"));
            }
            if Instant::now() > deadline {
                return Err(format!("waited {:?} in vain for {what}", self.step_timeout));
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    fn client(&self) -> Result<&Control, Trouble> {
        self.control
            .as_ref()
            .ok_or_else(|| "there is no supervisor to ask".into())
    }
}

fn spawn(
    command: &mut Command,
    processes: &ProcessTree,
    output_lines: &Arc<OutputLines>,
) -> Result<Child, Trouble> {
    processes.adopt(command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn();
    let mut child = child.map_err(|error| format!("cannot start {command:?}: {error}"))?;
    if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
        output_lines.follow(out);
        output_lines.follow(err);
    }
    Ok(child)
}

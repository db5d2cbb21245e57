//! What happens between fork and exec of a worker, in ordinary code: the supervisor starts this
//! program once more under the name [`NAME`], and that becomes the worker's command.
//!
//! The order matters: first the tie to the supervisor, so that it cannot die unseen; last the
//! seccomp filter, because from then on a `bind` of ours would wait for an answer.
//!
//! Standard input is a channel to the supervisor. On it come the listeners that the worker
//! inherits; on it go the descriptor of the notifications, and, should it come to that, the
//! sentence that says why there is no worker. When the command runs the channel is closed.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sys::{channel, descriptor, process, seccomp};

/// The launcher's `argv[0]`.
pub const NAME: &str = "reuseport-run-launcher";

/// The first byte of a message on the channel: a notification descriptor comes with it.
pub const NOTIFICATIONS: u8 = b'N';
/// The first byte of a message on the channel: why bind and listen are not intercepted follows.
pub const NOT_INTERCEPTED: u8 = b'I';
/// The first byte of a message on the channel: why the command does not run follows.
pub const FAILED: u8 = b'F';

/// The first descriptor that is passed to the worker (sd_listen_fds(3)).
pub const FIRST_PASSED: i32 = 3;

/// What the launcher is to do, as its first argument. Then comes the directory to change to, or
/// an empty argument, and then the command.
#[derive(Debug, Serialize, Deserialize)]
pub struct LaunchSpec {
    /// The supervisor's pid.
    pub supervisor: i32,
    /// What the worker gets when the supervisor dies.
    pub stop_signal: i32,
    /// The soft limit on open files to go back to.
    pub file_limit: u64,
    /// How many listeners come over the channel.
    pub listeners: usize,
    /// Whether the worker's `bind` and `listen` are intercepted.
    pub intercept: Intercept,
}

/// Whether `bind` and `listen` are intercepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intercept {
    /// Yes, and `IPV6_V6ONLY` too where the supervisor cannot look at sockets.
    Needed {
        /// Trap `setsockopt(IPV6_V6ONLY)`.
        v6_only: bool,
    },
    /// If it can be done: listeners are passed, and a worker that takes them needs no more.
    Wanted {
        /// Trap `setsockopt(IPV6_V6ONLY)`.
        v6_only: bool,
    },
}

/// Becomes the command; comes back only with the exit code of a failure, which has been told to
/// the supervisor.
pub fn run() -> u8 {
    let Ok(channel) = take_channel() else {
        eprintln!("{NAME} is started by reuseport-run, not by hand");
        return 2;
    };
    let Err(sentence) = become_worker(&channel);
    let mut message = vec![FAILED];
    message.extend(sentence.as_bytes());
    // If the supervisor does not hear it, it is dead, and nobody else wants to know.
    let _ = channel::send(&channel, &message, &[]);
    127
}

/// Moves the channel away from standard input, which the worker gets as /dev/null: n workers
/// cannot share one input.
fn take_channel() -> io::Result<OwnedFd> {
    let channel = descriptor::duplicate_above(&io::stdin(), out_of_the_way()?)?;
    if !descriptor::is_socket(&channel)? {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    descriptor::replace(File::open("/dev/null")?.into(), 0)?;
    Ok(channel)
}

/// A number so high that nothing of ours is where a listener shall be, and that the limit on open files
/// allows.
fn out_of_the_way() -> io::Result<i32> {
    const HIGH: i32 = 1000;
    let limit = i32::try_from(process::file_limit()?).unwrap_or(i32::MAX);
    Ok(HIGH.min(limit / 2))
}

fn become_worker(channel: &OwnedFd) -> Result<std::convert::Infallible, String> {
    let mut arguments = std::env::args_os().skip(1);
    let plan = arguments
        .next()
        .and_then(|plan| serde_json::from_slice::<LaunchSpec>(plan.as_encoded_bytes()).ok());
    let plan = plan.ok_or("the plan is not understood")?;
    let directory = arguments.next().unwrap_or_default();
    let command = arguments.next().ok_or("there is no command")?;
    let arguments: Vec<OsString> = arguments.collect();
    tie_to_supervisor(&plan)?;
    if !directory.is_empty() {
        let directory = Path::new(&directory);
        std::env::set_current_dir(directory)
            .map_err(|error| format!("cannot change to {}: {error}", directory.display()))?;
    }
    let environment = place_listeners(channel, plan.listeners)
        .map_err(|error| format!("cannot take the listeners over: {error}"))?;
    process::set_file_limit(plan.file_limit)
        .map_err(|error| format!("cannot set the limit on open files: {error}"))?;
    intercept(channel, plan.intercept)?;
    let error = process::become_command(&command, &arguments, &environment);
    Err(format!(
        "cannot execute {}: {}",
        Path::new(&command).display(),
        why(&error)
    ))
}

fn tie_to_supervisor(plan: &LaunchSpec) -> Result<(), String> {
    match process::follow_parent(plan.supervisor, plan.stop_signal) {
        Ok(true) => Ok(()),
        Ok(false) => Err("the supervisor has died".into()),
        Err(error) => Err(format!(
            "cannot ask for a signal at the supervisor's death: {error}"
        )),
    }
}

/// Puts the inherited listeners at the descriptors from 3 on, and says so in the environment; the
/// pid is known only here.
fn place_listeners(channel: &OwnedFd, count: usize) -> io::Result<Vec<(String, String)>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let (_, listeners) = channel::receive(channel, &mut [0])?;
    if listeners.len() != count {
        return Err(io::Error::other("some are missing"));
    }
    let lowest = out_of_the_way()?;
    let above = listeners
        .iter()
        .map(|listener| descriptor::duplicate_above(&listener.as_fd(), lowest));
    let above: Vec<OwnedFd> = above.collect::<io::Result<_>>()?;
    drop(listeners);
    for (listener, number) in above.into_iter().zip(FIRST_PASSED..) {
        descriptor::replace(listener, number)?;
    }
    Ok(vec![("LISTEN_PID".into(), std::process::id().to_string())])
}

fn intercept(channel: &OwnedFd, intercept: Intercept) -> Result<(), String> {
    let (Intercept::Needed { v6_only } | Intercept::Wanted { v6_only }) = intercept;
    let installed = seccomp::install(&seccomp::build_filter(v6_only));
    let reason = match installed {
        Ok(notifications) => {
            let sent = channel::send(channel, &[NOTIFICATIONS], &[notifications.as_raw_fd()]);
            return sent.map_err(|error| {
                format!("cannot hand over the notifications of bind and listen: {error}")
            });
        }
        Err(error) => seccomp::Unsupported::from(error).to_string(),
    };
    if matches!(intercept, Intercept::Needed { .. }) {
        return Err(reason);
    }
    let message = [&[NOT_INTERCEPTED], reason.as_bytes()].concat();
    channel::send(channel, &message, &[]).map_err(|error| error.to_string())
}

/// Why a command cannot be executed, and what to do.
fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "no such file, or its interpreter is missing; give a path, or a name that is in PATH"
                .into()
        }
        io::ErrorKind::PermissionDenied => "permission denied; is it executable?".into(),
        _ => error.to_string(),
    }
}

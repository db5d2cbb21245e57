//! What happens between fork and exec of a worker, in ordinary code: the supervisor starts this
//! program once more under the name [`NAME`], and that becomes the worker's command.
//!
//! The order matters:
//! 1. The tie to the supervisor, so that it cannot die unseen.
//! 2. The listeners, and then the seccomp filter, as root where we are root: only a process that must not gain rights
//!    (`no_new_privs`) or has `CAP_SYS_ADMIN` may filter, and a worker of another user that had the former could not
//!    use sudo or ping. The filter traps nothing that comes after it here. Nothing of ours may `bind` any more: it
//!    would wait for an answer.
//! 3. Descriptors of others than ours, limits, priorities, CPUs and then the user (`attributes`): what raises something
//!    needs root, and afterwards nothing of /proc/self is ours until the command runs.
//! 4. The tie once more, which a change of user undoes.
//! 5. What must be done with the user's rights and no others: changing to the directory, looking whether
//!    `NOTIFY_SOCKET` can be reached, executing the command.
//!
//! Standard input is a channel to the supervisor. On it come the listeners that the worker
//! inherits; on it go the descriptor of the notifications, and, should it come to that, the
//! sentence that says why there is no worker. When the command runs the channel is closed.
//!
//! | file | what it does |
//! | --- | --- |
//! | `attributes` | limits, priorities, CPUs, in their order |
//! | `identity` | another user |

mod attributes;
mod identity;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};

use crate::config::{Identity, ProcessAttributes, Release};
use crate::sys::{channel, descriptor, process, seccomp};
pub(crate) use identity::take_on_to_stay;

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

/// What the launcher is to do, as its first argument. Then come the directory to change to and the file that the command
/// is, or an empty argument for each, and then the command.
#[derive(Debug, Serialize, Deserialize)]
pub struct LaunchSpec {
    /// The supervisor's pid.
    pub supervisor: i32,
    /// What the worker gets when the supervisor dies.
    pub stop_signal: i32,
    /// The slot that the worker is for.
    pub slot: u32,
    /// The soft limit on open files to go back to.
    pub file_limit: u64,
    /// What the process is given.
    pub attributes: ProcessAttributes,
    /// Whether the worker is ready only when it has said so.
    pub must_notify: bool,
    /// How many listeners come over the channel.
    pub listeners: usize,
    /// Whether the worker's own channel comes after them.
    pub has_channel: bool,
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
    let program = arguments.next().filter(|program| !program.is_empty());
    let command = arguments.next().ok_or("there is no command")?;
    let arguments: Vec<OsString> = arguments.collect();
    tie_to_supervisor(&plan)?;
    let passed = plan.listeners + usize::from(plan.has_channel);
    place_passed(channel, passed)
        .map_err(|error| format!("cannot take the listeners over: {error}"))?;
    let mut environment: Vec<Variable> = listen_pid(plan.listeners).into_iter().collect();
    intercept(channel, plan.intercept)?;
    let user = plan.attributes.identity.as_ref();
    if user.is_some() {
        keep_descriptors_from_user(passed)?;
    }
    environment.extend(watchdog_pid());
    attributes::apply(&plan.attributes, plan.slot, plan.file_limit)?;
    if let Some(user) = user {
        tie_to_supervisor(&plan)?;
        environment.extend(without_notify_socket(user, plan.must_notify)?);
    }
    change_directory(&directory, user)?;
    let executable = Release::executable(&command, program.as_deref().map(Path::new));
    let error = process::become_command(&executable, &command, &arguments, &environment);
    Err(format!(
        "cannot execute {}: {}",
        Path::new(&executable).display(),
        why(&error, user)
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

/// What whoever started the supervisor left open for everyone reaches every worker, but none of another user: it may be
/// a file that only root may read. All of ours is closed at exec anyhow.
fn keep_descriptors_from_user(passed: usize) -> Result<(), String> {
    let passed = i32::try_from(passed).unwrap_or(i32::MAX);
    descriptor::close_at_exec_from(FIRST_PASSED.saturating_add(passed))
        .map_err(|error| format!("cannot see which descriptors are open: {error}"))
}

/// A variable for the command, to be set or to be taken away.
type Variable = (String, Option<String>);

/// Whom `WATCHDOG_USEC` is for (sd_watchdog_enabled(3)): not the processes that the command starts.
fn watchdog_pid() -> Option<Variable> {
    std::env::var_os("WATCHDOG_USEC")?;
    Some(("WATCHDOG_PID".into(), Some(std::process::id().to_string())))
}

/// Takes `NOTIFY_SOCKET` away where the worker's user may not reach it: the control socket, beside which it is, may be
/// in a directory of root's own. Some servers give up when they are told of a socket that they cannot write to.
///
/// # Errors
/// A sentence, if the worker must use it.
fn without_notify_socket(user: &Identity, must_notify: bool) -> Result<Option<Variable>, String> {
    const NAME: &str = "NOTIFY_SOCKET";
    let path = std::env::var_os(NAME).unwrap_or_default();
    let path = Path::new(&path);
    match access(path, AccessFlags::W_OK) {
        Err(error @ Errno::EACCES) if must_notify => Err(format!(
            "user {} cannot reach {NAME} {}: {error}; give a --control in a directory that this user may enter",
            user.name,
            path.display()
        )),
        Err(Errno::EACCES) => Ok(Some((NAME.into(), None))),
        // A file that is gone for a moment is made again by the supervisor.
        Ok(()) | Err(_) => Ok(None),
    }
}

fn change_directory(directory: &OsStr, user: Option<&Identity>) -> Result<(), String> {
    if directory.is_empty() {
        return Ok(());
    }
    let directory = Path::new(directory);
    std::env::set_current_dir(directory).map_err(|error| {
        let of = user.map_or_else(String::new, |user| format!(" as user {}", user.name));
        format!("cannot change to {}{of}: {error}", directory.display())
    })
}

/// Whom `LISTEN_FDS` is for (sd_listen_fds(3)): the pid is known only here.
fn listen_pid(listeners: usize) -> Option<Variable> {
    let pid = std::process::id().to_string();
    (listeners > 0).then(|| ("LISTEN_PID".into(), Some(pid)))
}

/// Puts what is inherited at the descriptors from 3 on.
fn place_passed(channel: &OwnedFd, count: usize) -> io::Result<()> {
    if count == 0 {
        return Ok(());
    }
    let (_, passed) = channel::receive(channel, &mut [0])?;
    if passed.len() != count {
        return Err(io::Error::other("some are missing"));
    }
    let lowest = out_of_the_way()?;
    let above = passed
        .iter()
        .map(|it| descriptor::duplicate_above(&it.as_fd(), lowest));
    let above: Vec<OwnedFd> = above.collect::<io::Result<_>>()?;
    drop(passed);
    for (descriptor, number) in above.into_iter().zip(FIRST_PASSED..) {
        descriptor::replace(descriptor, number)?;
    }
    Ok(())
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
fn why(error: &io::Error, user: Option<&Identity>) -> String {
    match (error.kind(), user) {
        (io::ErrorKind::NotFound, _) => {
            "no such file, or its interpreter is missing; give a path, or a name that is in PATH"
                .into()
        }
        (io::ErrorKind::PermissionDenied, None) => "permission denied; is it executable?".into(),
        (io::ErrorKind::PermissionDenied, Some(user)) => format!(
            "permission denied; may user {} execute it, and enter its directory and those above?",
            user.name
        ),
        // What execve(2) says of a user who has too many processes.
        (io::ErrorKind::WouldBlock, _) => {
            "its user has more processes than the limit nproc allows; raise --rlimit nproc".into()
        }
        _ => error.to_string(),
    }
}

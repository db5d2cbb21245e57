//! Processes: the one spawn, the one kill path, the one reaper.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::procfs;

/// What a new process is made of.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// The name that it sees as its own.
    pub name: &'a str,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Its standard input.
    pub input: OwnedFd,
    /// Its standard output; none: ours.
    pub output: Option<OwnedFd>,
    /// Its standard error; none: ours.
    pub errors: Option<OwnedFd>,
}

/// Starts this very program once more, in a process group of its own, and returns its pid.
///
/// When this returns, the new process is in the middle of exec or past it: it has its program's memory and no
/// copy of any descriptor of ours but the three, or will in a moment. (vfork(2) lets the parent go on just
/// before.) That matters: a listener that is closed while another process still has it does not leave its
/// group, which `closing` looks for.
///
/// # Errors
/// Those of fork(2) and execve(2).
pub fn spawn(plan: Spawn<'_>) -> io::Result<i32> {
    let inherit = |stream: Option<OwnedFd>| stream.map_or_else(Stdio::inherit, Stdio::from);
    let child = Command::new("/proc/self/exe")
        .arg0(plan.name)
        .args(plan.arguments)
        .env_clear()
        .envs(plan.environment)
        .stdin(plan.input)
        .stdout(inherit(plan.output))
        .stderr(inherit(plan.errors))
        .process_group(0)
        .spawn()?;
    i32::try_from(child.id()).map_err(io::Error::other)
}

/// Becomes another program, which finds `command` as its name, with these variables of the environment set, or taken away. Returns only if that failed.
pub fn become_command(
    executable: &OsStr,
    command: &OsStr,
    arguments: &[OsString],
    environment: &[(String, Option<String>)],
) -> io::Error {
    let mut become_it = Command::new(executable);
    become_it.arg0(command).args(arguments);
    for (name, value) in environment {
        match value {
            Some(value) => become_it.env(name, value),
            None => become_it.env_remove(name),
        };
    }
    become_it.exec()
}

/// Sends a signal to one process. One that has ended already is no error.
///
/// # Errors
/// Those of kill(2).
pub fn signal(pid: i32, number: i32) -> io::Result<()> {
    let signal = Signal::try_from(number)?;
    ignore_ended(kill(Pid::from_raw(pid), signal))
}

/// Kills a process group. One that has ended already is no error.
///
/// # Errors
/// Those of killpg(2).
pub fn kill_group(group: i32) -> io::Result<()> {
    ignore_ended(killpg(Pid::from_raw(group), Signal::SIGKILL))
}

/// Whether a process group has no member any more, not even a zombie.
pub fn is_group_empty(group: i32) -> bool {
    killpg(Pid::from_raw(group), None) == Err(Errno::ESRCH)
}

fn ignore_ended(result: nix::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A child that has ended and is not reaped yet, so that its pid still names it.
///
/// Not by nix's `waitid`: a child that a real-time signal ended is an error there, and would stay
/// in the way of all that end after it. So would one that a thread of ours has stopped
/// ([`interrupt`](super::interrupt)): the kernel shows its stop to whoever waits for any child.
///
/// # Errors
/// Those of waitid(2).
pub fn next_ended() -> io::Result<Option<(i32, Ended)>> {
    match wait(libc::P_ALL, 0)? {
        Waited::Nothing => Ok(None),
        Waited::Ended(pid, ended) => Ok(Some((pid, ended))),
        Waited::Stopped => {
            for pid in procfs::children(std::process::id().cast_signed()) {
                if let Waited::Ended(pid, ended) = wait(libc::P_PID, pid.unsigned_abs())? {
                    return Ok(Some((pid, ended)));
                }
            }
            Ok(None)
        }
    }
}

enum Waited {
    Nothing,
    Ended(i32, Ended),
    /// By a tracer of ours.
    Stopped,
}

fn wait(kind: libc::idtype_t, id: libc::id_t) -> io::Result<Waited> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: a siginfo_t is plain data, for which all zeroes is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills in the one structure that it is given.
    match Errno::result(unsafe { libc::waitid(kind, id, &raw mut info, flags) }) {
        Err(Errno::ECHILD) => return Ok(Waited::Nothing),
        result => result?,
    };
    // SAFETY: waitid fills these in for a child; they stay zero when there is none.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok(match info.si_code {
        _ if pid == 0 => Waited::Nothing,
        libc::CLD_EXITED => Waited::Ended(pid, Ended::Code(status)),
        libc::CLD_KILLED | libc::CLD_DUMPED => Waited::Ended(pid, Ended::Signal(status)),
        _ => Waited::Stopped,
    })
}

/// Reaps a child that [`next_ended`] named.
///
/// # Errors
/// Those of waitpid(2).
pub fn reap(pid: i32) -> io::Result<()> {
    match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
        Ok(_) | Err(Errno::ECHILD | Errno::EINVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Kills a child and waits until it is gone: not for the event loop.
///
/// # Errors
/// Those of kill(2) and waitpid(2).
pub fn end(pid: i32) -> io::Result<()> {
    signal(pid, libc::SIGKILL)?;
    match waitpid(Pid::from_raw(pid), None) {
        Ok(_) | Err(Errno::ECHILD) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes orphans among our descendants our children (`PR_SET_CHILD_SUBREAPER`, Linux 3.4), so
/// that what a worker leaves behind is reaped by us, and not by an init that may not do it.
///
/// # Errors
/// Those of prctl(2).
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: this option takes one number and touches no memory of ours.
    let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    Errno::result(result)?;
    Ok(())
}

/// Asks for a signal when the parent dies (`PR_SET_PDEATHSIG`), and says whether the parent is
/// still `parent`: if not, it died before this call.
///
/// # Errors
/// Those of prctl(2).
pub fn follow_parent(parent: i32, number: i32) -> io::Result<bool> {
    let number = libc::c_ulong::try_from(number).map_err(io::Error::other)?;
    // SAFETY: this option takes one number and touches no memory of ours.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, number, 0, 0, 0) };
    Errno::result(result)?;
    Ok(nix::unistd::getppid().as_raw() == parent)
}

/// Raises the limit on open files as far as it goes without privilege, and returns the limit that
/// was: workers get that one back, since some programs take time or memory in proportion to it.
///
/// # Errors
/// Those of getrlimit(2) and setrlimit(2).
pub fn raise_file_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(soft)
}

/// The soft limit on open files.
///
/// # Errors
/// Those of getrlimit(2).
pub fn file_limit() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// Sets the soft limit on open files.
///
/// # Errors
/// Those of getrlimit(2) and setrlimit(2).
pub fn set_file_limit(soft: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)?)
}

/// Does something with no limit on locked memory, or the highest that is allowed. The limit is as before
/// afterwards: workers inherit it.
///
/// # Errors
/// Those of getrlimit(2) and setrlimit(2).
pub fn with_locked_memory<T>(act: impl FnOnce() -> T) -> io::Result<T> {
    let limit = Resource::RLIMIT_MEMLOCK;
    let (soft, hard) = getrlimit(limit)?;
    // Without CAP_SYS_RESOURCE the hard limit is the end.
    if setrlimit(limit, RLIM_INFINITY, RLIM_INFINITY).is_err() {
        setrlimit(limit, hard, hard)?;
    }
    let done = act();
    setrlimit(limit, soft, hard)?;
    Ok(done)
}

/// The time of CLOCK_MONOTONIC in microseconds, as service managers want it (sd_notify(3)).
pub fn monotonic_microseconds() -> i64 {
    use nix::sys::time::TimeValLike;
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.num_microseconds())
}

/// Stops a process group and lets it go on at once: a read in which a thread sleeps with some bytes
/// then returns with them (signal(7): a stop interrupts like a handled signal would).
///
/// # Errors
/// Those of killpg(2).
pub fn interrupt_group(group: i32) -> io::Result<()> {
    ignore_ended(killpg(Pid::from_raw(group), Signal::SIGSTOP))?;
    ignore_ended(killpg(Pid::from_raw(group), Signal::SIGCONT))
}

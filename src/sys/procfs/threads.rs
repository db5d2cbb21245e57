//! What the threads of a process do, and what they still have.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use super::{descendants, entries, socket_inode_of};

/// Whether descriptor `fd` of process `pid` may be the socket `inode`: false only if it is known not
/// to be.
pub fn may_hold(pid: i32, fd: i32, inode: u64) -> bool {
    match fs::read_link(format!("/proc/{pid}/fd/{fd}")) {
        Ok(target) => target.as_os_str() == format!("socket:[{inode}]").as_str(),
        Err(error) => error.kind() != io::ErrorKind::NotFound || is_dying(pid),
    }
}

/// Whether process `pid` is gone, or none of its threads has descriptors any more.
pub fn is_dead(pid: i32) -> bool {
    has_nothing(pid) && !has_other_threads(pid)
}

/// Whether process `pid` has ended, or its last thread ends. Unlike [`is_dead`] this is seen of any process, also by
/// whoever is not root.
pub fn has_ended(pid: i32) -> bool {
    is_ending(pid) && !has_other_threads(pid)
}

/// Whether the first thread of a process is through with its death and others are not: /proc shows
/// no descriptors then, while another still has them all, and ends the read that it was in.
fn is_dying(pid: i32) -> bool {
    has_nothing(pid) && has_other_threads(pid)
}

/// Whether process `pid` is being killed, or its first thread has begun to end: the others go as
/// soon as they get to it, which may take a while, and do nothing else before.
pub fn is_being_killed(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mut lines = status.lines();
    let pending = lines.find_map(|line| line.strip_prefix("SigPnd:"));
    let pending = pending.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    pending.is_some_and(|set| set >> (libc::SIGKILL - 1) & 1 == 1) || is_ending(pid)
}

/// Whether process `pid` catches or ignores a signal, or blocks it (as one does that asks a signalfd); else it
/// dies of it, for a signal that kills.
pub fn handles_signal(pid: i32, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mut sets = status.lines().filter_map(|line| {
        let (name, set) = line.split_once(':')?;
        let is_wanted = matches!(name, "SigCgt" | "SigIgn" | "SigBlk");
        u64::from_str_radix(set.trim(), 16)
            .ok()
            .filter(|_| is_wanted)
    });
    sets.any(|set| set >> (signal - 1) & 1 == 1)
}

/// Whether the first thread of a process ends. Its signals are taken by then, and whoever is not
/// root sees nothing of its descriptors any more.
fn is_ending(pid: i32) -> bool {
    /// `PF_EXITING` (include/linux/sched.h).
    const EXITING: u64 = 4;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let mut fields = fields_after_name(&stat);
    let is_dead = matches!(fields.next(), None | Some("Z" | "X"));
    let flags = fields.nth(5).and_then(|flags| flags.parse().ok());
    is_dead || flags.is_some_and(|flags: u64| flags & EXITING != 0)
}

fn has_nothing(pid: i32) -> bool {
    match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(mut descriptors) => descriptors.next().is_none_or(|found| found.is_err()),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn has_other_threads(pid: i32) -> bool {
    entries(&format!("/proc/{pid}/task")).any(|tid| tid != pid)
}

/// Whether every thread of process `pid` sleeps until something happens. One that is about to run, or
/// waits for a disk, does not.
pub fn is_asleep(pid: i32) -> bool {
    let sleeps = |tid: i32| !matches!(state_of_thread(pid, tid), Some(b'R' | b'D'));
    entries(&format!("/proc/{pid}/task")).all(sleeps)
}

/// Whether every thread of process `pid` is stopped by a signal (`T`). A debugger's stop is another (`t`).
pub fn is_stopped(pid: i32) -> bool {
    let mut threads = entries(&format!("/proc/{pid}/task")).peekable();
    let is_stopped = |tid: i32| state_of_thread(pid, tid) == Some(b'T');
    threads.peek().is_some() && threads.all(is_stopped)
}

/// The state of a thread, as a letter (proc_pid_stat(5)).
fn state_of_thread(pid: i32, tid: i32) -> Option<u8> {
    let stat = fs::read(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
    // The state follows the command's name in parentheses, with anything in it.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(end + 2).copied()
}

/// What a process has done, and wants to do, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// CPU time so far, in user and kernel mode, in clock ticks (10 ms on nearly every kernel).
    pub cpu_ticks: u64,
    /// Whether its first thread runs or waits for a CPU (`R`), or waits for a disk (`D`).
    pub is_running: bool,
}

/// What process `pid` does (`/proc/PID/stat`, proc_pid_stat(5)); none if it is gone.
pub fn activity(pid: i32) -> Option<Activity> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = fields_after_name(&stat);
    let is_running = matches!(fields.next(), Some("R" | "D"));
    let mut ticks = fields.skip(10).map(|ticks| ticks.parse::<u64>().ok());
    let cpu_ticks = ticks.next()?? + ticks.next()??;
    Some(Activity {
        cpu_ticks,
        is_running,
    })
}

/// The fields of `/proc/PID/stat` from the third on: they follow the command's name, which is in parentheses
/// and may have anything in it.
fn fields_after_name(stat: &str) -> impl Iterator<Item = &str> {
    let fields = stat.rsplit(')').next().unwrap_or_default();
    fields.split_ascii_whitespace()
}

/// All threads of process `pid` and its descendants; one that begins or ends meanwhile may be missing.
pub fn tree_threads(pid: i32) -> Vec<i32> {
    let threads = |pid: &i32| entries(&format!("/proc/{pid}/task")).collect::<Vec<i32>>();
    descendants(pid).iter().flat_map(threads).collect()
}

/// The sockets that threads of process `pid` sleep in a read of, and one such thread each: by the
/// socket's inode, since it may have several descriptors. None if that cannot be seen
/// (/proc/PID/task/TID/syscall needs the right to trace, and a kernel that has it).
pub fn readers(pid: i32) -> BTreeMap<u64, i32> {
    let threads = entries(&format!("/proc/{pid}/task"));
    let read = |tid: i32| {
        let call = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
        Some((socket_inode_of(pid, being_read(&call)?)?, tid))
    };
    threads.filter_map(read).collect()
}

/// The first argument of a system call that reads, from its number and its arguments in hexadecimal.
fn being_read(call: &str) -> Option<i32> {
    const READS: [libc::c_long; 5] = [
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_recvmmsg,
    ];
    let mut words = call.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let argument = words.next()?.strip_prefix("0x")?;
    let argument = u64::from_str_radix(argument, 16).ok()?;
    READS
        .contains(&number)
        .then(|| i32::try_from(argument).ok())?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::procfs::own_pid;

    #[test]
    fn a_process_that_works_is_told_from_one_that_sleeps() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // Executing its program takes CPU time; then it sleeps.
        while activity(pid).unwrap().is_running {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(activity(pid), None);
        let own = || activity(own_pid()).unwrap();
        let before = own().cpu_ticks;
        // The first thread sleeps in the test's harness; the time is that of all threads.
        while own().cpu_ticks == before {}
    }

    #[test]
    fn the_dead_are_told_from_the_living() {
        assert!(!is_being_killed(own_pid()) && !is_dead(own_pid()) && !has_ended(own_pid()));
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        child.kill().unwrap();
        // A zombie, until it is waited for.
        while !is_dead(pid) {
            std::thread::yield_now();
        }
        assert!(is_being_killed(pid) && has_ended(pid));
        child.wait().unwrap();
        assert!(is_dead(pid) && has_ended(pid));
    }
}

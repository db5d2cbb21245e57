//! All the processes that came of one start, however they were forked, renamed or orphaned.
//!
//! A process belongs to a tree when its environment carries the tree's mark, when its parent
//! belongs, or when its process group was ever seen to. One sign alone is not enough: nginx
//! writes over its environment, a daemon loses its parent, and a worker has a group of its own.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const VARIABLE: &str = "RIG_PROCESS_TREE";

/// How long the killed may take to be gone.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The processes that descend from marked commands.
#[derive(Debug)]
pub struct ProcessTree {
    mark: String,
    /// The process whose every child belongs.
    reaper: Option<i32>,
    groups: Mutex<BTreeSet<i32>>,
}

impl ProcessTree {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}.{number}", std::process::id());
        Self {
            mark,
            reaper: None,
            groups: Mutex::default(),
        }
    }

    /// A tree for a program that starts one thing only: it becomes the parent of every orphan
    /// among its descendants, so that none can hide.
    pub fn of_this_process() -> io::Result<Self> {
        nix::sys::prctl::set_child_subreaper(true)?;
        Ok(Self {
            reaper: Some(nix::unistd::getpid().as_raw()),
            ..Self::new()
        })
    }

    /// Makes what `command` starts a member, with a process group of its own so that the starter
    /// is never mistaken for one, and ends it when the starting thread ends.
    pub fn adopt(&self, command: &mut Command) {
        command.env(VARIABLE, &self.mark).process_group(0);
        die_with_parent(command, Signal::SIGTERM);
    }

    /// The pids of the members that live (zombies do not).
    pub fn members(&self) -> Vec<i32> {
        let mut strangers: Vec<Process> = processes();
        let mut members = BTreeSet::new();
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let own = nix::unistd::getpgrp().as_raw();
        let sign = format!("{VARIABLE}={}", self.mark);
        loop {
            let belongs = |p: &mut Process| {
                let orphan = self.reaper == Some(p.parent);
                let kin = groups.contains(&p.group) || members.contains(&p.parent);
                orphan || kin || p.carries(&sign)
            };
            let found: Vec<Process> = strangers.extract_if(.., belongs).collect();
            if found.is_empty() {
                return members.into_iter().collect();
            }
            // A client that this program runs for a moment is in this program's own group.
            groups.extend(found.iter().map(|p| p.group).filter(|&group| group != own));
            members.extend(found.iter().map(|p| p.pid));
        }
    }

    /// Kills all members.
    ///
    /// They are stopped first, until a look finds no new one: a process that is killed while it
    /// forks would leave a child whose parent is gone.
    pub fn kill(&self) {
        let mut stopped = BTreeSet::new();
        loop {
            let members = self.members();
            let new: Vec<i32> = members
                .into_iter()
                .filter(|&pid| stopped.insert(pid))
                .collect();
            if new.is_empty() {
                break;
            }
            send(Signal::SIGSTOP, new);
        }
        send(Signal::SIGKILL, stopped);
        self.wait_gone();
    }

    /// Killed processes are there until the kernel has taken them apart.
    fn wait_gone(&self) {
        let deadline = Instant::now() + EXIT_TIMEOUT;
        while !self.members().is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A process that is gone by now is what is wanted, so no failure matters.
fn send(signal: Signal, pids: impl IntoIterator<Item = i32>) {
    for pid in pids {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Sends the command's process `signal` when the thread that started it ends.
pub fn die_with_parent(command: &mut Command, signal: Signal) {
    let arm = move || nix::sys::prctl::set_pdeathsig(signal).map_err(io::Error::from);
    // SAFETY: between fork and exec this makes one system call and allocates nothing.
    unsafe { command.pre_exec(arm) };
}

struct Process {
    pid: i32,
    parent: i32,
    group: i32,
}

impl Process {
    /// Reads `/proc/PID/stat`; none for a process that is gone or is a zombie.
    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold both spaces and parentheses.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some(Self { pid, parent, group })
    }

    fn carries(&self, sign: &str) -> bool {
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        environment
            .split(|&byte| byte == 0)
            .any(|variable| variable == sign.as_bytes())
    }
}

fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::read).collect()
}

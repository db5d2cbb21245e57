//! What programs used: processor time, context switches and memory, of a whole process tree or of
//! one's own thread.
//!
//! A window's use is the difference of two readings: read, run, read, subtract. A tree is read from
//! /proc, a process at a time, so it should hold still meanwhile: a worker that is born or dies
//! between two readings is accounted for as [`Usage::of_tree`] says, one that does so within a
//! reading may be missing from it.
// Every bench uses its own part of the lab, in a program of its own.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::{AddAssign, Sub};
use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// One tick of the times in /proc/PID/stat. It is USER_HZ, which the kernel's interface fixes at
/// 100 a second on every architecture that Rust has a Linux target for, whatever the kernel's own
/// tick is.
const TICK: Duration = Duration::from_millis(10);

/// What was used, since the beginning or in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, in user mode and in the kernel.
    cpu: Duration,
    /// Context switches because there was nothing to do.
    pub voluntary_switches: u64,
    /// Context switches because another's turn had come.
    pub involuntary_switches: u64,
    /// Resident memory in bytes, at the later end of a window. What processes share counts once for
    /// each of them.
    pub rss: u64,
    /// Processes that were alive, at the later end of a window.
    pub processes: usize,
}

impl Usage {
    /// What process `pid` and all its descendants have used until now.
    ///
    /// The time of who lives is known to the nanosecond (clock_getcpuclockid(3)). That of children that
    /// died and were waited for is in their parent's /proc/PID/stat, in ticks of 10 ms (`cutime`,
    /// `cstime`; proc_pid_stat(5)); only who ignores SIGCHLD loses it. Context switches are the living
    /// threads' only, since /proc does not tell those of the dead: a window in which workers died
    /// shows too few.
    ///
    /// # Errors
    /// Those of reading /proc; `NotFound` when there is no process `pid`.
    pub fn of_tree(pid: u32) -> io::Result<Self> {
        let processes = read_processes()?;
        let mut found = Self::default();
        let mut due = vec![pid];
        while let Some(pid) = due.pop() {
            let Some(stat) = processes.get(&pid) else {
                continue;
            };
            found += Self {
                cpu: lifetime(pid) + stat.children,
                processes: 1,
                ..usage_in_status(pid)
            };
            due.extend(
                processes
                    .iter()
                    .filter(|(_, child)| child.parent == pid)
                    .map(|(pid, _)| pid),
            );
        }
        match found.processes {
            0 => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("cannot read the usage of process {pid}: there is no such process"),
            )),
            _ => Ok(found),
        }
    }

    /// What the calling thread has used until now (`RUSAGE_THREAD`, getrusage(2)), to the
    /// microsecond. The memory is that of the whole process.
    ///
    /// # Errors
    /// Those of getrusage and of reading /proc/self/status.
    pub fn of_thread() -> io::Result<Self> {
        let used = getrusage(UsageWho::RUSAGE_THREAD)?;
        Ok(Self {
            cpu: duration(used.user_time()) + duration(used.system_time()),
            voluntary_switches: count(used.voluntary_context_switches()),
            involuntary_switches: count(used.involuntary_context_switches()),
            rss: Status::read(Path::new("/proc/self/status"))?.rss,
            processes: 1,
        })
    }

    /// Processor time in all.
    pub fn cpu(&self) -> Duration {
        self.cpu
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.rss += other.rss;
        self.processes += other.processes;
    }
}

/// The use between two readings: `later - earlier`. Memory and processes are the later's, and what
/// would be negative, because processes took their counts with them when they died, is nothing.
impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            voluntary_switches: self
                .voluntary_switches
                .saturating_sub(earlier.voluntary_switches),
            involuntary_switches: self
                .involuntary_switches
                .saturating_sub(earlier.involuntary_switches),
            rss: self.rss,
            processes: self.processes,
        }
    }
}

/// What /proc/PID/stat tells.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// Processor time of the children that died and were waited for, and of theirs.
    children: Duration,
}

impl Stat {
    /// The name, in brackets, may hold spaces and brackets itself: what counts begins after the last.
    fn parse(text: &str) -> Option<Self> {
        let (_, after) = text.rsplit_once(") ")?;
        // The state is field 3 of proc_pid_stat(5), so a field's place here is its number less three.
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks = |number: usize| fields.get(number - 3)?.parse::<u32>().ok();
        Some(Self {
            parent: ticks(4)?,
            children: TICK * ticks(16)? + TICK * ticks(17)?,
        })
    }
}

/// Processor time of a process and all its threads, dead ones too; nothing of one that is gone.
fn lifetime(pid: u32) -> Duration {
    let pid = i32::try_from(pid).ok().map(Pid::from_raw);
    let clock = pid.and_then(|pid| clock_getcpuclockid(pid).ok());
    let time = clock.and_then(|clock| clock.now().ok());
    time.map_or(Duration::ZERO, Duration::from)
}

/// Every process of the machine. One that ends while it is read is not there.
fn read_processes() -> io::Result<BTreeMap<u32, Stat>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(text) = fs::read(entry.path().join("stat")) else {
            continue;
        };
        if let Some(stat) = Stat::parse(&String::from_utf8_lossy(&text)) {
            found.insert(pid, stat);
        }
    }
    Ok(found)
}

/// Memory and context switches of a process; nothing of one that is gone.
fn usage_in_status(pid: u32) -> Usage {
    let process = format!("/proc/{pid}");
    let status = Status::read(&Path::new(&process).join("status")).unwrap_or_default();
    let mut found = Usage {
        rss: status.rss,
        ..Usage::default()
    };
    // The counts in a process's own status are its first thread's alone.
    let Ok(threads) = fs::read_dir(Path::new(&process).join("task")) else {
        return found;
    };
    for thread in threads.flatten() {
        let status = Status::read(&thread.path().join("status")).unwrap_or_default();
        found.voluntary_switches += status.voluntary_switches;
        found.involuntary_switches += status.involuntary_switches;
    }
    found
}

/// What /proc/PID/status tells.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    rss: u64,
    voluntary_switches: u64,
    involuntary_switches: u64,
}

impl Status {
    fn read(path: &Path) -> io::Result<Self> {
        let text = fs::read(path)?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// What is missing is zero: a zombie has no memory.
    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let number = || value.split_whitespace().next()?.parse::<u64>().ok();
            let number = number().unwrap_or(0);
            match key {
                "VmRSS" => found.rss = number * 1024,
                "voluntary_ctxt_switches" => found.voluntary_switches = number,
                "nonvoluntary_ctxt_switches" => found.involuntary_switches = number,
                _ => {}
            }
        }
        found
    }
}

fn duration(time: TimeVal) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec()).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

fn count(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, unused_imports)] // a bench without a harness runs no tests
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pass_for_a_field() {
        let text = "12 (a) R 9 (b)) S 7 1 1 0 -1 0 0 0 0 0 100 20 3 4 20 0 1 0 5";
        let stat = Stat {
            parent: 7,
            children: Duration::from_millis(70),
        };
        assert_eq!(Stat::parse(text), Some(stat));
        assert_eq!(Stat::parse("12 (torn) S 7 1"), None);
    }

    #[test]
    fn what_a_status_lacks_is_nothing() {
        let text = "Name:\tx\nVmRSS:\t     8 kB\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t6\n";
        let status = Status {
            rss: 8192,
            voluntary_switches: 5,
            involuntary_switches: 6,
        };
        assert_eq!(Status::parse(text), status);
        assert_eq!(Status::parse("State:\tZ (zombie)\n"), Status::default());
    }

    #[test]
    fn a_window_is_later_less_earlier() {
        let usage = |ms, switches, rss| Usage {
            cpu: Duration::from_millis(ms),
            voluntary_switches: switches,
            rss,
            ..Usage::default()
        };
        assert_eq!(usage(30, 5, 100) - usage(10, 9, 700), usage(20, 0, 100));
    }
}

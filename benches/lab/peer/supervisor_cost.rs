//! What the processes of a subject cost that do not serve: supervisors, masters, helpers, proxies.
//!
//! A process takes the account of its CPU time with it when it ends, and its parent's sum mixes it
//! with the workers'. So they are looked at again and again, and of each the last that was seen
//! counts: what a helper did between the last look and its end is missing, which is little, as
//! looks are frequent while anything happens.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use super::process_tree::ProcessTree;

/// Where nothing is awaited: often enough for helpers that live for a second, and seldom enough not
/// to be seen in what is measured meanwhile.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Accounts of processes, from the beginning of the measurement on.
#[derive(Debug, Default)]
pub struct SupervisorCost {
    /// What each had used when it was first seen (nothing, if it was born later) and at the last
    /// look.
    accounts: BTreeMap<Pid, (Duration, Duration)>,
    /// The most memory that all of them together were seen to have, in bytes.
    most: u64,
}

impl SupervisorCost {
    /// Opens it: what the process tree's supervisors have used until now does not count.
    pub fn open(process_tree: &ProcessTree) -> Self {
        let mut supervisor_cost = Self::default();
        for pid in process_tree.by_role().supervisors {
            let used = cpu(pid);
            supervisor_cost.accounts.insert(pid, (used, used));
        }
        supervisor_cost.look(process_tree);
        supervisor_cost
    }

    /// Notes what they have used by now.
    pub fn look(&mut self, process_tree: &ProcessTree) {
        self.note(&process_tree.by_role().supervisors);
    }

    /// The same, of processes that are known to be supervisors.
    pub fn note(&mut self, supervisors: &[Pid]) {
        for pid in supervisors {
            let account = self.accounts.entry(*pid).or_default();
            // A process that has just ended has no account any more.
            account.1 = account.1.max(cpu(*pid));
        }
        let resident = supervisors.iter().map(|pid| resident(*pid));
        self.most = self.most.max(resident.sum());
    }

    /// Lets time pass, and looks meanwhile.
    pub fn watch(&mut self, process_tree: &ProcessTree, length: Duration) {
        let end = Instant::now() + length;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            thread::sleep(BETWEEN_LOOKS.min(left));
            self.look(process_tree);
        }
    }

    /// CPU time of all of them since the supervisor's cost was opened.
    pub fn cpu(&self) -> Duration {
        let used = self.accounts.values();
        used.map(|(first, last)| last.saturating_sub(*first)).sum()
    }

    /// The most memory that they were seen to have at a time, in bytes; what they share counts for
    /// each.
    pub fn most_memory(&self) -> u64 {
        self.most
    }
}

/// Memory of a process, in bytes; nothing of one that is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All that is resident.
    pub resident: u64,
    /// The same, with what is shared with others divided by how many they are.
    pub proportional: u64,
}

impl Memory {
    /// As `smaps_rollup` tells it (proc_pid_smaps(5); Linux 4.14).
    pub fn of(pid: Pid) -> Self {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let bytes = |key| value(&text, key).unwrap_or(0) * 1024;
        Self {
            resident: bytes("Rss:"),
            proportional: bytes("Pss:"),
        }
    }
}

/// Resident memory of a process, in bytes, without a walk through its pages.
fn resident(pid: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    value(&text, "VmRSS:").unwrap_or(0) * 1024
}

/// The number after a key that begins a line.
fn value(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// CPU time of a process, of all its threads, to the nanosecond (clock_getcpuclockid(3)): in
/// `/proc/PID/stat` it is in hundredths of a second, in which a supervisor's work of a reload would
/// be lost. Nothing of one that is gone.
pub fn cpu(pid: Pid) -> Duration {
    let time = clock_getcpuclockid(pid).and_then(ClockId::now);
    time.map_or(Duration::ZERO, Duration::from)
}

/// How often its living threads have waited for something and were woken up.
pub fn wake_ups(pid: Pid) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let texts = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    texts
        .filter_map(|text| value(&text, "voluntary_ctxt_switches:"))
        .sum()
}

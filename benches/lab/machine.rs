//! Which machine this is, and whether it was ours alone while something was measured.
//!
//! A number without its machine says nothing, and a number from a machine that was busy with
//! something else says something wrong. So a [`Watch`] stands beside every measurement and reads
//! `/proc/stat` (proc(5)) before and after: what the cores did, less what our own processes did,
//! is what others took. It is the least that they took: where a kernel charges the interrupts of
//! our packets to us, they are missing from the others' account. So whoever judges looks at how
//! much equal rounds differ as well.
//!
//! Order: start the watch, then the load; stop the watch before the subject's processes are
//! ended, or their CPU time can no longer be read and counts as foreign.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What the numbers depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's own name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory, in bytes.
    pub memory: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The system's name, from os-release(5).
    pub system: String,
}

impl Machine {
    /// This one.
    ///
    /// # Errors
    /// If the number of cores or the kernel's release cannot be read; what only names things is
    /// `unknown` then.
    pub fn here() -> io::Result<Self> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let named = |text: String, key, separator| {
            field(&text, key, separator).unwrap_or_else(|| "unknown".to_owned())
        };
        let kibibytes = field(&read("/proc/meminfo"), "MemTotal", ':');
        Ok(Self {
            cpu: named(read("/proc/cpuinfo"), "model name", ':'),
            cores: std::thread::available_parallelism()?.get(),
            memory: kibibytes.as_deref().and_then(first_number).unwrap_or(0) * 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            system: named(read("/etc/os-release"), "PRETTY_NAME", '='),
        })
    }
}

/// The value of the first line `key SEPARATOR value`.
fn field(text: &str, key: &str, separator: char) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(separator));
    let (_, value) = pairs.find(|(name, _)| name.trim() == key)?;
    Some(value.trim().trim_matches('"').to_owned())
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Looks at what all cores do from its start to its stop.
#[derive(Debug)]
pub struct Watch {
    began: Instant,
    cores: usize,
    before: Spent,
}

/// Time that all cores together have spent since boot, as `/proc/stat` counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// In processes: user, nice and system. Interrupts are not in it: those of our own packets
    /// are charged to nobody, and would look like somebody else.
    pub processes: Duration,
    /// Taken by the host for other guests while this one had work to do.
    pub stolen: Duration,
}

impl Spent {
    /// From the text of `/proc/stat`, whose unit is a hundredth of a second.
    pub fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().find(|line| line.starts_with("cpu "))?;
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .map_while(|word| word.parse().ok())
            .collect();
        let [
            user,
            nice,
            system,
            _idle,
            _waiting,
            _irq,
            _softirq,
            stolen,
            ..,
        ] = ticks[..]
        else {
            return None;
        };
        Some(Self {
            processes: ticks_long(user + nice + system),
            stolen: ticks_long(stolen),
        })
    }

    fn now() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        Self::parse(&stat).ok_or_else(|| io::Error::other("/proc/stat does not begin with the time of all CPUs as proc(5) says: the machine cannot be watched"))
    }
}

/// USER_HZ, the unit of `/proc/stat`, is 100 a second on every architecture that we run on.
fn ticks_long(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(10))
}

impl Watch {
    /// Begins to look.
    pub fn start() -> io::Result<Self> {
        Ok(Self {
            began: Instant::now(),
            cores: cores_online()?,
            before: Spent::now()?,
        })
    }

    /// The share of all cores' time, 0 to 1, that went to others; `own` is the CPU time (user and
    /// system) that the subject and the load had meanwhile.
    pub fn foreign(&self, own: Duration) -> io::Result<f64> {
        let after = Spent::now()?;
        let all = self.began.elapsed().as_secs_f64() * self.cores as f64;
        let busy = after.processes.saturating_sub(self.before.processes);
        let stolen = after.stolen.saturating_sub(self.before.stolen);
        let others = busy.saturating_sub(own) + stolen;
        Ok((others.as_secs_f64() / all).min(1.0))
    }
}

/// Cores of the machine, whoever may use them: `/proc/stat` counts all.
fn cores_online() -> io::Result<usize> {
    let stat = fs::read_to_string("/proc/stat")?;
    let is_core = |line: &&str| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    Ok(stat.lines().filter(is_core).count().max(1))
}

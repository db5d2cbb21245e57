//! The limits of a process: what setrlimit(2) calls them, what they count, and setting them.

use std::io;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// No limit.
pub const UNLIMITED: u64 = RLIM_INFINITY;

/// One of the limits that Linux has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// The address space.
    As,
    /// A core file.
    Core,
    /// CPU time.
    Cpu,
    /// The data segment.
    Data,
    /// A file that is written.
    Fsize,
    /// File locks; without effect since Linux 2.4.25.
    Locks,
    /// Locked memory.
    Memlock,
    /// POSIX message queues, over all processes of the user.
    Msgqueue,
    /// How far the nice value can be raised, as 20 less that value.
    Nice,
    /// Descriptors, as the number above the highest.
    Nofile,
    /// Processes of the user.
    Nproc,
    /// The resident set; without effect since Linux 2.4.30.
    Rss,
    /// The priority of real-time scheduling.
    Rtprio,
    /// CPU time of real-time scheduling without a system call that blocks.
    Rttime,
    /// Signals that are queued, over all processes of the user.
    Sigpending,
    /// The stack of the first thread.
    Stack,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Microseconds.
    Microseconds,
    /// Things.
    Count,
}

impl Limit {
    /// Each.
    pub const ALL: [Self; 16] = [
        Self::As,
        Self::Core,
        Self::Cpu,
        Self::Data,
        Self::Fsize,
        Self::Locks,
        Self::Memlock,
        Self::Msgqueue,
        Self::Nice,
        Self::Nofile,
        Self::Nproc,
        Self::Rss,
        Self::Rtprio,
        Self::Rttime,
        Self::Sigpending,
        Self::Stack,
    ];

    /// As setrlimit(2) has it, in lower case and without `RLIMIT_`.
    pub fn name(self) -> &'static str {
        match self {
            Self::As => "as",
            Self::Core => "core",
            Self::Cpu => "cpu",
            Self::Data => "data",
            Self::Fsize => "fsize",
            Self::Locks => "locks",
            Self::Memlock => "memlock",
            Self::Msgqueue => "msgqueue",
            Self::Nice => "nice",
            Self::Nofile => "nofile",
            Self::Nproc => "nproc",
            Self::Rss => "rss",
            Self::Rtprio => "rtprio",
            Self::Rttime => "rttime",
            Self::Sigpending => "sigpending",
            Self::Stack => "stack",
        }
    }

    /// What it counts.
    pub fn unit(self) -> Unit {
        match self {
            Self::As
            | Self::Core
            | Self::Data
            | Self::Fsize
            | Self::Memlock
            | Self::Msgqueue
            | Self::Rss
            | Self::Stack => Unit::Bytes,
            Self::Cpu => Unit::Seconds,
            Self::Rttime => Unit::Microseconds,
            Self::Locks
            | Self::Nice
            | Self::Nofile
            | Self::Nproc
            | Self::Rtprio
            | Self::Sigpending => Unit::Count,
        }
    }

    fn resource(self) -> Resource {
        match self {
            Self::As => Resource::RLIMIT_AS,
            Self::Core => Resource::RLIMIT_CORE,
            Self::Cpu => Resource::RLIMIT_CPU,
            Self::Data => Resource::RLIMIT_DATA,
            Self::Fsize => Resource::RLIMIT_FSIZE,
            Self::Locks => Resource::RLIMIT_LOCKS,
            Self::Memlock => Resource::RLIMIT_MEMLOCK,
            Self::Msgqueue => Resource::RLIMIT_MSGQUEUE,
            Self::Nice => Resource::RLIMIT_NICE,
            Self::Nofile => Resource::RLIMIT_NOFILE,
            Self::Nproc => Resource::RLIMIT_NPROC,
            Self::Rss => Resource::RLIMIT_RSS,
            Self::Rtprio => Resource::RLIMIT_RTPRIO,
            Self::Rttime => Resource::RLIMIT_RTTIME,
            Self::Sigpending => Resource::RLIMIT_SIGPENDING,
            Self::Stack => Resource::RLIMIT_STACK,
        }
    }

    /// The soft and the hard limit of this process.
    ///
    /// # Errors
    /// Those of getrlimit(2).
    pub fn get(self) -> io::Result<(u64, u64)> {
        Ok(getrlimit(self.resource())?)
    }

    /// Sets both for this process.
    ///
    /// # Errors
    /// Those of setrlimit(2).
    pub fn set(self, soft: u64, hard: u64) -> io::Result<()> {
        Ok(setrlimit(self.resource(), soft, hard)?)
    }

    /// Whether a process of ours could be given this hard limit. It is tried on this one, which has its own again
    /// afterwards: who may raise which limit how far is the kernel's knowledge (`CAP_SYS_RESOURCE` in the first user
    /// namespace; `fs.nr_open` for descriptors).
    ///
    /// # Errors
    /// Those of setrlimit(2); `EPERM`: no.
    pub fn try_hard(self, wanted: u64) -> io::Result<()> {
        let (soft, hard) = self.get()?;
        if wanted <= hard {
            return Ok(());
        }
        self.set(soft, wanted)?;
        self.set(soft, hard)
    }
}

/// A limit's value for people.
pub fn shown(value: u64) -> String {
    match value {
        UNLIMITED => "unlimited".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_is_known_to_the_kernel_by_its_name() {
        let text = std::fs::read_to_string("/proc/self/limits").unwrap();
        let lines = [
            (Limit::As, "Max address space"),
            (Limit::Core, "Max core file size"),
            (Limit::Cpu, "Max cpu time"),
            (Limit::Data, "Max data size"),
            (Limit::Fsize, "Max file size"),
            (Limit::Locks, "Max file locks"),
            (Limit::Memlock, "Max locked memory"),
            (Limit::Msgqueue, "Max msgqueue size"),
            (Limit::Nice, "Max nice priority"),
            (Limit::Nofile, "Max open files"),
            (Limit::Nproc, "Max processes"),
            (Limit::Rss, "Max resident set"),
            (Limit::Rtprio, "Max realtime priority"),
            (Limit::Rttime, "Max realtime timeout"),
            (Limit::Sigpending, "Max pending signals"),
            (Limit::Stack, "Max stack size"),
        ];
        assert_eq!(lines.map(|(limit, _)| limit), Limit::ALL);
        for (limit, name) in lines {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let mut words = line.unwrap().split_whitespace();
            let (soft, hard) = limit.get().unwrap();
            for value in [soft, hard] {
                assert_eq!(words.next(), Some(shown(value).as_str()), "{name}");
            }
        }
    }

    #[test]
    fn trying_a_limit_leaves_it_as_it_was() {
        // Nobody may open so many (fs.nr_open), and so nobody may be given that limit.
        let before = Limit::Nofile.get().unwrap();
        Limit::Nofile.try_hard(before.1).unwrap();
        if before.1 < UNLIMITED {
            let refused = Limit::Nofile.try_hard(UNLIMITED).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
        }
        assert_eq!(Limit::Nofile.get().unwrap(), before);
    }
}

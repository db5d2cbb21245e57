//! What we need of a host, and what follows where it is missing.

use crate::config::Config;

/// Something that a host may not let us do, and that can be done without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Reading the memory of workers: what they bind.
    Memory,
    /// Duplicating the sockets of workers.
    Fetching,
    /// Listing the connections of a port.
    Diagnostics,
    /// Waiting until no packet uses the former steering.
    Fence,
    /// Hiding a listener from new connections before it is closed.
    Hiding,
}

impl Feature {
    /// Each.
    pub const ALL: [Self; 5] = [
        Self::Memory,
        Self::Fetching,
        Self::Diagnostics,
        Self::Fence,
        Self::Hiding,
    ];

    /// What it is for.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Memory => "see what workers bind",
            Self::Fetching => "take over workers' sockets",
            Self::Diagnostics => "list a port's connections",
            Self::Fence => "wait for packets under way",
            Self::Hiding => "hide a listener that leaves",
        }
    }

    /// How the kernel is asked for it, and since when it can be.
    pub fn mechanism(self) -> &'static str {
        match self {
            Self::Memory => "process_vm_readv or /proc/PID/mem",
            Self::Fetching => "pidfd_getfd (Linux 5.6)",
            Self::Diagnostics => "sock_diag (modules inet_diag and tcp_diag)",
            Self::Fence => "membarrier",
            Self::Hiding => "SO_BINDTOIFINDEX (without privilege since Linux 5.7)",
        }
    }

    /// What is done without it.
    pub fn without(self) -> &'static str {
        match self {
            Self::Memory => {
                "what workers bind cannot be seen, so only --listen serves more than one"
            }
            Self::Fetching => {
                "connections cannot be kept when their worker stops, and a reload can lose requests on keep-alive \
                 connections"
            }
            Self::Diagnostics => {
                "/proc/net/tcp is read instead, which takes longer where there are many connections"
            }
            Self::Fence => "100 ms are waited instead",
            Self::Hiding => {
                "closing a listener under load can lose a connection in some hundreds of closes"
            }
        }
    }

    /// What an operator can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Memory | Self::Fetching => {
                "allow it (CAP_SYS_PTRACE, in Docker --cap-add SYS_PTRACE; kernel.yama.ptrace_scope at most 1)"
            }
            Self::Diagnostics => "load the module tcp_diag (modprobe tcp_diag)",
            Self::Fence => "allow membarrier(2), or boot without nohz_full",
            Self::Hiding => "run as root, give CAP_NET_RAW, or update the kernel",
        }
    }

    /// Whether its absence costs anything that was asked for.
    pub(super) fn matters_to(self, config: &Config) -> bool {
        match self {
            // Workers that are passed their sockets are seen nevertheless; else the start is refused.
            Self::Memory => false,
            Self::Fetching => config.rescue,
            Self::Diagnostics => true,
            Self::Fence | Self::Hiding => config.steering.is_steered(),
        }
    }
}

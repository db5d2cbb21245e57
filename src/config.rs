//! What was asked for, validated once: the supervisor's whole configuration.

mod health;
mod overrides;
mod process;
mod release;
mod variable;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::fleet::{Endpoint, Limits, Strategy};
pub use health::{CheckedBy, HealthCheck};
pub use overrides::{Overrides, ReadConfig, Readable};
pub use process::{Identity, LimitValue, Login, ProcessAttributes};
pub use release::{Release, directory_by_name};
pub use variable::is_set_by_us;

/// Everything that one supervisor needs to know. Made by [`crate::cli::run`] from the command
/// line, the environment and a file, in this order of precedence.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The command and its arguments; never empty.
    pub command: Vec<OsString>,
    /// Copies of it, 1 to [`MAX_WORKERS`].
    pub workers: u32,
    /// How many listeners the workers of a generation share on each endpoint, 1 to
    /// [`MAX_WORKERS`]; none: each has its own.
    pub queues: Option<u32>,
    /// Endpoints whose listeners are made by the supervisor and passed on (`--listen`).
    pub listen: Vec<Endpoint>,
    /// What this supervisor is called in logs and for `reuseport-ctl --name`.
    pub name: String,
    /// The control socket; none means the default path for `name`.
    pub control: Option<PathBuf>,
    /// How workers and the supervisor talk.
    pub channel: Channel,
    /// When a worker counts as ready.
    pub ready: Readiness,
    /// The `Host` of the request of [`Readiness::Http`]; none: what the worker listens on.
    pub ready_host: Option<String>,
    /// How serving workers are checked; none: not at all.
    pub health: Option<HealthCheck>,
    /// How new connections are kept from workers that shall get none.
    pub steering: Steering,
    /// A worker that is not ready after this has failed.
    pub start_timeout: Duration,
    /// How long new workers must have been ready when they take over.
    pub min_uptime: Duration,
    /// How a reload, or a restart, replaces its workers.
    pub strategy: Strategy,
    /// How long the workers that a reload has replaced stand by, in case that the new ones fail; only with steering.
    pub soak: Duration,
    /// So many crashes of new workers in that time are let pass.
    pub soak_restarts: u32,
    /// What a worker may reach before it is recycled.
    pub limits: Limits,
    /// How long a retired listener may take to hand over the handshakes that it has.
    pub settle_timeout: Duration,
    /// How long a retired worker may take to have no open connection before it is told to stop.
    pub quiet_timeout: Duration,
    /// Whether connections that outlive their worker are held, so that requests on them are
    /// answered by the new workers.
    pub rescue: bool,
    /// How long such a connection is held while nothing happens on it.
    pub rescue_timeout: Duration,
    /// The most of them that are held for one retirement.
    pub rescue_max: u32,
    /// Whether a request that is passed on says who the client was.
    pub rescue_forwarded: Forwarding,
    /// Whose requests are rescued.
    pub rescue_clients: RescueClients,
    /// What the endpoints speak.
    pub protocol: ServedProtocol,
    /// How long a worker that was told to stop may take to exit before it is killed.
    pub drain_timeout: Duration,
    /// What a worker is told over its channel when it is to stop, before the stop signal; none: what its channel has for
    /// that, if anything.
    pub stop_message: Option<String>,
    /// How long after that the stop signal comes.
    pub stop_message_timeout: Duration,
    /// What is killed of a worker.
    pub kill_mode: KillMode,
    /// How long to go on serving after being told to stop.
    pub pre_stop: Duration,
    /// What tells a worker to stop: a signal's number.
    pub stop_signal: i32,
    /// So many restarts of one slot within `restart_window`; a crash more is a crash loop.
    pub max_restarts: u32,
    /// See `max_restarts`.
    pub restart_window: Duration,

    /// What a crash loop leads to.
    pub crash_loop: CrashLoop,
    /// Prefix every line of the workers' output with `[generation.slot]`.
    pub log_prefix: bool,
    /// Where the log and all output go, and where they go anew at USR1; none: our own streams.
    pub log_file: Option<PathBuf>,
    /// The directory in which workers are started.
    pub chdir: Option<PathBuf>,
    /// Where that and the command are.
    pub release: Release,
    /// Variables that workers have beside ours, or instead of those.
    pub environment: BTreeMap<OsString, OsString>,
    /// What workers' processes are given.
    pub attributes: ProcessAttributes,
}

impl Config {
    /// The mode of a directory that is made for our sockets: others may enter it where they are workers, and look for
    /// `NOTIFY_SOCKET` there.
    pub fn directory_mode(&self) -> u32 {
        match self.attributes.identity {
            Some(_) => 0o711,
            None => 0o700,
        }
    }
}

/// The most workers that can be asked for. Each needs a process and a few descriptors.
pub const MAX_WORKERS: u32 = 4096;

/// When a worker counts as ready (`--ready`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It listens on every endpoint that the generation before serves.
    Listen,
    /// That, and it sent `READY=1` to `NOTIFY_SOCKET` (sd_notify(3)).
    Notify,
    /// That, and it sent `ready` over its channel.
    Channel,
    /// It listens, and answers `GET` of this path with a status from 200 to 399.
    Http(String),
}

/// How workers and the supervisor talk (`--channel`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Not at all, but for `NOTIFY_SOCKET`.
    None,
    /// As a program talks to the one that `child_process.fork` of Node made it from.
    Node,
    /// As a worker of Node's cluster talks to its primary.
    Cluster,
}

/// How new connections are kept from workers that shall get none (`--steering`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// [`Self::Ebpf`] where it is permitted; else [`Self::Cbpf`] where the kernel can replace programs under
    /// load without harm ([`replaces_programs_safely`](crate::sys::kernel::replaces_programs_safely)); else
    /// [`Self::None`], with a warning.
    Auto,
    /// One eBPF program on each endpoint's group, which reads maps; needs `CAP_BPF`.
    Ebpf,
    /// A classic BPF program on each endpoint's group; needs no privilege. Replacing it can crash
    /// kernels that have CVE-2026-52910.
    Cbpf,
    /// Every generation gets the same sockets.
    None,
}

impl Steering {
    /// As the option has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ebpf => "ebpf",
            Self::Cbpf => "cbpf",
            Self::None => "none",
        }
    }

    /// Whether new connections can be kept from a listener.
    pub fn is_steered(self) -> bool {
        match self {
            Self::Auto | Self::Ebpf | Self::Cbpf => true,
            Self::None => false,
        }
    }
}

/// Whose requests are rescued (`--rescue-clients`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RescueClients {
    /// Of all, each of which keeps its address, where clients can be named to the server; else [`Self::Local`].
    Auto,
    /// Of clients that have an address of this host, as a reverse proxy has: their requests keep it.
    Local,
    /// Of all. Requests of clients on other hosts reach the server from the address of this host that the
    /// client connected to.
    All,
}

/// What the endpoints speak (`--protocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedProtocol {
    /// What is seen of each.
    Auto,
    /// HTTP/1 without TLS.
    Http1,
    /// Something else.
    Opaque,
}

/// The header line that says who the client of a rescued request was (`--rescue-forwarded`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// None.
    No,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`.
    XForwardedFor,
}

/// What a crash loop leads to (`--crash-loop`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashLoop {
    /// The slot is given up until the next reload or restart; its siblings serve on. When every
    /// slot is given up, the supervisor exits.
    Hold,
    /// The supervisor stops everything and exits.
    Exit,
}

/// What is killed of a worker that has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillMode {
    /// Its process group.
    Group,
    /// Processes that have left its group, too.
    Tree,
}

//! Why there is no supervisor.

use std::io;
use std::path::PathBuf;

use crate::sys::bpf::LoadError;
use crate::sys::socket;

/// Why there is no supervisor.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The control socket cannot be had.
    #[error(transparent)]
    Control(#[from] socket::BindError),
    /// The log file cannot be opened.
    #[error("cannot open the log file {}: {source}; give a --log-file that can be written", .path.display())]
    LogFile {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The host lacks something that we cannot do without.
    #[error("{0}")]
    Host(String),
    /// `--steering ebpf` cannot be.
    #[error(
        "--steering ebpf: {0}; run as root, or give the supervisor CAP_BPF (AmbientCapabilities=CAP_BPF in its \
         systemd unit), or leave it to --steering auto"
    )]
    Ebpf(#[from] LoadError),
    /// `--max-connections-served` cannot be: nothing else counts connections.
    #[error(
        "--max-connections-served: connections are counted by the eBPF program that steers them, and there is none: {why}; \
         run as root, or give the supervisor CAP_BPF (AmbientCapabilities=CAP_BPF in its systemd unit), or use --max-age, or \
         the server's own option (gunicorn's --max-requests, uvicorn's --limit-max-requests)"
    )]
    NotCounted {
        /// Why there is no eBPF program.
        why: String,
    },
    /// The system refused something that we cannot do without.
    #[error("cannot {operation}: {source}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        source: io::Error,
    },
}

pub(super) fn system(operation: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::System { operation, source }
}

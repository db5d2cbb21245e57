//! The options of the worker: where its connections come from, what an answer costs.

use std::net::{IpAddr, Ipv4Addr};

use clap::{Args, Parser, ValueEnum};

use super::service::Service;

/// A small HTTP/1.1 server whose work can be set.
#[derive(Clone, Debug, Parser)]
#[command(name = "worker")]
pub struct Options {
    /// Where connections come from.
    #[command(flatten)]
    pub source: Source,
    /// The address of `--port`.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub bind: IpAddr,
    /// Wait for the listener with EPOLLEXCLUSIVE: a connection wakes one worker, not all.
    #[arg(long)]
    pub exclusive: bool,
    /// With --receive-fd: what the master is told.
    #[arg(long, value_enum, default_value = "taken")]
    pub tell: Tell,
    /// Bytes of an answer's body.
    #[arg(long, default_value_t = 64)]
    pub size: usize,
    /// What a request takes: fixed:MS, exponential:MEAN or bimodal:MS,MS,SHARE-OF-THE-SECOND.
    #[arg(long, default_value = "fixed:0")]
    pub service: Service,
    /// How it is spent.
    #[arg(long, value_enum, default_value = "cpu")]
    pub work: Work,
    /// Of the times' random numbers. The slot (`REUSEPORT_WORKER`) is mixed in.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Serve one request, then close, then take the next connection, as blocking servers do.
    #[arg(long)]
    pub one_at_a_time: bool,
    /// Stop when this process, the parent, ends.
    #[arg(long, value_name = "PID")]
    pub parent: Option<i32>,
}

/// Exactly one of these.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Source {
    /// Listen on this port.
    #[arg(long)]
    pub port: Option<u16>,
    /// Accept from this inherited listener.
    #[arg(long, value_name = "N")]
    pub listen_fd: Option<i32>,
    /// Receive connections over this Unix socket.
    #[arg(long, value_name = "N")]
    pub receive_fd: Option<i32>,
}

/// What a worker tells the master that hands it connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tell {
    /// That it has taken one.
    Taken,
    /// That no request is open any more.
    Free,
}

/// How the time of a request is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Computing. The time is CPU time, so that workers that share a CPU take longer, as they would.
    Cpu,
    /// Waiting, as for a database. Other requests go on meanwhile, except with --one-at-a-time.
    Wait,
}

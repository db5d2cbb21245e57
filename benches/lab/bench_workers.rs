//! The supervisor's part for the opponents: n workers are started, and ended together.
//!
//! A worker finds what it inherits as its standard input, the one descriptor that needs no
//! agreement and no code between fork and exec. It is given the pid of its parent, and stops
//! when the parent dies.

use std::env;
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use clap::Args;
use mio::net::TcpListener;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::worker;

/// How many workers the opponents start, where, and with which options.
#[derive(Clone, Debug, Args)]
pub struct LaunchOptions {
    #[arg(long)]
    port: u16,
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// How many to start.
    #[arg(long)]
    pub workers: usize,
    /// The workers' options, less where their connections come from.
    #[arg(last = true)]
    pub options: Vec<OsString>,
}

impl LaunchOptions {
    /// The listener that all connections come to.
    ///
    /// # Errors
    /// A sentence that names the address.
    pub fn listen(&self) -> io::Result<TcpListener> {
        worker::listen(SocketAddr::from((self.bind, self.port)))
    }
}

/// Workers that were started here.
#[derive(Debug, Default)]
pub struct BenchWorkers(Vec<Child>);

impl BenchWorkers {
    /// Starts one more worker, this same program, with `input` as its standard input.
    ///
    /// # Errors
    /// Those of fork(2) and execve(2).
    pub fn start(&mut self, input: OwnedFd, arguments: &[OsString]) -> io::Result<()> {
        let slot = self.0.len().to_string();
        let child = Command::new(env::current_exe()?)
            .arg("worker")
            .args(arguments)
            .args(["--parent", &std::process::id().to_string()])
            .env("REUSEPORT_WORKER", slot)
            .stdin(Stdio::from(input))
            .spawn()?;
        self.0.push(child);
        Ok(())
    }

    /// Tells all to stop, and waits for all. One that the signal ends had not begun to serve: to
    /// listen for it is the first thing that a worker does.
    ///
    /// # Errors
    /// One of them ended in another way, or not with 0.
    pub fn stop(&mut self) -> io::Result<()> {
        self.signal();
        let ended: io::Result<Vec<ExitStatus>> = self.0.iter_mut().map(Child::wait).collect();
        self.0.clear();
        let is_well = |status: &ExitStatus| {
            status.success() || status.signal() == Some(Signal::SIGTERM as i32)
        };
        match ended?.iter().find(|status| !is_well(status)) {
            Some(status) => Err(io::Error::other(format!("a worker ended with {status}"))),
            None => Ok(()),
        }
    }

    fn signal(&self) {
        for child in &self.0 {
            // It is our child and not yet waited for, so the number is its.
            if let Ok(pid) = i32::try_from(child.id()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
    }
}

impl Drop for BenchWorkers {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

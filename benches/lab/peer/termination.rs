//! The end of processes that were started: politely first, because supervisors must end their
//! workers, and then by killing the process groups and whoever was seen to descend from them.

use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::poll;
use super::process::{Census, pid_of};

/// Ends them; returns how long it took until they and their descendants were gone, if nobody had to
/// be killed for it within `patience`.
pub fn end(roots: &mut [Child], patience: Duration) -> Option<Duration> {
    let pids: Vec<Pid> = roots.iter().map(pid_of).collect();
    let family = family(&pids);
    let begin = Instant::now();
    for pid in &pids {
        let _ = kill(*pid, Signal::SIGTERM);
    }
    let is_polite = poll::holds(patience, || {
        let mut roots = roots.iter_mut();
        roots.all(|root| !matches!(root.try_wait(), Ok(None))) && none_is_left(&family)
    });
    let took = begin.elapsed();
    for pid in &pids {
        let _ = killpg(*pid, Signal::SIGKILL);
    }
    for root in roots {
        let _ = root.wait();
    }
    let left = Census::take();
    for pid in family.into_iter().filter(|pid| left.has(*pid)) {
        let _ = kill(pid, Signal::SIGKILL);
    }
    is_polite.then_some(took)
}

fn family(roots: &[Pid]) -> Vec<Pid> {
    let census = Census::take();
    let descendants = roots.iter().flat_map(|pid| census.descendants(*pid));
    descendants.collect()
}

fn none_is_left(pids: &[Pid]) -> bool {
    let census = Census::take();
    !pids.iter().any(|pid| census.has(*pid))
}

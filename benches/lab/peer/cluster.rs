//! Node's cluster module: the primary accepts and hands out (round robin, the default), all workers
//! accept from one queue (SCHED_NONE), or each has a queue of its own (reusePort).

use std::io;
use std::process::Command;

use nix::sys::signal::Signal;

use super::herd::Herd;
use super::tool::{Missing, NODE, node_version};
use super::{Peer, Place, Versions, Work, application};

/// How connections come to the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The primary accepts.
    RoundRobin,
    /// The kernel wakes whom it wants to.
    Shared,
    /// Each worker listens for itself.
    ReusePort,
}

/// All policies.
pub const POLICIES: [Policy; 3] = [Policy::RoundRobin, Policy::Shared, Policy::ReusePort];

/// A cluster with one of the policies.
#[derive(Clone, Copy, Debug)]
pub struct Cluster {
    /// Which.
    pub policy: Policy,
}

impl Peer for Cluster {
    fn name(&self) -> &'static str {
        match self.policy {
            Policy::RoundRobin => "cluster, round robin",
            Policy::Shared => "cluster, SCHED_NONE",
            Policy::ReusePort => "cluster, reusePort",
        }
    }

    fn work(&self) -> Work {
        Work::Node
    }

    fn versions(&self) -> Result<Versions, Missing> {
        let (major, minor) = node_version()?;
        let has_it = major > 23 || (major == 23 && minor >= 1) || (major == 22 && minor >= 12);
        if self.policy == Policy::ReusePort && !has_it {
            return Err(NODE.missing(&format!(
                "Node 22.12 or 23.1 for reusePort, this is {major}.{minor}"
            )));
        }
        Ok(vec![NODE.found()?])
    }

    fn configuration(&self) -> &'static str {
        "reload as everyone writes it, in cluster.js: a new worker first, then SIGTERM to the old one, which closes its server"
    }

    fn reload_words(&self) -> &'static str {
        "none of its own: fork, wait for `listening`, stop the old one"
    }

    fn start(&self, place: &Place) -> io::Result<Herd> {
        let mut command = Command::new(NODE.word());
        command
            .arg(application("cluster.js"))
            .arg(place.workers.to_string());
        command.args([place.port(), place.host()]);
        let policy = if self.policy == Policy::RoundRobin {
            "rr"
        } else {
            "none"
        };
        command.env("NODE_CLUSTER_SCHED_POLICY", policy);
        if self.policy == Policy::ReusePort {
            command.env("REUSE_PORT", "1");
        }
        let mut herd = Herd::new(place);
        herd.spawn(&mut command)?;
        Ok(herd)
    }

    fn reload(&self, herd: &mut Herd, _: &Place) -> io::Result<()> {
        herd.signal(Signal::SIGHUP)
    }
}

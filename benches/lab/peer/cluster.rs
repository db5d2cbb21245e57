//! Node's cluster module: the primary accepts and hands out (round robin, the default), all workers
//! accept from one queue (SCHED_NONE), or each has a queue of its own (reusePort).

use std::io;
use std::process::Command;

use nix::sys::signal::Signal;

use super::process_tree::ProcessTree;
use super::tool::{Missing, NODE, node_version};
use super::{Peer, Place, Profile, Versions, Work, application};

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

/// The first Node of each line that knows `reusePort`: 22.12, and 23.1 of the next.
const REUSE_PORT_SINCE: [(u32, u32); 2] = [(22, 12), (23, 1)];

/// A cluster with one of the policies.
#[derive(Clone, Copy, Debug)]
pub struct Cluster {
    /// Which.
    pub policy: Policy,
}

impl Peer for Cluster {
    fn profile(&self) -> Profile {
        Profile {
            name: match self.policy {
                Policy::RoundRobin => "cluster, round robin",
                Policy::Shared => "cluster, SCHED_NONE",
                Policy::ReusePort => "cluster, reusePort",
            },
            work: Work::Node,
            needs: &[NODE],
            configuration: "reload as everyone writes it, in cluster.js: a new worker first, then SIGTERM to the old one, which closes its server",
            reload: "none of its own: fork, wait until it listens, stop the old one",
        }
    }

    fn versions(&self) -> Result<Versions, Missing> {
        let (major, minor) = node_version()?;
        let [old, new] = REUSE_PORT_SINCE;
        let knows_reuse_port = (major == old.0 && minor >= old.1) || (major, minor) >= new;
        if self.policy == Policy::ReusePort && !knows_reuse_port {
            return Err(NODE.missing(&format!(
                "Node 22.12 or 23.1 for reusePort, this is {major}.{minor}"
            )));
        }
        Ok(vec![NODE.found()?])
    }

    fn start(&self, place: &Place) -> io::Result<ProcessTree> {
        let mut command = Command::new(NODE.word());
        command.arg(application("cluster.js")).args([
            place.workers.to_string(),
            place.port(),
            place.host(),
        ]);
        let policy = match self.policy {
            Policy::RoundRobin => "rr",
            Policy::Shared | Policy::ReusePort => "none",
        };
        command.env("NODE_CLUSTER_SCHED_POLICY", policy);
        if self.policy == Policy::ReusePort {
            command.env("REUSE_PORT", "1");
        }
        ProcessTree::of(place, &mut command)
    }

    fn reload(&self, process_tree: &mut ProcessTree, _: &Place) -> io::Result<Option<Command>> {
        process_tree.signal(Signal::SIGHUP)?;
        Ok(None)
    }
}

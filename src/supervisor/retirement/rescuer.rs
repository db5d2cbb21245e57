//! One rescuer process, as the supervisor has it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use log::warn;
use mio::{Interest, Token};

use super::fetch::fetch;
use super::outbox::{self, Outbox};
use super::protocols::given;
use super::successors::Successors;
use super::watch::{Finding, Watch};
use crate::config::{Config, Forwarding, RescueClients};
use crate::fleet::{RetirementId, WorkerId};
use crate::supervisor::sources::{Source, Sources};
use crate::sys::{channel, process, procfs, tcp};
use crate::wire::peer_names::owner;
use crate::wire::rescue::{
    Clients, Configuration, Descriptor, EndpointProtocol, Forwarded, MAX_CONNECTIONS,
    MAX_MESSAGE_LEN, Order, Report, decode, encode,
};

/// How often a worker that goes on accepting is looked at again before it counts as idle: clients that ask
/// on one connection are with the rescuer soon, but others come as long as it accepts.
const MAX_LATE_LOOKS: u32 = 3;

#[derive(Debug)]
pub(super) struct Rescuer {
    pub(super) pid: i32,
    channel: OwnedFd,
    token: Token,
    outbox: Outbox,
    watch: Watch,
    /// The workers that it was told of and that have not ended.
    pub(super) workers: BTreeSet<WorkerId>,
    /// Sockets that it has, by inode.
    taken: BTreeSet<u64>,
    /// How often connections of a worker came late.
    late_looks: BTreeMap<WorkerId, u32>,
    /// The workers of which something may be left.
    pub(super) unreported: BTreeSet<WorkerId>,
    /// Those that have ended, and of which it has not said yet what became of their connections.
    pub(super) unaccounted: BTreeSet<WorkerId>,
}

impl Rescuer {
    pub(super) fn start(
        config: &Config,
        sources: &mut Sources,
        id: RetirementId,
        successors: Successors,
        known: Vec<EndpointProtocol>,
    ) -> io::Result<Self> {
        let (ours, theirs) = channel::pair()?;
        let configuration = encode(&configuration(config, id, &successors, known));
        let pid = process::spawn(process::Spawn {
            name: crate::rescue::NAME,
            arguments: vec![String::from_utf8(configuration).unwrap_or_default().into()],
            environment: Vec::new(),
            input: theirs,
            output: None,
            errors: None,
        })?;
        if let Successors::WorkersThatAreTold(names) = successors {
            channel::send(&ours, &[0], &[names.as_raw_fd()])?;
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = sources.add(&ours, Source::Rescuer(id), interest)?;
        Ok(Self {
            pid,
            channel: ours,
            token,
            outbox: Outbox::default(),
            watch: Watch::default(),
            workers: BTreeSet::new(),
            taken: BTreeSet::new(),
            late_looks: BTreeMap::new(),
            unreported: BTreeSet::new(),
            unaccounted: BTreeSet::new(),
        })
    }

    /// Stops waiting for what it says.
    pub(super) fn close(&self, sources: &mut Sources) {
        sources.remove(&self.channel, self.token);
    }

    /// Has it know of a worker.
    pub(super) fn include(&mut self, worker: WorkerId) {
        self.workers.insert(worker);
        self.unreported.insert(worker);
    }

    /// Whether it has said what became of all that it was told of, and there is nothing to tell it.
    pub(super) fn is_done(&self) -> bool {
        let owes_nothing = self.unreported.is_empty() && self.unaccounted.is_empty();
        self.workers.is_empty() && owes_nothing && self.outbox.is_empty()
    }

    pub(super) fn order(&mut self, order: Order, descriptors: Vec<OwnedFd>) {
        if order.is_waited_for() {
            self.watch.begin(Instant::now());
        }
        self.outbox.order(order, descriptors);
    }

    /// Gives it the connections of a worker that it does not have yet; how many there are.
    pub(super) fn take(&mut self, worker: WorkerId, pid: i32, found: Vec<Descriptor>) -> usize {
        let is_new = |found: &Descriptor| self.taken.insert(found.inode);
        let fresh: Vec<Descriptor> = found.into_iter().filter(is_new).collect();
        self.outbox.connections(worker, pid, &fresh);
        self.outbox
            .order(Order::AllSent { worker: worker.0 }, Vec::new());
        fresh.len()
    }

    /// Takes connections that are new to it, at most so often for a worker; whether there were any.
    pub(super) fn take_late(
        &mut self,
        worker: WorkerId,
        pid: i32,
        mut found: Vec<Descriptor>,
    ) -> bool {
        found.retain(|found| !self.taken.contains(&found.inode));
        let looks = self.late_looks.entry(worker).or_insert(0);
        if found.is_empty() || *looks == MAX_LATE_LOOKS {
            return false;
        }
        *looks += 1;
        self.take(worker, pid, found) > 0
    }

    /// Sends it what it takes now.
    ///
    /// # Errors
    /// See [`Outbox::flush`].
    pub(super) fn flush(&mut self) -> Result<(), outbox::Error> {
        self.outbox.flush(&self.channel)
    }

    /// When to call [`Self::flush`] and [`Self::hangs`] at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.outbox
            .deadline()
            .into_iter()
            .chain(self.watch.next_look())
            .min()
    }

    /// Whether it has shown, by now, that it will not answer; `owes` says whether it owes a worker's stop
    /// anything.
    pub(super) fn hangs(&mut self, now: Instant, owes: impl Fn(WorkerId) -> bool) -> bool {
        if self.watch.next_look().is_none_or(|at| now < at) {
            return false;
        }
        let owes_a_stop = self.workers.iter().any(|worker| owes(*worker));
        if !owes_a_stop && self.unaccounted.is_empty() {
            self.watch = Watch::Off;
        }
        // One that is gone is heard of by its channel.
        let activity = procfs::activity(self.pid);
        let hangs =
            activity.is_some_and(|activity| self.watch.look(now, activity) == Finding::Hangs);
        if hangs {
            // A client is answered without the account.
            self.unaccounted.clear();
        }
        hangs && owes_a_stop
    }

    /// What it has said; none for now.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn receive(&mut self) -> io::Result<Option<Report>> {
        let mut bytes = vec![0; MAX_MESSAGE_LEN];
        loop {
            let count = match channel::receive(&self.channel, &mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                received => received?.0,
            };
            match decode(&bytes[..count]) {
                Some(report) => {
                    self.watch.heard(Instant::now());
                    return Ok(Some(report));
                }
                None => warn!("a rescuer said something that is not understood"),
            }
        }
    }

    pub(super) fn kill(&self) {
        let pid = self.pid;
        if let Err(error) = process::kill_group(pid) {
            warn!("rescuer (pid {pid}): cannot kill it: {error}");
        }
    }

    /// Gives a worker back what was frozen of it, when the rescuer has died and cannot do so itself.
    pub(super) fn give_back(&self, worker: WorkerId, pid: i32) {
        let thawed = self
            .thaw_for(pid)
            .and_then(|()| process::interrupt_group(pid));
        if let Err(error) = thawed {
            warn!("worker {worker}: cannot give its connections back to it: {error}");
        }
    }

    /// Thaws what it had of a worker, when it has died and cannot do so itself.
    ///
    /// # Errors
    /// Those of fetching sockets, and of setsockopt(2).
    fn thaw_for(&self, pid: i32) -> io::Result<()> {
        let mut had = sockets_of(pid);
        had.retain(|found| self.taken.contains(&found.inode));
        for some in had.chunks(MAX_CONNECTIONS) {
            fetch(some)?.sockets.iter().try_for_each(tcp::thaw)?;
        }
        Ok(())
    }
}

fn configuration(
    config: &Config,
    id: RetirementId,
    successors: &Successors,
    known: Vec<EndpointProtocol>,
) -> Configuration {
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Configuration {
        // A request goes where its client found the endpoint.
        endpoints: Vec::new(),
        rescue_timeout_ms: milliseconds(config.rescue_timeout),
        header_timeout_ms: 10_000,
        drain_timeout_ms: milliseconds(config.drain_timeout),
        max_connections: usize::try_from(config.rescue_max).unwrap_or(usize::MAX),
        owner: owner(id.0),
        clients: match (successors, config.rescue_clients) {
            (Successors::Nobody, _) => Clients::Nobody {
                stop_signal: config.stop_signal,
            },
            (Successors::WorkersThatAreTold(_), RescueClients::Auto) => Clients::Named,
            (_, RescueClients::Auto | RescueClients::Local) => Clients::Local,
            (_, RescueClients::All) => Clients::All,
        },
        forwarded: match config.rescue_forwarded {
            Forwarding::No => Forwarded::Nothing,
            Forwarding::Forwarded => Forwarded::Forwarded,
            Forwarding::XForwardedFor => Forwarded::XForwardedFor,
        },
        protocols: known,
        protocol: given(config.protocol),
    }
}

/// Those of the sockets `open` that a process and its descendants have; where there are none, without a
/// look.
pub(super) fn connections_of(pid: i32, open: &BTreeSet<u64>) -> Vec<Descriptor> {
    if open.is_empty() {
        return Vec::new();
    }
    let mut found = sockets_of(pid);
    found.retain(|found| open.contains(&found.inode));
    found
}

/// The sockets of a process and its descendants, each once.
fn sockets_of(pid: i32) -> Vec<Descriptor> {
    let descriptor = |(inode, at): (u64, procfs::SocketAt)| Descriptor {
        pid: at.pid,
        number: at.number,
        inode,
    };
    procfs::tree_sockets(pid)
        .into_iter()
        .map(descriptor)
        .collect()
}

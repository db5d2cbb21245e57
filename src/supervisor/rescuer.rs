//! One rescuer process as we have it: starting it, and giving it connections.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use log::warn;
use mio::{Interest, Token};

use super::figures::Figures;
use super::sources::{Source, Sources};
use crate::config::{Config, Forwarding};
use crate::fleet::{Endpoint, RetirementId, WorkerId};
use crate::sys::{channel, pidfd, process, procfs, tcp};
use crate::wire::rescue::{
    Configuration, Descriptor, Forwarded, MAX_CONNECTIONS, MAX_MESSAGE_LEN, Order, Report, Route,
    decode, encode,
};

/// How long a rescuer may take to take what it is sent.
const PATIENCE: Duration = Duration::from_secs(1);
/// All rescuers.
#[derive(Debug, Default)]
pub(super) struct Rescuers {
    pub(super) rescuers: BTreeMap<RetirementId, Rescuer>,
    pub(super) figures: Figures,
}

#[derive(Debug)]
pub(super) struct Rescuer {
    pub(super) pid: i32,
    pub(super) channel: OwnedFd,
    pub(super) token: Token,
    /// The workers that it was told of and that have not ended.
    pub(super) workers: BTreeSet<WorkerId>,
    /// Sockets that it has, by inode.
    taken: BTreeSet<u64>,
    /// Those of which something may be left.
    pub(super) unreported: BTreeSet<WorkerId>,
}

impl Rescuers {
    /// The retirement whose rescuer has connections of this worker.
    pub(super) fn retirement_of(&self, worker: WorkerId) -> Option<RetirementId> {
        let mut rescuers = self.rescuers.iter();
        rescuers
            .find(|(_, rescuer)| rescuer.workers.contains(&worker))
            .map(|(id, _)| *id)
    }

    pub(super) fn of(&mut self, worker: WorkerId) -> Option<&mut Rescuer> {
        self.rescuers
            .values_mut()
            .find(|rescuer| rescuer.workers.contains(&worker))
    }
}

impl Rescuer {
    pub(super) fn start(
        config: &Config,
        endpoints: Vec<Endpoint>,
        sources: &mut Sources,
        id: RetirementId,
    ) -> io::Result<Self> {
        let (ours, theirs) = channel::pair()?;
        let configuration = configuration(config, &endpoints);
        let pid = process::spawn(process::Spawn {
            name: crate::rescue::NAME,
            arguments: vec![
                String::from_utf8(encode(&configuration))
                    .unwrap_or_default()
                    .into(),
            ],
            environment: Vec::new(),
            input: theirs,
            output: None,
            errors: None,
        })?;
        let token = sources.add(&ours, Source::Rescuer(id), Interest::READABLE)?;
        Ok(Self {
            pid,
            channel: ours,
            token,
            workers: BTreeSet::new(),
            taken: BTreeSet::new(),
            unreported: BTreeSet::new(),
        })
    }

    pub(super) fn order(&self, order: &Order, descriptors: &[OwnedFd]) -> io::Result<()> {
        let numbers: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        channel::send_with_timeout(&self.channel, &encode(order), &numbers, PATIENCE)
    }

    /// Has it know of a worker.
    pub(super) fn include(&mut self, worker: WorkerId) {
        self.workers.insert(worker);
        self.unreported.insert(worker);
    }

    /// What it has said; none for now. An error: it is gone.
    pub(super) fn hear(&self) -> io::Result<Option<Report>> {
        let mut bytes = vec![0; MAX_MESSAGE_LEN];
        loop {
            let count = match channel::receive(&self.channel, &mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                received => received?.0,
            };
            match decode(&bytes[..count]) {
                Some(report) => return Ok(Some(report)),
                None => log::warn!("a rescuer said something that is not understood"),
            }
        }
    }

    /// Hands over the connections of a worker that it does not have yet; how many there are.
    pub(super) fn take(
        &mut self,
        worker: WorkerId,
        pid: i32,
        found: Vec<Descriptor>,
    ) -> io::Result<usize> {
        let fresh: Vec<Descriptor> = found
            .into_iter()
            .filter(|found| self.taken.insert(found.inode))
            .collect();
        let mut rest = &fresh[..];
        while !rest.is_empty() {
            let some = &rest[..rest.len().min(MAX_CONNECTIONS)];
            let mut fetched = fetch(some)?;
            if fetched.looked == 0 {
                // There is no descriptor to be had: it counts those for which none comes.
                warn_of_few_descriptors(worker, rest.len());
                fetched.looked = some.len();
                fetched.connections = some.to_vec();
            }
            rest = &rest[fetched.looked..];
            self.order(
                &Order::Hold {
                    worker: worker.0,
                    pid,
                    connections: fetched.connections,
                },
                &fetched.sockets,
            )?;
        }
        self.order(&Order::AllSent { worker: worker.0 }, &[])?;
        Ok(fresh.len())
    }
}

impl Rescuer {
    /// Undoes the frost on what it had of a worker, when it has died and cannot do so itself.
    pub(super) fn thaw_for(&self, pid: i32) -> io::Result<()> {
        let had: Vec<Descriptor> = sockets_of(pid)
            .into_iter()
            .filter(|found| self.taken.contains(&found.inode))
            .collect();
        for some in had.chunks(MAX_CONNECTIONS) {
            fetch(some)?.sockets.iter().try_for_each(tcp::thaw)?;
        }
        Ok(())
    }
}

fn configuration(config: &Config, endpoints: &[Endpoint]) -> Configuration {
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let route = |endpoint: &Endpoint| Route {
        listen: endpoint.address,
        connect: super::probe::reachable(endpoint),
    };
    Configuration {
        endpoints: endpoints.iter().map(route).collect(),
        rescue_timeout_ms: milliseconds(config.rescue_timeout),
        header_timeout_ms: 10_000,
        drain_timeout_ms: milliseconds(config.drain_timeout),
        max_connections: usize::try_from(config.rescue_max).unwrap_or(usize::MAX),
        forwarded: match config.rescue_forwarded {
            Forwarding::No => Forwarded::Nothing,
            Forwarding::Forwarded => Forwarded::Forwarded,
            Forwarding::XForwardedFor => Forwarded::XForwardedFor,
        },
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

/// The sockets of a process and its descendants, each socket once.
fn sockets_of(pid: i32) -> Vec<Descriptor> {
    let mut seen = BTreeSet::new();
    let of_one = |pid: i32| {
        let sockets = procfs::socket_descriptors(pid).unwrap_or_default();
        sockets
            .into_iter()
            .map(move |(number, inode)| Descriptor { pid, number, inode })
    };
    procfs::descendants(pid)
        .into_iter()
        .flat_map(of_one)
        .filter(|found| seen.insert(found.inode))
        .collect()
}

/// Duplicates of descriptors of other processes.
#[derive(Debug, Default)]
struct Fetched {
    /// How many of the wanted ones were looked at: not all, if no more descriptors can be had.
    looked: usize,
    connections: Vec<Descriptor>,
    sockets: Vec<OwnedFd>,
}

/// Fetches what has not been closed meanwhile, by a process that has not ended meanwhile.
fn fetch(wanted: &[Descriptor]) -> io::Result<Fetched> {
    let mut processes: BTreeMap<i32, OwnedFd> = BTreeMap::new();
    let mut fetched = Fetched::default();
    for descriptor in wanted {
        match fetch_one(&mut processes, descriptor) {
            Ok(Some(socket)) => {
                fetched.connections.push(*descriptor);
                fetched.sockets.push(socket);
            }
            Ok(None) => {}
            Err(error) => match error.raw_os_error() {
                Some(libc::EBADF | libc::ESRCH) => {}
                Some(libc::EMFILE | libc::ENFILE) => return Ok(fetched),
                _ => return Err(error),
            },
        }
        fetched.looked += 1;
    }
    Ok(fetched)
}

fn fetch_one(
    processes: &mut BTreeMap<i32, OwnedFd>,
    wanted: &Descriptor,
) -> io::Result<Option<OwnedFd>> {
    let process = match processes.entry(wanted.pid) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => unknown.insert(pidfd::pidfd_open(wanted.pid)?),
    };
    let duplicate = pidfd::pidfd_getfd(process.as_fd(), wanted.number)?;
    // Its number may have been given to another meanwhile.
    let is_it = crate::sys::listener::inode(&duplicate)? == wanted.inode;
    Ok(is_it.then_some(duplicate))
}

fn warn_of_few_descriptors(worker: WorkerId, count: usize) {
    warn!(
        "worker {worker}: {count} of its connections cannot be held, there are no more descriptors; raise the limit \
         on open files (ulimit -n)"
    );
}

//! One rescuer process as we have it: starting it, and giving it connections.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use mio::{Interest, Token};

use super::sources::{Source, Sources};
use crate::config::{Config, Forwarding};
use crate::fleet::{Endpoint, RetirementId, WorkerId};
use crate::sys::{channel, pidfd, process, procfs, tcp};
use crate::wire::control::RescueStatus;
use crate::wire::rescue::{
    Configuration, Descriptor, Forwarded, LONGEST, MOST_TAKEN, News, Order, Route, Tally, decode,
    encode,
};

/// How long a rescuer may take to take what it is sent.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many retirements are remembered for `status`.
const REMEMBERED: usize = 8;

/// All rescuers.
#[derive(Debug, Default)]
pub(super) struct Rescuers {
    pub(super) rescuers: BTreeMap<RetirementId, Rescuer>,
    ended: BTreeMap<RetirementId, RescueStatus>,
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
    pub(super) status: RescueStatus,
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

    /// What became of the connections of the last retirements, oldest first.
    pub(super) fn statuses(&self) -> Vec<RescueStatus> {
        let running = self
            .rescuers
            .iter()
            .map(|(id, rescuer)| (*id, &rescuer.status));
        let all: BTreeMap<RetirementId, &RescueStatus> = self
            .ended
            .iter()
            .map(|(id, status)| (*id, status))
            .chain(running)
            .collect();
        all.into_values().cloned().collect()
    }

    pub(super) fn remember(&mut self, id: RetirementId, mut status: RescueStatus) {
        status.pid = None;
        self.ended.insert(id, status);
        while self.ended.len() > REMEMBERED {
            self.ended.pop_first();
        }
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
        let status = RescueStatus {
            retirement: id.0,
            pid: u32::try_from(pid).ok(),
            ..RescueStatus::default()
        };
        Ok(Self {
            pid,
            channel: ours,
            token,
            workers: BTreeSet::new(),
            taken: BTreeSet::new(),
            status,
        })
    }

    pub(super) fn order(&self, order: &Order, descriptors: &[OwnedFd]) -> io::Result<()> {
        let numbers: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        channel::send_patiently(&self.channel, &encode(order), &numbers, PATIENCE)
    }

    /// What it has said; none for now. An error: it is gone.
    pub(super) fn hear(&self) -> io::Result<Option<News>> {
        let mut bytes = vec![0; LONGEST];
        loop {
            let count = match channel::receive(&self.channel, &mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                received => received?.0,
            };
            match decode(&bytes[..count]) {
                Some(news) => return Ok(Some(news)),
                None => log::warn!("a rescuer said something that is not understood"),
            }
        }
    }

    /// Hands over the connections of a worker that it does not have yet.
    pub(super) fn take(
        &mut self,
        worker: WorkerId,
        pid: i32,
        open: &BTreeSet<u64>,
    ) -> io::Result<usize> {
        let wanted = |found: &Descriptor| open.contains(&found.inode);
        let found: Vec<Descriptor> = sockets_of(pid).into_iter().filter(wanted).collect();
        let fresh: Vec<Descriptor> = found
            .into_iter()
            .filter(|found| self.taken.insert(found.inode))
            .collect();
        for some in fresh.chunks(MOST_TAKEN) {
            let (connections, descriptors) = fetch(some)?;
            self.order(
                &Order::Take {
                    worker: worker.0,
                    pid,
                    connections,
                },
                &descriptors,
            )?;
        }
        self.order(&Order::Taken { worker: worker.0 }, &[])?;
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
        for some in had.chunks(MOST_TAKEN) {
            let (_, sockets) = fetch(some)?;
            sockets.iter().try_for_each(tcp::thaw)?;
        }
        Ok(())
    }
}

impl RescueStatus {
    pub(super) fn add(&mut self, worker: u64, tally: &Tally) {
        self.workers.push(worker);
        self.held += tally.held;
        self.finished += tally.finished;
        self.rescued += tally.rescued;
        self.idle += tally.idle;
        self.given_up += tally.given_up;
        for (reason, count) in &tally.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
    }
}

pub(super) fn sentence(tally: &Tally) -> String {
    let reasons: Vec<String> = tally
        .reasons
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let why = if reasons.is_empty() {
        String::new()
    } else {
        format!(" ({})", reasons.join(", "))
    };
    format!(
        "of {} connections that outlived its stop, it finished {}, {} were idle, {} were given up{why}; {} requests were rescued",
        tally.held, tally.finished, tally.idle, tally.given_up, tally.rescued
    )
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
        max: usize::try_from(config.rescue_max).unwrap_or(usize::MAX),
        forwarded: match config.rescue_forwarded {
            Forwarding::No => Forwarded::Nothing,
            Forwarding::Forwarded => Forwarded::Forwarded,
            Forwarding::XForwardedFor => Forwarded::XForwardedFor,
        },
    }
}

/// The sockets of a process and its descendants, each socket once.
pub(super) fn sockets_of(pid: i32) -> Vec<Descriptor> {
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

/// Duplicates of descriptors of other processes; those that have been closed meanwhile are left out.
fn fetch(wanted: &[Descriptor]) -> io::Result<(Vec<Descriptor>, Vec<OwnedFd>)> {
    let mut processes: BTreeMap<i32, OwnedFd> = BTreeMap::new();
    let (mut found, mut fetched) = (Vec::new(), Vec::new());
    for descriptor in wanted {
        if let std::collections::btree_map::Entry::Vacant(vacant) = processes.entry(descriptor.pid)
        {
            vacant.insert(pidfd::pidfd_open(descriptor.pid)?);
        }
        let Some(process) = processes.get(&descriptor.pid) else {
            continue;
        };
        match pidfd::pidfd_getfd(process.as_fd(), descriptor.number) {
            Ok(duplicate) if crate::sys::listener::inode(&duplicate)? == descriptor.inode => {
                found.push(*descriptor);
                fetched.push(duplicate);
            }
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((found, fetched))
}

//! Has the server see the client as the peer of a request that is passed on.
//!
//! Two programs on the supervisor's cgroup answer accept(2) and getpeername(2) of sockets of IPv4 and IPv6. They look
//! in an array for the port that a connection comes from. A rescuer makes an entry before it connects, and takes
//! the entry back before it closes. For every other connection the answer is the kernel's. Needs `CAP_BPF`,
//! `CAP_NET_ADMIN`, Linux 5.8 and cgroup v2.
//!
//! The hazard is an entry that outlives its connection: another one from the same port would be taken for the
//! client's. So an entry names both ends, and the entries of a rescuer that has died are cleared.

mod program;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use log::{info, warn};

use crate::config::{Config, RescueClients};
use crate::supervisor::workers::Workers;
use crate::sys::bpf::{self, CgroupLink, Map, Purpose};
use crate::sys::peer_entries::PeerEntries;
use crate::sys::{cgroup, channel, connect};
use crate::wire::peer_names::{ENTRIES, ENTRY_WORDS, entry};
use program::{Sockets, program};

/// How long a connection of our own over loopback may take.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Whose the entry of our own trial is.
const TRIAL: u32 = 1;

/// The programs and their array.
#[derive(Debug)]
pub(in crate::supervisor) struct PeerNames {
    array: Map,
    entries: PeerEntries,
    cgroup: File,
    programs: [(Purpose, OwnedFd); 2],
    /// While a rescuer runs: the programs cost every accept of the cgroup some time.
    links: Vec<CgroupLink>,
    /// The rescuers that make entries.
    owners: BTreeSet<u32>,
}

impl PeerNames {
    /// What names clients of other hosts to the server; none where that is not wanted, or cannot be.
    pub(in crate::supervisor) fn for_config(config: &Config) -> Option<Self> {
        if !config.rescue || config.rescue_clients != RescueClients::Auto {
            return None;
        }
        let explain = |error: &io::Error| {
            info!(
                "requests of clients on other hosts are not rescued (--rescue-clients local): naming the clients to the \
                 server needs CAP_BPF, CAP_NET_ADMIN and cgroup v2: {error}"
            );
        };
        Self::open().inspect_err(explain).ok()
    }

    /// Why clients of other hosts cannot be named; none where they can.
    pub(in crate::supervisor) fn obstacle() -> Option<String> {
        Self::open().err().map(|error| error.to_string())
    }

    /// Makes the programs and tries them once; then they are not attached.
    ///
    /// # Errors
    /// Those of bpf(2) and of finding the cgroup; a peer was not named as it should.
    fn open() -> io::Result<Self> {
        let array = Map::shared(4 * ENTRY_WORDS as u32, ENTRIES as u32)?;
        let load = |purpose, sockets| {
            let loaded = bpf::load(purpose, &program(sockets, array.number()));
            loaded
                .map(|program| (purpose, program))
                .map_err(io::Error::other)
        };
        let programs = [
            load(Purpose::PeerNameV4, Sockets::V4)?,
            load(Purpose::PeerNameV6, Sockets::V6)?,
        ];
        let mut names = Self {
            entries: PeerEntries::map(&array)?,
            cgroup: cgroup::open(std::process::id().cast_signed())?,
            array,
            programs,
            links: Vec::new(),
            owners: BTreeSet::new(),
        };
        names.attach()?;
        let tried = names.try_once();
        names.detach();
        tried.map(|()| names)
    }

    /// What a rescuer maps to make entries; none where a worker would not see them.
    pub(super) fn begin(&mut self, owner: u32, workers: &Workers) -> Option<OwnedFd> {
        if !self.are_seen_by(workers) {
            warn!(
                "requests of clients on other hosts are not rescued: a worker is in another cgroup"
            );
            return None;
        }
        let attached = self.attach();
        match attached.and_then(|()| self.array.as_fd().try_clone_to_owned()) {
            Ok(array) => {
                self.owners.insert(owner);
                Some(array)
            }
            Err(error) => {
                warn!(
                    "requests of clients on other hosts are not rescued: cannot name the clients: {error}"
                );
                None
            }
        }
    }

    /// A rescuer is gone: its entries are taken back, and with the last one nobody is named any more.
    pub(super) fn end(&mut self, owner: u32) {
        if !self.owners.remove(&owner) {
            return;
        }
        self.entries.clear_all_of(owner);
        if self.owners.is_empty() {
            self.detach();
        }
    }

    /// Whether all workers that are there are in our cgroup or below: the programs run for no others.
    fn are_seen_by(&self, workers: &Workers) -> bool {
        let own = cgroup::path_of(std::process::id().cast_signed());
        let is_below = |pid: i32| match (&own, cgroup::path_of(pid)) {
            (Ok(own), Ok(path)) => path.starts_with(own),
            (_, Err(_)) | (Err(_), _) => false,
        };
        let mut present = workers.pids().filter(|(id, _)| !workers.has_ended(*id));
        present.all(|(_, pid)| is_below(pid))
    }

    fn attach(&mut self) -> io::Result<()> {
        if self.links.is_empty() {
            let attach = |(purpose, program): &(Purpose, OwnedFd)| {
                bpf::attach_to_cgroup(&self.cgroup, *purpose, program)
            };
            self.links = self
                .programs
                .iter()
                .map(attach)
                .collect::<io::Result<_>>()?;
        }
        Ok(())
    }

    fn detach(&mut self) {
        self.links.clear();
    }

    /// A connection of our own is believed to be a client's, and the next one to be ours.
    fn try_once(&self) -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let target = listener.local_addr()?;
        let client = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 7), 4711));
        let source = connect::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let port = connect::port(&source)?;
        let words = entry(Ipv4Addr::LOCALHOST.into(), target.port(), client, TRIAL);
        self.entries.store(port, &words);
        connect::connect(&source, target)?;
        let named = peer_of_next(&listener)?;
        self.entries.clear_all_of(TRIAL);
        let other = connect::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        connect::connect(&other, target)?;
        let itself = peer_of_next(&listener)?;
        if named == client && itself.port() == connect::port(&other)? {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "{client} was named {named}, and another peer {itself}"
        )))
    }
}

/// Whom the listener sees in the next connection, which has been begun. A host may filter loopback.
fn peer_of_next(listener: &TcpListener) -> io::Result<SocketAddr> {
    if !channel::is_readable(listener, TRIAL_TIMEOUT) {
        let why = "a connection over loopback is not made";
        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
    }
    listener.accept().map(|(_, peer)| peer)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Names that are attached; none, after saying so, where they cannot be had.
    fn attached() -> Option<PeerNames> {
        use std::io::Write as _;
        match PeerNames::open() {
            Ok(mut names) => {
                names.attach().unwrap();
                Some(names)
            }
            Err(error) => {
                let skipped =
                    format!("skipped: naming peers needs CAP_BPF and cgroup v2: {error}\n");
                let _ = io::stderr().write_all(skipped.as_bytes());
                None
            }
        }
    }

    /// Whom the listener sees, by accept(2) and getpeername(2), in a connection from `source` that has an entry for
    /// `client` by this owner.
    fn seen(names: &PeerNames, listener: &TcpListener, source: &str, client: &str) -> SocketAddr {
        let source: SocketAddr = source.parse().unwrap();
        let mut target = listener.local_addr().unwrap();
        target.set_ip(source.ip());
        let socket = connect::bind(source).unwrap();
        let port = connect::port(&socket).unwrap();
        let words = entry(source.ip(), target.port(), client.parse().unwrap(), 7);
        names.entries.store(port, &words);
        connect::connect(&socket, target).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        assert_eq!(accepted.peer_addr().unwrap(), peer);
        names.entries.clear_all_of(7);
        assert_ne!(
            accepted.peer_addr().unwrap(),
            peer,
            "nobody is named any more"
        );
        peer
    }

    #[test]
    fn a_peer_of_either_family_is_who_the_entry_says() {
        let Some(names) = attached() else {
            return;
        };
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let both = TcpListener::bind("[::]:0").unwrap();
        for (listener, source, client, expected) in [
            (&v4, "127.0.0.1:0", "192.0.2.7:4711", "192.0.2.7:4711"),
            (
                &both,
                "127.0.0.1:0",
                "192.0.2.7:4711",
                "[::ffff:192.0.2.7]:4711",
            ),
            (&both, "[::1]:0", "[2001:db8::7]:4711", "[2001:db8::7]:4711"),
        ] {
            let expected: SocketAddr = expected.parse().unwrap();
            assert_eq!(seen(&names, listener, source, client), expected);
        }
    }

    #[test]
    fn an_entry_for_another_connection_names_nobody() {
        let Some(names) = attached() else {
            return;
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let client: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        for (source, to) in [
            ("127.0.0.9", target.port()),
            ("127.0.0.1", target.port() ^ 1),
        ] {
            let socket = connect::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let port = connect::port(&socket).unwrap();
            let words = entry(source.parse().unwrap(), to, client, 8);
            names.entries.store(port, &words);
            connect::connect(&socket, target).unwrap();
            assert_eq!(listener.accept().unwrap().1.ip(), Ipv4Addr::LOCALHOST);
            names.entries.clear_all_of(8);
        }
    }
}

//! All adopted connections: which one an event is about, and when each has waited for too long.

mod learning;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use mio::Registry;
use socket2::SockRef;

use super::adopted::{AdoptedConnection, AdoptedContext};
use super::adoption::Adoption;
use super::client;
use super::custody::Custody;
use super::event_source::EventSource;
use super::evidence::Evidence;
use super::hops::{Hops, MOST_HOPS};
use super::peer_names::PeerNames;
use super::protocols::Protocols;
use super::relay::ClientTimeouts;
use super::routes::Routes;
use super::step::{End, Step, Unanswerable};
use super::tallies::{Outcome, Tallies};
use super::timers::Timers;
use crate::sys::procfs;
use crate::wire::rescue::{Configuration, EndpointProtocol, Protocol};

/// Room to read into.
const SCRATCH_LEN: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct AdoptedConnections {
    registry: Registry,
    routes: Routes,
    timeouts: ClientTimeouts,
    connections: BTreeMap<u64, AdoptedConnection>,
    last_id: u64,
    timers: Timers,
    hops: Hops,
    /// Connections that have yielded.
    yielded: Vec<u64>,
    scratch: Vec<u8>,
    protocols: Protocols,
    /// What bytes have shown of the protocol, and on which address.
    heard: Vec<(SocketAddr, Evidence)>,
    /// What the supervisor has not heard of yet.
    learnt: Vec<EndpointProtocol>,
}

impl AdoptedConnections {
    pub(super) fn new(
        configuration: &Configuration,
        names: Option<PeerNames>,
        registry: Registry,
    ) -> Self {
        Self {
            registry,
            routes: Routes::new(configuration, names),
            timeouts: ClientTimeouts {
                head: Duration::from_millis(configuration.header_timeout_ms),
                idle: Duration::from_millis(configuration.rescue_timeout_ms),
            },
            connections: BTreeMap::new(),
            last_id: 0,
            timers: Timers::default(),
            hops: Hops::default(),
            yielded: Vec::new(),
            scratch: vec![0; SCRATCH_LEN],
            protocols: Protocols::new(configuration),
            heard: Vec::new(),
            learnt: Vec::new(),
        }
    }

    /// Whose the connections of a worker are that nobody follows; none where somebody does. `pid`: its first process.
    pub(super) fn last_custody(&self, pid: i32) -> Option<Custody> {
        let signal = self.routes.last_signal()?;
        Some(match procfs::handles_signal(pid, signal) {
            true => Custody::Finished,
            false => Custody::Ended,
        })
    }

    /// Whether the requests of a connection may be passed on.
    pub(super) fn custody(&self, socket: &OwnedFd) -> Custody {
        match client::ends(socket, &self.routes) {
            Some(_) => Custody::Rescued,
            None => Custody::Left,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// When [`Self::proceed`] is to be called next.
    pub(super) fn next_wake_up(&self, now: Instant) -> Option<Instant> {
        if self.yielded.is_empty() {
            self.timers.next()
        } else {
            Some(now)
        }
    }

    /// Whether a stop signal to this worker could still break a connection on which a request is being
    /// answered.
    pub(super) fn is_endangered_by(&self, worker: u64) -> bool {
        let mut connections = self.connections.values();
        connections.any(|connection| connection.is_endangered_by(worker))
    }

    pub(super) fn adopt(
        &mut self,
        worker: u64,
        socket: OwnedFd,
        adoption: Adoption,
        now: Instant,
        tallies: &mut Tallies,
    ) {
        self.adopt_after(0, worker, socket, adoption, now, tallies);
    }

    /// Adopts a connection that nobody had accepted.
    ///
    /// # Errors
    /// Nobody may or can answer it.
    pub(super) fn accept(
        &mut self,
        worker: u64,
        socket: OwnedFd,
        peer: SocketAddr,
        now: Instant,
        tallies: &mut Tallies,
    ) -> Result<(), Unanswerable> {
        let hops = self.hops.of(peer);
        if hops > MOST_HOPS {
            return Err(Unanswerable::NobodyServes);
        }
        let adoption = self.adoption_of_accepted(&socket);
        let adoption = adoption.ok_or(Unanswerable::RemoteClient)?;
        self.adopt_after(hops, worker, socket, adoption, now, tallies);
        Ok(())
    }

    fn adopt_after(
        &mut self,
        hops: u8,
        worker: u64,
        socket: OwnedFd,
        adoption: Adoption,
        now: Instant,
        tallies: &mut Tallies,
    ) {
        match self.insert(worker, socket, adoption, now) {
            Ok(id) => {
                self.hops.begin(id, hops);
                tallies.opened(worker);
            }
            Err(error) => {
                log::debug!("cannot take a connection over: {error}");
                tallies.count(worker, Outcome::GivenUp("system"));
            }
        }
    }

    fn insert(
        &mut self,
        worker: u64,
        socket: OwnedFd,
        adoption: Adoption,
        now: Instant,
    ) -> io::Result<u64> {
        let (routes, timeouts) = (&self.routes, self.timeouts);
        let mut connection =
            AdoptedConnection::new(worker, socket, adoption, routes, timeouts, now)?;
        self.last_id += 1;
        let token = EventSource::Client(self.last_id).token();
        connection.register(&self.registry, token)?;
        self.timers.set(self.last_id, connection.deadline());
        self.connections.insert(self.last_id, connection);
        Ok(self.last_id)
    }

    /// The client or the server of a connection is ready.
    pub(super) fn ready(&mut self, id: u64, now: Instant, tallies: &mut Tallies) {
        self.advance(id, now, tallies, AdoptedConnection::ready);
    }

    /// Goes on with the connections that have yielded, and with those whose deadlines have passed.
    pub(super) fn proceed(&mut self, now: Instant, tallies: &mut Tallies) {
        self.resume(now, tallies);
        self.expire(now, tallies);
    }

    fn resume(&mut self, now: Instant, tallies: &mut Tallies) {
        for id in std::mem::take(&mut self.yielded) {
            self.ready(id, now, tallies);
        }
    }

    fn expire(&mut self, now: Instant, tallies: &mut Tallies) {
        while let Some(id) = self.timers.pop(now) {
            self.advance(id, now, tallies, AdoptedConnection::timed_out);
        }
    }

    fn advance(
        &mut self,
        id: u64,
        now: Instant,
        tallies: &mut Tallies,
        event: fn(&mut AdoptedConnection, &mut AdoptedContext<'_>) -> Step,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let mut context = AdoptedContext {
            registry: &self.registry,
            server: EventSource::Server(id).token(),
            routes: &self.routes,
            timeouts: self.timeouts,
            tallies,
            now,
            scratch: &mut self.scratch,
            heard: &mut self.heard,
        };
        let step = event(connection, &mut context);
        self.timers.set(id, connection.deadline());
        self.hops.set(id, connection.passed_on_from());
        match step {
            Step::Waits => {}
            Step::Yields => self.yielded.push(id),
            Step::Ends(end) => self.close(id, end, tallies),
        }
        self.learn(now, tallies);
    }

    fn close(&mut self, id: u64, end: End, tallies: &mut Tallies) {
        self.timers.set(id, None);
        self.hops.end(id);
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        let worker = connection.worker();
        connection.close(&self.registry);
        tallies.closed(worker);
        match end {
            End::Idle => tallies.count(worker, Outcome::Idle),
            End::GivenUp(reason) => tallies.count(worker, Outcome::GivenUp(reason)),
            End::Served | End::Lingered => {}
        }
    }

    /// How a connection is adopted that nobody had accepted; none: its requests must not be passed on.
    fn adoption_of_accepted(&self, socket: &OwnedFd) -> Option<Adoption> {
        let Custody::Rescued = self.custody(socket) else {
            return None;
        };
        let local = SockRef::from(socket).local_addr().ok()?.as_socket()?;
        Some(match self.protocols.of(local) {
            Protocol::Http1 => Adoption::Accepted,
            Protocol::Unknown | Protocol::Opaque => Adoption::Greeting,
        })
    }

    /// Closes all that are idle: those whose clients have sent nothing by now.
    pub(super) fn close_idle(&mut self, now: Instant, tallies: &mut Tallies) {
        let idle = self.connections.iter().filter(|(_, it)| it.is_idle());
        let idle = idle.map(|(id, _)| *id).collect();
        self.close_if_idle(idle, now, tallies);
    }

    fn close_if_idle(&mut self, idle: Vec<u64>, now: Instant, tallies: &mut Tallies) {
        for id in idle {
            self.ready(id, now, tallies);
            let connection = self.connections.get(&id);
            if connection.is_some_and(AdoptedConnection::is_idle) {
                self.close(id, End::Idle, tallies);
            }
        }
    }

    /// Gives up what is still under way.
    pub(super) fn abandon(&mut self, tallies: &mut Tallies) {
        let connections = self.connections.iter();
        let ends = connections.map(|(id, it)| (*id, it.end_if_abandoned()));
        for (id, end) in ends.collect::<Vec<_>>() {
            self.close(id, end, tallies);
        }
    }
}

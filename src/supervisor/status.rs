//! What `status` shows: the fleet's view, and what the kernel says of it at this moment.

use std::collections::BTreeMap;

use super::Supervisor;
use super::measure::identities;
use crate::fleet::census::attribute;
use crate::fleet::{Endpoint, ListenerId, WorkerId, WorkerView};
use crate::sys::listener;
use crate::wire::control::{
    EndpointStatus, GenerationStatus, ListenerStatus, Status, WorkerStatus,
};
use crate::wire::diag::{Connection, States};

/// The connections that the kernel knows of.
struct Connections {
    by_endpoint: BTreeMap<Endpoint, u64>,
    by_worker: BTreeMap<WorkerId, u64>,
    /// The connections that each worker was given, open or closed within the last minute.
    given: BTreeMap<WorkerId, u64>,
}

impl Supervisor {
    pub(super) fn status(&self) -> Status {
        let views = self.fleet.view(self.now());
        let connections = self.count_connections(&views);
        let workers: Vec<WorkerStatus> = views
            .iter()
            .map(|view| self.worker_status(view, connections.as_ref()))
            .collect();
        let (reloads, reloads_failed) = self.fleet.reloads();
        Status {
            name: self.config.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: milliseconds(self.start.elapsed()),
            phase: self.fleet.phase_name().to_owned(),
            workers_wanted: self.fleet.workers_wanted(),
            reloads,
            reloads_failed,
            generations: generations(&workers),
            endpoints: self.endpoint_statuses(&workers, connections.as_ref()),
            workers,
            rescues: self.rescuers.figures.statuses(),
        }
    }

    fn worker_status(&self, view: &WorkerView, connections: Option<&Connections>) -> WorkerStatus {
        let given = connections
            .map(|connections| connections.given.get(&view.worker).copied().unwrap_or(0));
        let all = connections.map_or(0, |connections| connections.given.values().sum::<u64>());
        WorkerStatus {
            id: view.worker.0,
            slot: view.slot.0,
            generation: view.generation.0,
            pid: self
                .children
                .get(view.worker)
                .and_then(|child| u32::try_from(child.pid).ok()),
            phase: view.phase.to_owned(),
            uptime_ms: milliseconds(view.uptime),
            restarts: view.restarts,
            listeners: view
                .listeners
                .iter()
                .map(|(id, endpoint)| self.listener_status(*id, endpoint))
                .collect(),
            connections: connections.map(|connections| {
                connections
                    .by_worker
                    .get(&view.worker)
                    .copied()
                    .unwrap_or(0)
            }),
            share: given
                .filter(|_| all > 0)
                .map(|given| given as f64 / all as f64),
        }
    }

    fn listener_status(&self, id: ListenerId, endpoint: &Endpoint) -> ListenerStatus {
        let queue = self
            .groups
            .socket(id)
            .and_then(|socket| listener::queue(&socket).ok());
        let (queue, backlog) = queue.unwrap_or((0, 0));
        ListenerStatus {
            address: endpoint.to_string(),
            queue,
            backlog,
            live: self.fleet.is_live(id),
        }
    }

    fn endpoint_statuses(
        &self,
        workers: &[WorkerStatus],
        connections: Option<&Connections>,
    ) -> Vec<EndpointStatus> {
        let listeners = || workers.iter().flat_map(|worker| &worker.listeners);
        let status = |(endpoint, count): (&Endpoint, usize)| {
            let address = endpoint.to_string();
            let here = || listeners().filter(|listener| listener.address == address);
            EndpointStatus {
                listeners: u32::try_from(count).unwrap_or(u32::MAX),
                live: u32::try_from(here().filter(|listener| listener.live).count())
                    .unwrap_or(u32::MAX),
                queue: here().map(|listener| u64::from(listener.queue)).sum(),
                connections: connections
                    .map(|connections| connections.by_endpoint.get(endpoint).copied().unwrap_or(0)),
                address,
            }
        };
        self.groups.endpoints().map(status).collect()
    }

    fn count_connections(&self, views: &[WorkerView]) -> Option<Connections> {
        let open = self.open_connections().ok()?;
        let closed = self.connections(States::CLOSED_RECENTLY).ok()?;
        let by_worker = attribute(&identities(&open), &self.owners()).open;
        let worker_of: BTreeMap<ListenerId, WorkerId> = views
            .iter()
            .flat_map(|view| view.listeners.iter().map(|(id, _)| (*id, view.worker)))
            .collect();
        let mut by_endpoint: BTreeMap<Endpoint, u64> = BTreeMap::new();
        // An open connection is known by its owner; a closed one has none, but the steering tells
        // who was given it.
        let mut given = by_worker.clone();
        for connection in &open {
            let endpoint = self.endpoint_of(connection);
            endpoint
                .into_iter()
                .for_each(|endpoint| *by_endpoint.entry(endpoint).or_default() += 1);
        }
        for connection in &closed {
            let chosen = self.endpoint_of(connection).and_then(|endpoint| {
                self.groups
                    .chosen(&endpoint, connection.remote.ip(), connection.remote.port())
            });
            if let Some(worker) = chosen.and_then(|listener| worker_of.get(&listener)) {
                *given.entry(*worker).or_default() += 1;
            }
        }
        Some(Connections {
            by_endpoint,
            by_worker,
            given,
        })
    }

    /// The endpoint through which a connection came: the most specific one that fits.
    fn endpoint_of(&self, connection: &Connection) -> Option<Endpoint> {
        let port = connection.local.port();
        let candidates: Vec<Endpoint> = self
            .groups
            .endpoints()
            .map(|(endpoint, _)| *endpoint)
            .filter(|endpoint| endpoint.address.port() == port)
            .collect();
        let exact = candidates
            .iter()
            .find(|endpoint| endpoint.address.ip() == connection.local.ip());
        let wildcard = candidates.iter().find(|endpoint| {
            let ip = endpoint.address.ip();
            ip.is_unspecified() && (ip.is_ipv4() == connection.local.is_ipv4() || !endpoint.v6_only)
        });
        exact.or(wildcard).copied()
    }
}

fn generations(workers: &[WorkerStatus]) -> Vec<GenerationStatus> {
    const ORDER: [&str; 8] = [
        "held",
        "waiting",
        "starting",
        "ready",
        "serving",
        "settling",
        "quiescing",
        "draining",
    ];
    let mut by_generation: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for worker in workers {
        by_generation
            .entry(worker.generation)
            .or_default()
            .push(&worker.phase);
    }
    let least = |phases: &[&str]| {
        ORDER
            .iter()
            .find(|phase| phases.contains(phase))
            .copied()
            .unwrap_or_default()
    };
    by_generation
        .into_iter()
        .map(|(generation, phases)| GenerationStatus {
            generation,
            phase: least(&phases).to_owned(),
            workers: u32::try_from(phases.len()).unwrap_or(u32::MAX),
        })
        .collect()
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

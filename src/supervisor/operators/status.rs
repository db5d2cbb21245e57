//! What `status` shows: the fleet's view, and what the kernel says of it at this moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::change_status;
use super::generation_status::generations;
use super::recycling_status::{recyclings, usage};
use super::report::{health, reached};
use crate::config::Config;
use crate::fleet::{Endpoint, Fleet, ListenerId, ListenerSetId, Time, WorkerId, WorkerView};
use crate::supervisor::listeners::Listeners;
use crate::supervisor::retirement::connection_owners::attribute;
use crate::supervisor::retirement::measure::{connections, identities};
use crate::supervisor::steering::Backend;
use crate::supervisor::workers::Workers;
use crate::supervisor::workers::checks::Checks;
use crate::sys::listener;
use crate::wire::control::{
    EndpointStatus, ListenerStatus, QueueStatus, RescueStatus, Status, WorkerStatus,
};
use crate::wire::diag::{Connection, States};

/// The connections that the kernel knows of.
struct Connections {
    by_endpoint: BTreeMap<Endpoint, u64>,
    by_worker: BTreeMap<WorkerId, u64>,
    /// The connections that each queue was given, open or closed within the last minute.
    given: BTreeMap<ListenerSetId, u64>,
}

impl Connections {
    /// A queue's part of all.
    fn share(&self, queue: ListenerSetId) -> Option<f64> {
        let all: u64 = self.given.values().sum();
        let given = self.given.get(&queue).copied().unwrap_or(0);
        (all > 0).then(|| given as f64 / all as f64)
    }
}

type ListenerStatuses = BTreeMap<ListenerId, ListenerStatus>;

/// What `status` is made of.
pub(crate) struct Inspection<'a> {
    pub(crate) config: &'a Config,
    /// Since the supervisor started.
    pub(crate) uptime: Duration,
    pub(crate) fleet: &'a Fleet,
    pub(crate) workers: &'a Workers,
    pub(crate) checks: &'a Checks,
    pub(crate) listeners: &'a Listeners,
    pub(crate) steering: &'a dyn Backend,
    pub(crate) steering_refused: Option<&'a str>,
    pub(crate) rescues: Vec<RescueStatus>,
}

impl Inspection<'_> {
    pub(crate) fn status(self) -> Status {
        let views = self.fleet.view(Time(self.uptime));
        let counted = self.count_connections(&views);
        let connections = counted.as_ref();
        let listeners = self.listener_statuses(&views);
        let queues = queues(&views, &listeners, connections);
        let workers: Vec<WorkerStatus> = views
            .iter()
            .map(|view| self.worker_status(view, &queues, &listeners, connections))
            .collect();
        let (reloads, reloads_failed) = self.fleet.reloads();
        let change = self.fleet.change(Time(self.uptime));
        Status {
            name: self.config.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: milliseconds(self.uptime),
            phase: self.fleet.phase_name().to_owned(),
            workers_wanted: self.fleet.workers_wanted(),
            reloads,
            reloads_failed,
            recyclings: recyclings(self.fleet.recyclings()),
            steering: self.config.steering.name().to_owned(),
            steering_refused: self.steering_refused.map(str::to_owned),
            change: change.map(|view| change_status::change(&view, self.workers)),
            generations: generations(&workers),
            endpoints: self.endpoint_statuses(&listeners, connections),
            queues,
            workers,
            rescues: self.rescues,
        }
    }

    fn worker_status(
        &self,
        view: &WorkerView,
        queues: &[QueueStatus],
        listeners: &ListenerStatuses,
        connections: Option<&Connections>,
    ) -> WorkerStatus {
        let mut own = queues
            .iter()
            .filter(|queue| queue.workers == [view.worker.0]);
        WorkerStatus {
            id: view.worker.0,
            slot: view.slot.0,
            queue: view.set.0,
            generation: view.generation.0,
            pid: self
                .workers
                .pid(view.worker)
                .and_then(|pid| u32::try_from(pid).ok()),
            phase: view.phase.to_owned(),
            uptime_ms: milliseconds(view.uptime),
            restarts: view.restarts,
            listeners: view
                .listeners
                .iter()
                .filter_map(|(id, _)| listeners.get(id).cloned())
                .collect(),
            connections: connections.map(|connections| {
                connections
                    .by_worker
                    .get(&view.worker)
                    .copied()
                    .unwrap_or(0)
            }),
            weight: view
                .weight
                .map(|weight| f64::from(weight.own) / f64::from(weight.all)),
            share: own.next().and_then(|queue| queue.share),
            usage: usage(view),
            recycling: view.recycling.as_ref().map(reached),
            health: view.health.as_ref().map(|it| {
                let config = self.workers.config(view.worker).unwrap_or(self.config);
                health(it, config)
            }),
        }
    }

    /// Each listener once, whoever shares it.
    fn listener_statuses(&self, views: &[WorkerView]) -> ListenerStatuses {
        let all = views.iter().flat_map(|view| &view.listeners);
        let distinct: BTreeMap<ListenerId, Endpoint> = all.copied().collect();
        let status =
            |(id, endpoint): (ListenerId, Endpoint)| (id, self.listener_status(id, &endpoint));
        distinct.into_iter().map(status).collect()
    }

    fn listener_status(&self, id: ListenerId, endpoint: &Endpoint) -> ListenerStatus {
        let queue = self
            .listeners
            .socket(id)
            .and_then(|socket| listener::accept_queue_len(&socket).ok());
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
        listeners: &ListenerStatuses,
        connections: Option<&Connections>,
    ) -> Vec<EndpointStatus> {
        let status = |(endpoint, count): (Endpoint, usize)| {
            let address = endpoint.to_string();
            let here = || {
                listeners
                    .values()
                    .filter(|listener| listener.address == address)
            };
            EndpointStatus {
                listeners: u32::try_from(count).unwrap_or(u32::MAX),
                live: u32::try_from(here().filter(|listener| listener.live).count())
                    .unwrap_or(u32::MAX),
                queue: here().map(|listener| u64::from(listener.queue)).sum(),
                connections: connections.map(|connections| {
                    connections.by_endpoint.get(&endpoint).copied().unwrap_or(0)
                }),
                address,
            }
        };
        self.listeners.endpoints().map(status).collect()
    }

    fn count_connections(&self, views: &[WorkerView]) -> Option<Connections> {
        let open = connections(self.listeners, States::OPEN).ok()?;
        let closed = connections(self.listeners, States::CLOSED_RECENTLY).ok()?;
        let by_worker = attribute(&identities(&open), &self.workers.socket_owners()).open;
        let queue_of: BTreeMap<ListenerId, ListenerSetId> = views
            .iter()
            .flat_map(|view| view.listeners.iter().map(|(id, _)| (*id, view.set)))
            .collect();
        let mut by_endpoint: BTreeMap<Endpoint, u64> = BTreeMap::new();
        // An open connection is known by its owner; a closed one has none, but the steering tells
        // who was given it.
        let mut given: BTreeMap<ListenerSetId, u64> = BTreeMap::new();
        for view in views {
            let open = by_worker.get(&view.worker).copied().unwrap_or(0);
            *given.entry(view.set).or_default() += open;
        }
        for connection in &open {
            let endpoint = self.endpoint_of(connection);
            endpoint
                .into_iter()
                .for_each(|endpoint| *by_endpoint.entry(endpoint).or_default() += 1);
        }
        // Those of ours say nothing of what workers are given.
        let closed = closed.iter().filter(|it| !self.checks.made(it.remote));
        for connection in closed {
            let endpoint = self.endpoint_of(connection);
            let chosen = endpoint.and_then(|of| self.steering.chosen(&of, connection.remote));
            if let Some(queue) = chosen.and_then(|listener| queue_of.get(&listener)) {
                *given.entry(*queue).or_default() += 1;
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
            .listeners
            .endpoints()
            .map(|(endpoint, _)| endpoint)
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

fn queues(
    views: &[WorkerView],
    listeners: &ListenerStatuses,
    connections: Option<&Connections>,
) -> Vec<QueueStatus> {
    let mut queues: BTreeMap<ListenerSetId, Vec<&WorkerView>> = BTreeMap::new();
    for view in views {
        queues.entry(view.set).or_default().push(view);
    }
    let status = |(id, views): (ListenerSetId, Vec<&WorkerView>)| {
        let of = |view: &&WorkerView| view.listeners.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        let distinct: BTreeSet<ListenerId> = views.iter().flat_map(of).collect();
        QueueStatus {
            queue: id.0,
            generation: views.first().map_or(0, |view| view.generation.0),
            workers: views.iter().map(|view| view.worker.0).collect(),
            listeners: distinct
                .iter()
                .filter_map(|id| listeners.get(id).cloned())
                .collect(),
            share: connections.and_then(|connections| connections.share(id)),
        }
    };
    queues.into_iter().map(status).collect()
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

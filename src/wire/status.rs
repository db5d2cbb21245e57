//! What `status` shows. Part of the [control protocol](super::control).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that `status` shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The supervisor's name (`--name`).
    pub name: String,
    /// The supervisor's version.
    pub version: String,
    /// The supervisor's pid.
    pub pid: u32,
    /// Milliseconds since the supervisor started.
    pub uptime_ms: u64,
    /// `starting`, `serving`, `reloading`, `recycling`, `canary`, `soaking` or `stopping`.
    pub phase: String,
    /// How many workers there should be.
    pub workers_wanted: u32,
    /// Reloads that ended with the new generation serving, since the start.
    pub reloads: u64,
    /// Reloads that were rolled back, since the start.
    pub reloads_failed: u64,
    /// Workers that were replaced because they had reached a limit.
    #[serde(default)]
    pub recyclings: RecyclingStatus,
    /// How new connections are kept from old workers: `ebpf`, `cbpf` or `none` (`--steering`).
    #[serde(default)]
    pub steering: String,
    /// Why they are not, although that was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steering_refused: Option<String>,
    /// The change that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<ChangeStatus>,
    /// Generations that have a worker, oldest first.
    pub generations: Vec<GenerationStatus>,
    /// Workers, by slot and age.
    pub workers: Vec<WorkerStatus>,
    /// Queues, oldest first: what workers accept from, each its own or several the same.
    #[serde(default)]
    pub queues: Vec<QueueStatus>,
    /// Endpoints, in order of address.
    pub endpoints: Vec<EndpointStatus>,
    /// What became of the connections of the last retirements, oldest first.
    #[serde(default)]
    pub rescues: Vec<RescueStatus>,
}

/// The change that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeStatus {
    /// `start`, `reload`, `restart`, `scale`, `rollback` or `recycling`.
    pub kind: String,
    /// The generation that it starts, or that it is about.
    pub generation: u32,
    /// Milliseconds since it began.
    pub for_ms: u64,
    /// What it waits for: a clause.
    pub waits_for: String,
}

/// One generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationStatus {
    /// Its number.
    pub generation: u32,
    /// The phase of its least advanced worker.
    pub phase: String,
    /// How many workers it has.
    pub workers: u32,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its id, never reused.
    pub id: u64,
    /// Its slot.
    pub slot: u32,
    /// Its queue. Workers with the same number accept from the same listeners.
    #[serde(default)]
    pub queue: u64,
    /// Its generation.
    pub generation: u32,
    /// Its pid; none while it waits to be restarted.
    pub pid: Option<u32>,
    /// `waiting`, `starting`, `ready`, `serving`, `standing-by`, `settling`, `quiescing`, `draining` or
    /// `given-up`.
    pub phase: String,
    /// Milliseconds since it was started.
    pub uptime_ms: u64,
    /// How often the worker in this slot was restarted after a crash, in this generation.
    pub restarts: u32,
    /// Its listeners.
    pub listeners: Vec<ListenerStatus>,
    /// Its open connections on the managed endpoints; none where that cannot be read.
    pub connections: Option<u64>,
    /// The part of the new connections of its address that it is to get, 0 to 1; none where it is to get none, or where
    /// they are not steered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Its part of the connections that the kernel still knows on the managed endpoints (open, or
    /// closed within the last minute), 0 to 1; none where there are no such connections, and where
    /// it shares its queue, for of a closed connection only the queue is known.
    pub share: Option<f64>,
    /// What it uses, as far as that is looked at.
    #[serde(default)]
    pub usage: UsageStatus,
    /// Why it is to be recycled, if it is: a clause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recycling: Option<String>,
    /// `healthy`, `unhealthy: REASON` or `unknown`; none where it is not checked (`--health`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
}

/// What a worker uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageStatus {
    /// Milliseconds since it was ready; none before.
    pub age_ms: Option<u64>,
    /// The memory that its processes have in RAM, in bytes, summed up; none unless `--max-rss` or `--max-cpu` is given.
    pub rss: Option<u64>,
    /// How much of one CPU they have used on average over `--max-cpu-window`, or since it serves, in percent; none as for
    /// `rss`.
    pub cpu_percent: Option<u64>,
    /// How many connections it was given, its part of those of a queue that it shares; none unless
    /// `--max-connections-served` is given.
    pub connections_served: Option<u64>,
}

/// Workers that were replaced because they had reached a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecyclingStatus {
    /// How many, since the start.
    pub done: u64,
    /// How often a replacement failed, and the worker served on.
    pub failed: u64,
    /// The last that was begun: the worker, and why.
    pub last: Option<String>,
}

/// One queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Its number, never reused.
    pub queue: u64,
    /// The generation that it was made for.
    pub generation: u32,
    /// The workers that accept from it, by slot.
    pub workers: Vec<u64>,
    /// Its listeners: one an endpoint, or more.
    pub listeners: Vec<ListenerStatus>,
    /// Its workers' part of the connections, as in [`WorkerStatus`].
    pub share: Option<f64>,
}

/// One listener, as each worker that has it shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// The endpoint's address.
    pub address: String,
    /// Connections that are established and not yet accepted.
    pub queue: u32,
    /// The longest that queue may get.
    pub backlog: u32,
    /// Whether new connections are steered to it.
    pub live: bool,
}

/// The connections that workers which retired together left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescueStatus {
    /// The number of the retirement, from 0.
    pub retirement: u64,
    /// The rescuer's pid, while it runs.
    pub pid: Option<u32>,
    /// The workers whose connections are all done.
    pub workers: Vec<u64>,
    /// Connections that were held, or accepted in a worker's stead.
    pub held: u64,
    /// Those that the worker brought to their end.
    pub finished: u64,
    /// Those that were left to their workers until these stopped, because their clients are on other hosts.
    #[serde(default)]
    pub left: u64,
    /// Requests that were passed on and answered.
    pub rescued: u64,
    /// Those that were idle until they were closed.
    pub idle: u64,
    /// Those that were closed although something may have been lost.
    pub given_up: u64,
    /// Why.
    pub reasons: BTreeMap<String, u64>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// Its address.
    pub address: String,
    /// Listeners in its group.
    pub listeners: u32,
    /// Listeners that get new connections.
    pub live: u32,
    /// Connections not yet accepted, over all listeners.
    pub queue: u64,
    /// Open connections of all workers; none where that cannot be read.
    pub connections: Option<u64>,
}

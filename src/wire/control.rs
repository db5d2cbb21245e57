//! The control protocol: one JSON object a line, both ways, over a Unix stream socket.
//!
//! A client sends one [`Request`] and reads [`Reply`] lines until one that is
//! [final](Reply::is_final). The supervisor sends nothing without a request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The longest request line that is read, in bytes. A client that sends more is hung up on.
pub const MAX_REQUEST: usize = 4096;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What runs, and how it is.
    Status,
    /// Replace every worker by a new generation.
    Reload {
        /// Wait for a change that is under way, do not be denied for it.
        #[serde(default, skip_serializing_if = "is_not")]
        wait: bool,
        /// The new generation may serve other addresses than the one before.
        #[serde(default, skip_serializing_if = "is_not")]
        accept_changes: bool,
    },
    /// The new workers of a reload are good: those of before do not stand by any longer.
    Promote,
    /// What served before the last reload serves again.
    Rollback,
    /// End the supervisor: `now` kills, else the workers drain.
    Stop {
        /// Do not drain.
        #[serde(default)]
        now: bool,
    },
    /// Change the number of workers.
    Scale {
        /// The new number, or the difference.
        to: Scale,
    },
    /// Replace one worker.
    Restart {
        /// The worker's id, as in `status`.
        worker: u64,
    },
}

/// How many workers there shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// That many.
    Exactly(u32),
    /// So many more.
    Up(u32),
    /// So many fewer.
    Down(u32),
}

/// What the supervisor answers, a line each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// A change has come to a new phase; more lines follow.
    Phase {
        /// Milliseconds since the change was requested.
        after_ms: u64,
        /// The phase's name: `waiting` (its turn), `starting`, `serving`, `soaking`, `settling`, `quiescing`, `draining`,
        /// `gone`.
        phase: String,
        /// What it is about, for a person: how many workers of which generation.
        detail: String,
    },
    /// The change is done. Final.
    Done {
        /// A sentence.
        message: String,
    },
    /// The change failed, and everything is as it was before. Final.
    Failed {
        /// A sentence: what failed, and why.
        message: String,
    },
    /// The request was not understood or cannot be done now; nothing was changed. Final.
    Denied {
        /// A sentence.
        message: String,
    },
    /// The answer to [`Request::Status`]. Final.
    Status(Box<Status>),
}

impl Reply {
    /// Whether no more lines follow.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Phase { .. })
    }
}

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
    /// `starting`, `serving`, `reloading`, `soaking` or `stopping`.
    pub phase: String,
    /// How many workers there should be.
    pub workers_wanted: u32,
    /// Reloads that ended with the new generation serving, since the start.
    pub reloads: u64,
    /// Reloads that were rolled back, since the start.
    pub reloads_failed: u64,
    /// How new connections are kept from old workers: `ebpf`, `cbpf` or `none` (`--steering`).
    #[serde(default)]
    pub steering: String,
    /// Why they are not, although that was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steering_refused: Option<String>,
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
    /// Its part of the connections that the kernel still knows on the managed endpoints (open, or
    /// closed within the last minute), 0 to 1; none where there are no such connections, and where
    /// it shares its queue, for of a closed connection only the queue is known.
    pub share: Option<f64>,
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

/// Reads one request line (without its newline).
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_request(line: &[u8]) -> Result<Request, String> {
    serde_json::from_slice(line).map_err(|error| format!("the request is not understood: {error}"))
}

/// One reply as a line, with its newline.
pub fn reply_line(reply: &Reply) -> Vec<u8> {
    line(reply)
}

/// One request as a line, with its newline.
pub fn request_line(request: &Request) -> Vec<u8> {
    line(request)
}

/// Reads one reply line.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_reply(line: &[u8]) -> Result<Reply, String> {
    serde_json::from_slice(line).map_err(|error| format!("the reply is not understood: {error}"))
}

/// For what is left out where it is not so: a supervisor of an older version would not understand it.
fn is_not(flag: &bool) -> bool {
    !flag
}

fn line(message: &impl Serialize) -> Vec<u8> {
    // These types hold no map with keys that are not strings, the one thing that JSON refuses.
    let mut bytes = serde_json::to_vec(message).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

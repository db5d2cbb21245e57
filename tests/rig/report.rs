//! What a trial prints: one line of JSON, to be judged by whoever ran it.

use serde::{Deserialize, Serialize};

use super::load::Outcome;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was run, as it was asked for.
    pub server: String,
    /// How the supervisor steers new connections, as its status says; empty without one.
    pub steering: String,
    /// The supervisor's exit code; none if a signal ended it or there was none.
    pub exit: Option<i32>,
    /// From the reload command's start to its end, for each reload.
    pub reloads_ms: Vec<u64>,
    /// From a worker's death to the full number serving again, for each kill.
    pub kills_ms: Vec<u64>,
    /// How many connections the killed workers had accepted and not closed, all kills together.
    pub killed_connections: u64,
    /// From the scale command's start to that number serving and none other, for each scaling.
    pub scales_ms: Vec<u64>,
    /// How the requests went.
    pub outcome: Outcome,
}

//! What became of connections.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The client went amid its request or the answer.
pub const CLIENT_BROKE: &str = "client-broke";
/// The client did not go on with its request.
pub const TIME_OUT: &str = "time-out";

/// What became of a worker's connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Connections that were held or accepted.
    pub held: u64,
    /// Connections that the worker itself brought to their end.
    pub finished: u64,
    /// Requests that were passed on and answered.
    pub rescued: u64,
    /// Connections that were idle until the client closed them or their time was up.
    pub idle: u64,
    /// Connections that were closed although something may have been lost.
    pub given_up: u64,
    /// Why those were given up.
    pub reasons: BTreeMap<String, u64>,
}

impl Tally {
    /// On how many connections a request may have been lost.
    pub fn perhaps_lost(&self) -> u64 {
        let own = [CLIENT_BROKE, TIME_OUT].map(|reason| self.reasons.get(reason).copied());
        let own: u64 = own.into_iter().flatten().sum();
        self.given_up.saturating_sub(own)
    }
}

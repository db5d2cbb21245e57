//! How much is measured, and with what.

use std::time::Duration;

use super::super::super::load::{Pace, Reuse, Spacing};

/// How much is measured, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Rounds, in which all subjects take turns.
    pub rounds: u32,
    /// How long requests are counted in a round.
    pub length: Duration,
    /// How long a subject serves as fast as it can before anything is asked of it that counts: a
    /// just-in-time compiler of four workers needs seconds, in which a server is half as fast.
    pub first_load: Duration,
    /// How long requests are made before they count.
    pub warm_up: Duration,
    /// Workers of every subject.
    pub workers: u32,
    /// Connections at a time.
    pub connections: usize,
    /// Requests a second where the load is not to fill the machine.
    pub rate: f64,
    /// Reloads in a row.
    pub reloads: usize,
    /// After so long no further reload begins, if there were a few.
    pub longest: Duration,
    /// Workers of each subject that are killed, one after the other.
    pub kills: usize,
    /// Windows of each server in a round, wrapped and bare.
    pub windows: usize,
    /// How long each is.
    pub window: Duration,
    /// Numbers of workers with which supervisors are started and reloaded.
    pub scales: &'static [u32],
    /// Of every random choice.
    pub seed: u64,
}

impl Extent {
    /// So many requests a second, at random times as many users would make them.
    pub fn moderate(&self) -> Pace {
        Pace::Open {
            per_second: self.rate,
            spacing: Spacing::Exponential,
        }
    }
}

/// Both ways in which clients use connections.
pub const REUSES: [Reuse; 2] = [Reuse::Fresh, Reuse::KeepAlive];

/// How clients use their connections, in words.
pub fn name_of(reuse: Reuse) -> &'static str {
    match reuse {
        Reuse::Fresh => "fresh",
        Reuse::KeepAlive => "keep-alive",
    }
}

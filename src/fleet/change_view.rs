//! The change that is under way, as outsiders may see it. Part of the [vocabulary](super::vocabulary).

use core::time::Duration;

use super::vocabulary::{ChangeKind, Generation, Milestone, WorkerId};

/// The change that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeView {
    /// What it is.
    pub kind: ChangeKind,
    /// The generation that it starts, or that it is about.
    pub generation: Generation,
    /// Time since it began.
    pub after: Duration,
    /// What it waits for.
    pub waits_for: WaitsFor,
}

/// What a change waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// What it is to start is being read.
    Deployment,
    /// These workers are to become ready.
    Ready(Vec<WorkerId>),
    /// All are ready, and are to stay so for so long.
    Uptime(Duration),
    /// Workers that it, or a change before it, has replaced are to end: there is no room for more.
    Room,
    /// The end of the trial; none: until somebody asks for it.
    Trial(Option<Duration>),
    /// The end of the soak.
    Soak(Duration),
    /// These old workers, the least advanced of which is there.
    Old(Milestone, Vec<WorkerId>),
}

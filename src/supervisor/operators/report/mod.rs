//! The messages for people: one line an event in the log, one sentence to a client that waits.
//!
//! | file | what it tells of |
//! | --- | --- |
//! | `worker_event` | what happens to a worker |
//! | `recycling` | why a worker is recycled |
//! | `progress` | how far a change has come |
//! | `stop` | what the end waits for |
//! | `change_result` | how a change ended |
//! | `denial` | why it is not begun |
//! | `phrase` | parts of their sentences |

mod change_result;
mod denial;
mod phrase;
mod progress;
mod recycling;
mod stop;
mod worker_event;

pub(crate) use phrase::health;
pub(super) use phrase::{seconds, workers};
pub(crate) use progress::{
    progress_reply, progress_sentence, progress_status, wait_reply, wait_sentence,
};
pub(crate) use recycling::reached;
pub(crate) use stop::stop_reply;

use crate::config::Config;
use crate::fleet::WorkerId;
use crate::supervisor::listeners::Listeners;
use crate::supervisor::output::Output;
use crate::supervisor::workers::Workers;
use crate::supervisor::workers::probe::Probes;

/// What sentences are made of.
pub(crate) struct Reporter<'a> {
    pub(crate) config: &'a Config,
    pub(crate) workers: &'a Workers,
    pub(crate) probes: &'a Probes,
    pub(crate) listeners: &'a Listeners,
    pub(crate) output: &'a Output,
    /// Why new connections are not steered although that was wanted.
    pub(crate) steering_refused: Option<&'a str>,
}

impl Reporter<'_> {
    /// What a worker was made by.
    fn config_of(&self, worker: WorkerId) -> &Config {
        self.workers.config(worker).unwrap_or(self.config)
    }
}

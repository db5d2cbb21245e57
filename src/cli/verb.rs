//! The verbs of `reuseport-ctl`: what each asks of a supervisor.

use std::time::{Duration, Instant};

use clap::Subcommand;

use super::duration::positive;
use super::value;
use crate::wire::control::{Canary, Request, Scale};

/// How long a status may take.
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Verb {
    /// Show workers, queues and connections
    Status {
        /// As one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Replace all workers; wait until the old ones are gone
    ///
    /// Prints each phase as it passes, with the milliseconds since the reload was asked for. If
    /// the new workers do not become ready, the old ones serve on, and the exit code is 1. While
    /// another change is under way it is denied; --wait is for its turn. New workers that do not
    /// listen on all addresses of the service are not ready, unless --accept-changes says that
    /// the addresses may change; what nobody listens on any more is closed then.
    Reload {
        /// Return as soon as the new workers serve
        #[arg(long)]
        no_wait: bool,
        /// Wait for a change that is under way, and reload then
        #[arg(long)]
        wait: bool,
        /// Let the new workers serve other addresses than the old ones
        #[arg(long)]
        accept_changes: bool,
        /// Try one new worker first: it gets P of a hundred new connections
        ///
        /// When it dies, or by rollback, it is withdrawn, and the reload has failed. The others follow after
        /// --for, or by promote.
        #[arg(long, value_name = "P%", value_parser = value::canary_percent)]
        canary: Option<u32>,
        /// Try so many workers [default: 1]
        #[arg(long, value_name = "N", requires = "canary", value_parser = value::workers)]
        canary_workers: Option<u32>,
        /// How long the trial takes [default: until promote or rollback]
        #[arg(long = "for", value_name = "TIME", requires = "canary", value_parser = positive)]
        hold: Option<Duration>,
    },
    /// Let a trial (reload --canary) go on until promote or rollback
    Pause,
    /// End a trial or a soak: the new workers stay
    ///
    /// After a trial (reload --canary) the rest follows; after a soak (--soak) the old ones that stand by retire.
    Promote,
    /// End a trial or a soak: the old workers stay
    ///
    /// The old workers have all new connections again at once; the new ones end as old ones do. Prints each
    /// phase as it passes, and returns when they are gone. The reload has failed.
    Rollback,
    /// Let the workers drain, then end the supervisor
    Stop {
        /// Do not drain: kill them
        #[arg(long)]
        now: bool,
    },
    /// Change the number of workers
    Scale {
        /// N workers, N more or N fewer
        #[arg(value_name = "N|+N|-N", allow_hyphen_values = true, value_parser = value::scale)]
        to: Scale,
    },
    /// Replace one worker, with those that share its queue
    Restart {
        /// The number in the WORKER column of status
        worker: u64,
    },
}

impl Verb {
    pub(super) fn request(self) -> Request {
        match self {
            Self::Status { .. } => Request::Status,
            Self::Reload {
                wait,
                accept_changes,
                canary,
                canary_workers,
                hold,
                ..
            } => Request::Reload {
                wait,
                accept_changes,
                canary: canary.map(|percent| Canary {
                    percent,
                    workers: canary_workers.unwrap_or(1),
                    for_ms: hold.map(|hold| u64::try_from(hold.as_millis()).unwrap_or(u64::MAX)),
                }),
            },
            Self::Pause => Request::Pause,
            Self::Promote => Request::Promote,
            Self::Rollback => Request::Rollback,
            Self::Stop { now } => Request::Stop { now },
            Self::Scale { to } => Request::Scale { to },
            Self::Restart { worker } => Request::Restart { worker },
        }
    }

    /// Only a status is owed at once; the rest takes as long as workers take.
    pub(super) fn deadline(self) -> Option<Instant> {
        matches!(self, Self::Status { .. }).then(|| Instant::now() + STATUS_TIMEOUT)
    }
}

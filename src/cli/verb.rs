//! The verbs of `reuseport-ctl`: what each asks of a supervisor.

use std::time::{Duration, Instant};

use clap::Subcommand;

use super::exit::Exit;
use super::reload::ReloadArguments;
use super::value;
use crate::wire::control::{Request, Scale};

/// How long a status may take.
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Verb {
    /// Show workers, queues and connections
    Status {
        /// As one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Replace all workers; wait until the old ones are gone
    ///
    /// The options, files and links are read anew; what makes no sense changes nothing. Prints each phase as it passes, with the milliseconds since the reload was asked for. If
    /// the new workers do not become ready, the old ones serve on, and the exit code is 1. While
    /// another change is under way it is denied; --wait is for its turn. New workers that do not
    /// listen on all addresses of the service are not ready, unless --accept-changes says that
    /// the addresses may change; what nobody listens on any more is closed then.
    Reload(ReloadArguments),
    /// Let a trial (reload --canary) go on until promote or rollback
    Pause,
    /// End a trial or a soak: the new workers stay
    ///
    /// After a trial (reload --canary) the rest follows; after a soak (--soak) the old ones that stand by retire.
    Promote,
    /// Go back to what served before the last reload
    ///
    /// In a trial or a soak the old workers have all new connections again at once; the new ones end as old ones do. Prints each
    /// phase as it passes, and returns when they are gone. The reload has failed. When there is neither, what served
    /// before the last reload is started again as a generation of its own: the command, the environment and the
    /// directory as they were then.
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
    /// # Errors
    /// A usage error: what is asked for cannot be sent.
    pub(super) fn request(&self) -> Result<Request, Exit> {
        Ok(match self {
            Self::Status { .. } => Request::Status,
            Self::Reload(reload) => Request::Reload(reload.request()?),
            Self::Pause => Request::Pause,
            Self::Promote => Request::Promote,
            Self::Rollback => Request::Rollback,
            Self::Stop { now } => Request::Stop { now: *now },
            Self::Scale { to } => Request::Scale { to: *to },
            Self::Restart { worker } => Request::Restart { worker: *worker },
        })
    }

    /// Only a status is owed at once; the rest takes as long as workers take.
    pub(super) fn deadline(&self) -> Option<Instant> {
        matches!(self, Self::Status { .. }).then(|| Instant::now() + STATUS_TIMEOUT)
    }
}

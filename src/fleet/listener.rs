//! A listener, as its worker has it: how it got it, whether it uses it, and whether the next one owes it.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::policy::ReadyWhen;
use super::vocabulary::Endpoint;

/// A listener, as its worker has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listener {
    pub(super) endpoint: Endpoint,
    pub(super) origin: Origin,
    pub(super) usage: Usage,
    pub(super) duty: Duty,
}

/// How a worker got a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Origin {
    /// It bound a socket, or will.
    Bound,
    /// It bound a socket, and a listener of its set took the place of that. It need not call listen(2) any more: some
    /// servers look whether a socket listens already.
    Kept,
    /// It was passed at the start (`LISTEN_FDS`).
    Passed,
}

impl Origin {
    /// The origin of a listener that has taken the place of a socket of the worker.
    pub(super) fn in_place(self) -> Self {
        match self {
            Self::Bound | Self::Kept => Self::Kept,
            Self::Passed => Self::Passed,
        }
    }

    /// Whether only a probe can tell that the worker uses it.
    pub(super) fn is_probed(self, ready: ReadyWhen) -> bool {
        match (self, ready) {
            (Self::Bound, _) | (Self::Passed, ReadyWhen::Notified) => false,
            (Self::Passed, ReadyWhen::Listening | ReadyWhen::Probed) | (Self::Kept, _) => true,
        }
    }

    /// The origin for the next worker, which has done nothing yet.
    pub(super) fn of_successor(self) -> Self {
        match self {
            Self::Bound | Self::Kept => Self::Bound,
            Self::Passed => Self::Passed,
        }
    }
}

/// Whether a worker uses a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Usage {
    /// The listener was made or kept for the worker.
    Given,
    /// The worker listens on it.
    Listening,
    /// The worker listened on it, and was seen to have let go of it.
    LetGo,
}

/// Whether those that come after a worker have to listen where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Duty {
    /// The worker listened before it was ready: the service is there.
    Owed,
    /// The worker began so long after it was ready, as with an inspector that was asked for: nobody owes that.
    Extra { after: Duration },
}

/// A worker that is ready as soon as it listens may go on to listen elsewhere: what follows that soon is no less a part
/// of the service than what came first.
const SAME_START: Duration = Duration::from_millis(250);

/// What a worker opened this soon after it was ready may be a part of every start: the next one gets as long for it.
pub(super) const LATE_START: Duration = Duration::from_secs(1);

impl Duty {
    /// The duty of what a worker opens that has been ready for so long.
    pub(super) fn opened(after: Option<Duration>, ready: ReadyWhen) -> Self {
        let soon = match ready {
            ReadyWhen::Listening => SAME_START,
            ReadyWhen::Notified | ReadyWhen::Probed => Duration::ZERO,
        };
        match after {
            Some(after) if after > soon => Self::Extra { after },
            Some(_) | None => Self::Owed,
        }
    }

    /// Whether the next worker is given some time for it, although it does not owe it.
    pub(super) fn may_follow_soon(self) -> bool {
        match self {
            Self::Owed => true,
            Self::Extra { after } => after <= LATE_START,
        }
    }
}

//! What a call of bind or listen has changed.

use crate::fleet::{Endpoint, Event, ListenerId, WorkerId};

/// What a call has changed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// The worker's socket is a listener of its set now.
    Shared {
        listener: ListenerId,
        endpoint: Endpoint,
    },
    /// The worker listens.
    Listened {
        listener: ListenerId,
        endpoint: Endpoint,
        membership: Membership,
    },
}

impl Change {
    /// The change as the fleet hears of it.
    pub(crate) fn event(self, worker: WorkerId) -> Event {
        match self {
            Self::Shared { listener, endpoint } => Event::Shared {
                worker,
                listener,
                endpoint,
            },
            Self::Listened {
                listener, endpoint, ..
            } => Event::Listened {
                worker,
                listener,
                endpoint,
            },
        }
    }

    /// The listener that has joined its group.
    pub(crate) fn joined(self) -> Option<ListenerId> {
        match self {
            Self::Listened {
                listener,
                membership: Membership::Joined,
                ..
            } => Some(listener),
            Self::Listened { .. } | Self::Shared { .. } => None,
        }
    }
}

/// What a call of listen(2) did to the listener's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    /// The listener has joined it.
    Joined,
    /// The listener was in it already.
    Kept,
}

//! Whether the worker may read what comes on a connection that is watched.
//!
//! | state | `PrepareStop` | the worker must have it back | readers were looked for, and found or not needed |
//! | --- | --- | --- | --- |
//! | `Unanswered` | - | - | - |
//! | `Frozen` | keeps a copy of what is unread, if a thread sleeps in a read | `Thawing` | - |
//! | `Thawing` | - | - | `Thawed` |
//! | `Thawed` | - | - | - |
//!
//! `Unanswered` becomes `Frozen` with the first answer.

use std::time::Instant;

use super::lost_reads::ReadCopy;
use super::readers::Reader;
use super::request_tracker::{BLOCKED_AFTER, RequestTracker};

#[derive(Debug)]
pub(super) enum State {
    /// Nobody follows the worker, which has not answered on it yet: so it may still read.
    Unanswered,
    Frozen {
        /// What a thread that sleeps in a read would take along when it is killed.
        copy: Option<ReadCopy>,
    },
    /// The connection has thawed, but a read that began while it was frozen may sleep on.
    Thawing {
        since: Instant,
    },
    Thawed,
}

impl State {
    pub(super) fn awaits_answer(&self) -> bool {
        matches!(self, Self::Unanswered)
    }

    pub(super) fn is_frozen(&self) -> bool {
        matches!(self, Self::Frozen { .. })
    }

    pub(super) fn copy(&self) -> Option<&ReadCopy> {
        match self {
            Self::Frozen { copy } => copy.as_ref(),
            Self::Unanswered | Self::Thawing { .. } | Self::Thawed => None,
        }
    }

    pub(super) fn copy_mut(&mut self) -> Option<&mut ReadCopy> {
        match self {
            Self::Frozen { copy } => copy.as_mut(),
            Self::Unanswered | Self::Thawing { .. } | Self::Thawed => None,
        }
    }

    pub(super) fn may_have_blocked_reader(&self, tracker: &RequestTracker, now: Instant) -> bool {
        match self {
            Self::Frozen { .. } => tracker.may_have_blocked_reader(now),
            Self::Thawing { .. } => true,
            Self::Unanswered | Self::Thawed => false,
        }
    }

    /// Readers were looked for, and this one was found.
    pub(super) fn readers_looked_for(
        &mut self,
        now: Instant,
        reader: Option<Reader>,
        is_answered: impl Fn() -> bool,
    ) {
        match self {
            Self::Thawing { since } => {
                let has_settled = now.saturating_duration_since(*since) >= BLOCKED_AFTER;
                if reader.is_some() || (has_settled && is_answered()) {
                    *self = Self::Thawed;
                }
            }
            Self::Unanswered | Self::Frozen { .. } | Self::Thawed => {}
        }
    }
}

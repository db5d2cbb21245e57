//! What a connection's own bytes have shown of the protocol: pure.
//!
//! | state | other evidence | [`Speech::take`] |
//! | --- | --- | --- |
//! | `Unheard` | `Heard` | - |
//! | `Heard` | `Heard` | `Told` |
//! | `Told` | `Heard` | - |

use std::time::Instant;

use super::evidence::Evidence;
use super::request_tracker::RequestTracker;
use crate::wire::rescue::Protocol;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Speech {
    #[default]
    Unheard,
    Heard(Evidence),
    /// The endpoint's other connections know of it.
    Told(Evidence),
}

impl Speech {
    /// Notes what unread bytes show, after the look that has found them.
    pub(super) fn hear(&mut self, bytes: &[u8], tracker: &RequestTracker, now: Instant) {
        let heard = Evidence::of(bytes, tracker.last(), tracker.response_due(now));
        match (*self, heard) {
            (_, None) => {}
            (Self::Heard(before) | Self::Told(before), Some(evidence)) if before == evidence => {}
            (_, Some(evidence)) => *self = Self::Heard(evidence),
        }
    }

    /// What was heard, once.
    pub(super) fn take(&mut self) -> Option<Evidence> {
        match *self {
            Self::Heard(evidence) => {
                *self = Self::Told(evidence);
                Some(evidence)
            }
            Self::Unheard | Self::Told(_) => None,
        }
    }

    /// What is spoken; none: nothing was heard.
    pub(super) fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Unheard => None,
            Self::Heard(evidence) | Self::Told(evidence) => Some(evidence.protocol()),
        }
    }
}

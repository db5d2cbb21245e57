//! What becomes of a connection that its worker has closed, or died with: pure.
//!
//! The client must see what the client would have seen without a rescuer, but for a request that
//! nobody has read. So a close that the worker wanted, or that ends an answer, is passed on at once:
//! an answer without a length ends with the close. Only a connection that was idle when the worker
//! was told to stop is adopted.
//!
//! The rows are tried from top to bottom. The order is policy: a connection in the middle of a
//! message must be given up before anything is asked of answers, because the counters of an upload
//! look like those of an idle connection.
//!
//! | what was seen | the worker wanted to close | the worker was stopping, or died |
//! | --- | --- | --- |
//! | unread bytes that begin no request | as below | `GiveUp("not-http")` |
//! | an answer is due | `Close` | `GiveUp("in-flight")` |
//! | nothing unread, and the client has closed | `Close` | `Close` |
//! | an answer since the stop, nothing unread | - | `Close`, or `AdoptAnswered` if the answer was due by then |
//! | an answer since the stop, bytes unread | - | `CloseLingering`, or `Adopt` if the answer was due by then |
//! | the worker sends without being asked, nothing unread | `Close` | `Close`, unless an answer was due by the stop |
//! | no request unread | `Close` | `Adopt` |
//! | a request unread | `Adopt` | `Adopt` |
//!
//! Where it is not clear whether an answer is due, `Adopt` is `AdoptInDoubt`.
//!
//! No request is unread, and `Adopt` would be for a client whose next request cannot be passed on, or may not be:
//! where HTTP/1 is not spoken, that is `CloseIdle`; where nobody knows what is spoken, `AdoptBriefly`.
//!
//! An answer that was due when the stop was prepared may have been written before the worker knew of the stop,
//! so it need not say that the connection ends: the client may ask on.

use std::time::Instant;

use super::adoption::Adoption;
use super::request_tracker::{RequestTracker, ResponseDue};
use super::tallies::Outcome;
use crate::wire::http::Beginning;
use crate::wire::rescue::Protocol;

/// A close this long after the last byte of an answer, in milliseconds, is not the answer's end.
const LAST_RESPONSE_WITHIN_MS: u32 = 1000;

/// Why the worker closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseCause {
    /// The worker wanted to.
    Voluntary,
    /// The worker was told to stop, or has died.
    Stopping {
        /// The bytes that the worker had written when it was told.
        written: u64,
        /// Whether the worker owed an answer then.
        owed: bool,
    },
}

impl CloseAction {
    /// What has become of the connection by now.
    pub(super) fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Close | Self::Leave | Self::CloseLingering => Some(Outcome::Finished),
            Self::GiveUp(reason) => Some(Outcome::GivenUp(reason)),
            Self::CloseIdle => Some(Outcome::Idle),
            Self::Adopt | Self::AdoptBriefly | Self::AdoptInDoubt | Self::AdoptAnswered => None,
        }
    }

    /// How the connection is adopted.
    pub(super) fn adoption(self) -> Option<Adoption> {
        match self {
            Self::Adopt => Some(Adoption::Idle),
            Self::AdoptBriefly => Some(Adoption::Brief),
            Self::AdoptInDoubt => Some(Adoption::InDoubt),
            Self::AdoptAnswered => Some(Adoption::Answered),
            Self::CloseLingering => Some(Adoption::Lingering),
            Self::Close | Self::CloseIdle | Self::Leave | Self::GiveUp(_) => None,
        }
    }

    /// What is to be done where the connection's requests must not be passed on.
    pub(super) fn without_adoption(self) -> Self {
        match self {
            Self::Adopt | Self::AdoptBriefly | Self::AdoptInDoubt | Self::AdoptAnswered => {
                Self::Leave
            }
            Self::Close
            | Self::CloseIdle
            | Self::Leave
            | Self::CloseLingering
            | Self::GiveUp(_) => self,
        }
    }

    /// What is to be done where this is spoken and no request is unread.
    pub(super) fn without_request(self, protocol: Protocol) -> Self {
        match (self, protocol) {
            (
                Self::Adopt | Self::AdoptBriefly | Self::AdoptInDoubt | Self::AdoptAnswered,
                Protocol::Opaque,
            ) => Self::CloseIdle,
            (Self::Adopt | Self::AdoptInDoubt | Self::AdoptAnswered, Protocol::Unknown) => {
                Self::AdoptBriefly
            }
            (_, Protocol::Http1)
            | (Self::AdoptBriefly, Protocol::Unknown)
            | (
                Self::Close
                | Self::CloseIdle
                | Self::Leave
                | Self::CloseLingering
                | Self::GiveUp(_),
                _,
            ) => self,
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseAction {
    /// Keep the connection, and answer what comes.
    Adopt,
    /// Keep the connection as long as a request may take that was under way.
    AdoptBriefly,
    /// Keep the connection until the kernel tells whether the worker has died with a request.
    AdoptInDoubt,
    /// Keep the connection for a moment: the client has an answer that may not have been the last.
    AdoptAnswered,
    /// Close the connection: the worker was done with it.
    Close,
    /// Close the connection, which was idle: its client's next request could not be passed on.
    CloseIdle,
    /// Close the connection, whose requests must not be passed on, where it would be adopted else.
    Leave,
    /// Close the connection, and let the client read the last answer in spite of what the client
    /// has sent since.
    CloseLingering,
    /// Close the connection: what it was about died with the worker.
    GiveUp(&'static str),
}

pub(super) fn close_action(
    now: Instant,
    tracker: &RequestTracker,
    cause: CloseCause,
) -> CloseAction {
    let adopt = match tracker.response_due(now) {
        ResponseDue::Yes => {
            return match cause {
                CloseCause::Voluntary => CloseAction::Close,
                CloseCause::Stopping { .. } if tracker.is_mid_message() => {
                    CloseAction::GiveUp("not-http")
                }
                CloseCause::Stopping { .. } => CloseAction::GiveUp("in-flight"),
            };
        }
        ResponseDue::No => CloseAction::Adopt,
        ResponseDue::Unclear => CloseAction::AdoptInDoubt,
    };
    match cause {
        CloseCause::Voluntary if has_request(tracker) => adopt,
        CloseCause::Voluntary => CloseAction::Close,
        CloseCause::Stopping { written, owed } => {
            after_stop(now, tracker, written, owed).unwrap_or(adopt)
        }
    }
}

/// What is to be done when the worker was stopping and no answer is due; none: adopt.
fn after_stop(
    now: Instant,
    tracker: &RequestTracker,
    written: u64,
    owed: bool,
) -> Option<CloseAction> {
    let counters = tracker.last();
    let has_answered = counters.written > written && counters.sent_ago < LAST_RESPONSE_WITHIN_MS;
    let has_nothing_unread = counters.unread == 0;
    let is_over = (has_nothing_unread && counters.is_closed) || (!owed && tracker.is_sending(now));
    if tracker.is_mid_message() {
        Some(CloseAction::GiveUp("not-http"))
    } else if is_over {
        Some(CloseAction::Close)
    } else if !has_answered {
        None
    } else if has_nothing_unread {
        Some(if owed {
            CloseAction::AdoptAnswered
        } else {
            CloseAction::Close
        })
    } else {
        (!owed).then_some(CloseAction::CloseLingering)
    }
}

/// Whether bytes are unread that are a request, or may become one.
pub(super) fn has_request(tracker: &RequestTracker) -> bool {
    tracker.last().unread > 0 && tracker.unread() != Beginning::Other
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::tcp::TcpCounters;

    const IDLE: TcpCounters = TcpCounters {
        unread: 0,
        unsent: 0,
        received: 100,
        written: 100,
        received_ago: 50,
        sent_ago: 40,
        is_unacknowledged: false,
        is_interactive: true,
        ack_delay: 40,
        round_trip: 100,
        is_closed: false,
    };
    const STOPPING: CloseCause = CloseCause::Stopping {
        written: 100,
        owed: false,
    };

    fn of(counters: TcpCounters, unread: Beginning, cause: CloseCause) -> CloseAction {
        let now = Instant::now();
        close_action(now, &RequestTracker::new(now, counters, unread), cause)
    }

    #[test]
    fn idle_ones_and_unread_requests_are_kept() {
        let waiting = TcpCounters { unread: 9, ..IDLE };
        assert_eq!(of(IDLE, Beginning::Undecided, STOPPING), CloseAction::Adopt);
        assert_eq!(
            of(waiting, Beginning::Request, STOPPING),
            CloseAction::Adopt
        );
        assert_eq!(
            of(waiting, Beginning::Request, CloseCause::Voluntary),
            CloseAction::Adopt
        );
        let answered_long_ago = TcpCounters {
            written: 200,
            sent_ago: 2000,
            received_ago: 2100,
            ..IDLE
        };
        assert_eq!(
            of(answered_long_ago, Beginning::Undecided, STOPPING),
            CloseAction::Adopt
        );
    }

    #[test]
    fn a_close_of_the_workers_own_is_passed_on() {
        assert_eq!(
            of(IDLE, Beginning::Undecided, CloseCause::Voluntary),
            CloseAction::Close
        );
        let last = TcpCounters {
            written: 200,
            ..IDLE
        };
        assert_eq!(of(last, Beginning::Undecided, STOPPING), CloseAction::Close);
        let pipelined = TcpCounters { unread: 9, ..last };
        assert_eq!(
            of(pipelined, Beginning::Request, STOPPING),
            CloseAction::CloseLingering
        );
    }

    #[test]
    fn what_the_worker_had_begun_dies_with_it() {
        let due = TcpCounters {
            received_ago: 10,
            ..IDLE
        };
        assert_eq!(
            of(due, Beginning::Undecided, STOPPING),
            CloseAction::GiveUp("in-flight")
        );
        let half = TcpCounters { unread: 9, ..IDLE };
        assert_eq!(
            of(half, Beginning::Other, STOPPING),
            CloseAction::GiveUp("not-http")
        );
    }

    #[test]
    fn a_stream_that_was_cut_is_ended() {
        let events = TcpCounters {
            received_ago: 5_000,
            sent_ago: 150,
            ..IDLE
        };
        let action = of(events, Beginning::Undecided, STOPPING);
        assert_eq!(action, CloseAction::Close);
        let asks_on = TcpCounters {
            unread: 9,
            ..events
        };
        let action = of(asks_on, Beginning::Request, STOPPING);
        assert_eq!(action, CloseAction::Adopt);
    }

    #[test]
    fn only_what_is_known_to_be_http_is_kept() {
        let keeping = [
            CloseAction::Adopt,
            CloseAction::AdoptInDoubt,
            CloseAction::AdoptAnswered,
        ];
        for action in keeping {
            assert_eq!(action.without_request(Protocol::Http1), action);
            let unknown = action.without_request(Protocol::Unknown);
            assert_eq!(unknown, CloseAction::AdoptBriefly);
            let opaque = action.without_request(Protocol::Opaque);
            assert_eq!(opaque, CloseAction::CloseIdle);
        }
        let close = CloseAction::CloseLingering.without_request(Protocol::Opaque);
        assert_eq!(close, CloseAction::CloseLingering);
    }

    #[test]
    fn a_client_that_has_left_is_let_go() {
        let left = TcpCounters {
            is_closed: true,
            ..IDLE
        };
        assert_eq!(of(left, Beginning::Undecided, STOPPING), CloseAction::Close);
    }

    #[test]
    fn who_got_an_answer_that_was_due_by_the_stop_may_ask_on() {
        let owed = CloseCause::Stopping {
            written: 100,
            owed: true,
        };
        let answered = TcpCounters {
            written: 200,
            received_ago: 12,
            sent_ago: 10,
            ..IDLE
        };
        let asks_on = TcpCounters {
            unread: 9,
            ..answered
        };
        assert_eq!(
            of(answered, Beginning::Undecided, STOPPING),
            CloseAction::Close
        );
        assert_eq!(
            of(answered, Beginning::Undecided, owed),
            CloseAction::AdoptAnswered
        );
        assert_eq!(
            of(asks_on, Beginning::Request, STOPPING),
            CloseAction::CloseLingering
        );
        assert_eq!(of(asks_on, Beginning::Request, owed), CloseAction::Adopt);
    }
}

//! What becomes of a connection that its worker has closed, or died with: pure.
//!
//! The client must see what it would have seen, but for a request that nobody has read. So a close
//! that is the worker's own wish, or the end of an answer, is passed on at once: an answer without
//! a length ends with it. Only a connection that was idle when the worker was told to stop is connection.

use std::time::Instant;

use super::request_tracker::{RequestTracker, ResponseDue};
use crate::wire::http::Beginning;

/// A close this long after the last byte of an answer, in milliseconds, is not its end.
const LAST_RESPONSE_WITHIN_MS: u32 = 1000;

/// What the worker had been through when it let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseCause {
    /// It closed because it wanted to.
    Voluntary,
    /// It was told to stop, or is dead; so many bytes had it written by then.
    Stopping {
        /// The bytes that it had written when it was told.
        written: u64,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseAction {
    /// Keep it, and answer what comes.
    Adopt,
    /// Close it: the worker was done with it.
    Close,
    /// Close it, and let the client read the last answer in spite of what it has sent since.
    CloseLingering,
    /// Close it: what it was about died with the worker.
    GiveUp(&'static str),
}

/// Decides.
pub(super) fn close_action(
    now: Instant,
    tracker: &RequestTracker,
    cause: CloseCause,
) -> CloseAction {
    let counters = tracker.last();
    let has_request = counters.unread > 0 && tracker.unread() != Beginning::Other;
    let is_voluntary = cause == CloseCause::Voluntary;
    match tracker.response_due(now) {
        _ if tracker.is_mid_message() && !is_voluntary => CloseAction::GiveUp("not-http"),
        ResponseDue::Yes if is_voluntary => CloseAction::Close,
        ResponseDue::Yes => CloseAction::GiveUp("in-flight"),
        _ if counters.is_closed && counters.unread == 0 => CloseAction::Close,
        _ if is_voluntary && !has_request => CloseAction::Close,
        _ if has_just_answered(tracker, cause) && counters.unread == 0 => CloseAction::Close,
        _ if has_just_answered(tracker, cause) => CloseAction::CloseLingering,
        _ => CloseAction::Adopt,
    }
}

/// Whether the close belongs to an answer that was given after all.
fn has_just_answered(tracker: &RequestTracker, cause: CloseCause) -> bool {
    match cause {
        CloseCause::Voluntary => false,
        CloseCause::Stopping { written } => {
            let counters = tracker.last();
            counters.written > written && counters.sent_ago < LAST_RESPONSE_WITHIN_MS
        }
    }
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
        is_closed: false,
    };
    const STOPPING: CloseCause = CloseCause::Stopping { written: 100 };

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
        let owed = TcpCounters {
            received_ago: 10,
            ..IDLE
        };
        assert_eq!(
            of(owed, Beginning::Undecided, STOPPING),
            CloseAction::GiveUp("in-flight")
        );
        let half = TcpCounters { unread: 9, ..IDLE };
        assert_eq!(
            of(half, Beginning::Other, STOPPING),
            CloseAction::GiveUp("not-http")
        );
    }

    #[test]
    fn a_client_that_has_left_is_let_go() {
        let left = TcpCounters {
            is_closed: true,
            ..IDLE
        };
        assert_eq!(of(left, Beginning::Undecided, STOPPING), CloseAction::Close);
    }
}

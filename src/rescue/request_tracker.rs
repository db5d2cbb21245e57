//! Whether a request is in flight on a connection that a worker has, from what the kernel counts:
//! pure, over a series of looks.
//!
//! An answer is *due* for a request that was read and not answered. Between two looks the counters
//! say what happened: bytes were read (an answer is due), bytes were written (none is), or both, and
//! then the order decides. Unread bytes are the client's next request, which the client sends when it
//! has its answer. Without unread bytes the kernel's two time stamps tell, if they differ. The stamps
//! have the resolution of the clock tick, and on a busy connection they are equal most of the time:
//! then it is *unclear* whether an answer is due. An acknowledgement makes it clear. An answer
//! acknowledges its request. The kernel acknowledges a request that has no answer after a while, and
//! remembers that it had to.
//!
//! Freezing a connection takes effect only when the worker next waits for it: a worker that is about
//! to read, or has been woken for the bytes already, reads them. So a worker is idle only when all of
//! its connections have been idle for a while, and the worker sleeps.
//!
//! Not all that is written is an answer. What is sent with none received in between is a stream (events, a
//! download, a websocket): it is sent after a pause without having been asked for, or it has been sent for longer
//! than nothing has come since. An answer that took long looks the same until it has been silent for as long.
//!
//! Another hazard is a blocking read that has taken bytes and sleeps with them: it looks like a request
//! that takes long. Only an interruption tells the two apart.

use std::time::{Duration, Instant};

use crate::sys::tcp::TcpCounters;
use crate::wire::http::Beginning;

/// An answer that is written in pieces has no longer pauses than this, mostly.
pub(super) const MAX_RESPONSE_PAUSE: Duration = Duration::from_millis(20);
/// What happened this long after a timer was due, the timer did not do (one tick, and the
/// machine's being busy).
const TIMER_SLACK: Duration = Duration::from_millis(20);
/// An unclear connection on which nothing has happened for this long is idle: an answer that takes
/// longer would not come within the supervisor's quiet time-out either.
const UNCLEAR_TIMEOUT: Duration = Duration::from_secs(5);
/// The first request of a fresh connection is there within so many round trips, and the least that is allowed for.
const ROUND_TRIPS: u32 = 3;
const MIN_FRESH_TIME: Duration = Duration::from_millis(50);
/// A request that is unread for so long is not about to be read.
const UNREAD_BEFORE_TAKEOVER: Duration = Duration::from_millis(5);
/// A read that goes on for so long with bytes that it has may be blocked.
pub(super) const BLOCKED_AFTER: Duration = Duration::from_millis(15);

/// Whether an answer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseDue {
    No,
    Yes,
    Unclear,
}

/// What the worker sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// Answers, as far as was seen.
    Answers,
    /// It has sent after a pause without having received anything since.
    Unasked,
}

/// What has been seen of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestTracker {
    last: TcpCounters,
    unread: Beginning,
    response: ResponseDue,
    sending: Sending,
    /// When the last look was.
    seen: Instant,
    changed: Instant,
    /// When the last of what is unread was first seen.
    arrived: Instant,
    /// The client asks on before it has its answer.
    is_pipelining: bool,
}

impl RequestTracker {
    /// After the first look; `unread` is what the unread bytes begin, if there are any.
    pub(super) fn new(now: Instant, counters: TcpCounters, unread: Beginning) -> Self {
        let since = Duration::from_millis(counters.received_ago.min(counters.sent_ago).into());
        Self {
            response: if counters.bytes_read() == 0 {
                ResponseDue::No
            } else {
                order(&counters)
            },
            sending: Sending::Answers,
            seen: now,
            last: counters,
            unread,
            changed: now.checked_sub(since).unwrap_or(now),
            arrived: now,
            is_pipelining: counters.unread > 0 && counters.sent_ago < counters.received_ago,
        }
    }

    /// After another look.
    pub(super) fn observe(&mut self, now: Instant, counters: TcpCounters, unread: Beginning) {
        let took = counters.bytes_read() > self.last.bytes_read();
        let wrote = counters.written > self.last.written;
        let is_unasked = self.response_due(now) == ResponseDue::No
            && self.last.written > 0
            && self.last.unread == 0
            && self.idle_for(now) >= MAX_RESPONSE_PAUSE;
        match (took, wrote) {
            (false, true) if is_unasked => self.sending = Sending::Unasked,
            (true, _) => self.sending = Sending::Answers,
            (false, _) => {}
        }
        match (took, wrote) {
            (true, false) => self.response = ResponseDue::Yes,
            (false, true) => self.response = ResponseDue::No,
            (true, true) => self.response = order(&counters),
            (false, false) => {}
        }
        if took || wrote || counters.unsent != self.last.unsent {
            self.changed = now;
        }
        if counters.received != self.last.received {
            self.arrived = now;
        }
        // What is written while a request waits is another one's answer.
        self.is_pipelining |= wrote && !took && self.last.unread > 0;
        if self.response == ResponseDue::Unclear
            && counters.unread > 0
            && unread == Beginning::Request
        {
            // The client has its answer: it asks for the next.
            self.response = ResponseDue::No;
        }
        self.last = counters;
        self.unread = unread;
        self.seen = now;
    }

    /// Whether no answer is due on this connection, and none is being written.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let rest = self.idle_for(now);
        match self.response_due(now) {
            _ if self.last.unsent > 0 || self.is_mid_message() || self.is_sending(now) => false,
            _ if self.is_fresh() => rest >= self.fresh_time(),
            ResponseDue::No => rest >= MAX_RESPONSE_PAUSE || self.last.bytes_read() == 0,
            ResponseDue::Unclear => rest >= UNCLEAR_TIMEOUT,
            ResponseDue::Yes => false,
        }
    }

    /// Whether the worker is in the middle of sending something that nobody has asked for again: a client that
    /// asks has all that it waits for.
    pub(super) fn is_sending(&self, now: Instant) -> bool {
        let received_ago = Duration::from_millis(self.last.received_ago.into());
        let sent_ago = Duration::from_millis(self.last.sent_ago.into());
        let sent_for = received_ago.saturating_sub(sent_ago);
        let silent_for = sent_ago + now.saturating_duration_since(self.seen);
        let may_go_on = sent_for >= MAX_RESPONSE_PAUSE && silent_for < sent_for;
        let is_unasked = self.sending == Sending::Unasked || may_go_on;
        self.last.unread == 0 && self.last.written > 0 && is_unasked
    }

    /// Whether nothing has passed on the connection: the client's first request, or the server's greeting, may be
    /// on its way.
    fn is_fresh(&self) -> bool {
        self.last.received == 0 && self.last.written == 0
    }

    fn fresh_time(&self) -> Duration {
        let round_trip = Duration::from_micros(self.last.round_trip.into());
        (ROUND_TRIPS * round_trip).max(MIN_FRESH_TIME)
    }

    /// Whether the request that waits unread can be answered by somebody else: the worker is not
    /// about to read the request, and has written all that comes before its answer.
    pub(super) fn is_request_waiting(&self, now: Instant) -> bool {
        let is_left_alone = now.saturating_duration_since(self.arrived) >= UNREAD_BEFORE_TAKEOVER;
        self.has_request() && is_left_alone && !self.is_pipelining && self.is_idle(now)
    }

    /// Whether a request, or its beginning, is unread.
    pub(super) fn has_request(&self) -> bool {
        self.last.unread > 0 && self.unread == Beginning::Request
    }

    /// How long ago something happened.
    pub(super) fn idle_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.changed)
    }

    /// Whether what is unread continues something that the worker has begun to read.
    pub(super) fn is_mid_message(&self) -> bool {
        self.last.unread > 0 && self.unread == Beginning::Other
    }

    /// Whether a reader may sleep with bytes that it has.
    pub(super) fn may_have_blocked_reader(&self, now: Instant) -> bool {
        self.idle_for(now) >= BLOCKED_AFTER && self.response_due(now) != ResponseDue::No
    }

    /// Whether an answer is due, as far as that is known by now.
    pub(super) fn response_due(&self, now: Instant) -> ResponseDue {
        let acknowledged = Duration::from_millis(self.last.ack_delay.into()) + TIMER_SLACK;
        match self.response {
            ResponseDue::Unclear if self.idle_for(now) < acknowledged => ResponseDue::Unclear,
            ResponseDue::Unclear if self.last.is_interactive => ResponseDue::No,
            // The client, or the server, may have made the kernel forget.
            ResponseDue::Unclear if self.idle_for(now) >= UNCLEAR_TIMEOUT => ResponseDue::Unclear,
            ResponseDue::Unclear => ResponseDue::Yes,
            ResponseDue::No | ResponseDue::Yes => self.response,
        }
    }

    pub(super) fn last(&self) -> &TcpCounters {
        &self.last
    }

    pub(super) fn unread(&self) -> Beginning {
        self.unread
    }
}

/// Whether an answer is due when bytes were both read and written.
fn order(counters: &TcpCounters) -> ResponseDue {
    let is_answered = counters.unread > 0 || counters.is_unacknowledged;
    if is_answered || counters.sent_ago < counters.received_ago {
        ResponseDue::No
    } else if counters.sent_ago > counters.received_ago || counters.written == 0 {
        ResponseDue::Yes
    } else {
        ResponseDue::Unclear
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_REST: TcpCounters = TcpCounters {
        unread: 0,
        unsent: 0,
        received: 100,
        written: 100,
        received_ago: 1000,
        sent_ago: 996,
        is_unacknowledged: false,
        is_interactive: true,
        ack_delay: 40,
        round_trip: 100,
        is_closed: false,
    };

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn tracker(counters: TcpCounters) -> (Instant, RequestTracker) {
        // In the past of this, there must be something.
        let now = after(Instant::now(), 10_000);
        (now, RequestTracker::new(now, counters, Beginning::Request))
    }

    #[test]
    fn one_that_answered_long_ago_is_idle_at_once() {
        let (now, tracker) = tracker(AT_REST);
        assert!(tracker.is_idle(now));
    }

    #[test]
    fn one_on_which_nothing_ever_came_is_idle_when_something_could_have_come() {
        let fresh = TcpCounters {
            received: 0,
            written: 0,
            received_ago: 1,
            sent_ago: 1,
            ..AT_REST
        };
        let (now, near) = tracker(fresh);
        assert!(!near.is_idle(after(now, 40)));
        assert!(near.is_idle(after(now, 50)));
        let (now, far) = tracker(TcpCounters {
            round_trip: 100_000,
            ..fresh
        });
        assert!(!far.is_idle(after(now, 290)));
        assert!(far.is_idle(after(now, 300)));
    }

    #[test]
    fn what_is_sent_without_being_asked_is_a_stream_until_the_client_asks() {
        let (now, mut events) = tracker(AT_REST);
        assert!(!events.is_sending(now));
        let event = TcpCounters {
            written: 150,
            received_ago: 1100,
            sent_ago: 0,
            ..AT_REST
        };
        events.observe(after(now, 100), event, Beginning::Undecided);
        assert!(events.is_sending(after(now, 60_000)) && !events.is_idle(after(now, 60_000)));
        let next = TcpCounters {
            unread: 30,
            received: 130,
            received_ago: 0,
            ..event
        };
        events.observe(after(now, 200), next, Beginning::Request);
        assert!(!events.is_sending(after(now, 230)) && events.is_idle(after(now, 230)));
    }

    #[test]
    fn what_was_sent_long_after_its_request_may_go_on_until_it_was_silent_for_as_long() {
        let (now, events) = tracker(TcpCounters {
            received_ago: 5_000,
            sent_ago: 150,
            ..AT_REST
        });
        assert!(events.is_sending(now) && !events.is_idle(after(now, 4_600)));
        assert!(events.is_idle(after(now, 4_800)));
        let (now, slow_answer) = tracker(TcpCounters {
            received_ago: 30_000,
            sent_ago: 29_000,
            ..AT_REST
        });
        assert!(slow_answer.is_idle(now));
    }

    #[test]
    fn a_request_that_was_read_is_due_an_answer_however_long_it_takes() {
        let (now, mut tracker) = tracker(TcpCounters {
            received_ago: 990,
            ..AT_REST
        });
        assert!(!tracker.is_idle(after(now, 60_000)));
        assert!(tracker.may_have_blocked_reader(after(now, 60_000)));
        tracker.observe(
            after(now, 5),
            TcpCounters {
                written: 150,
                ..AT_REST
            },
            Beginning::Undecided,
        );
        assert!(!tracker.is_idle(after(now, 6)));
        assert!(tracker.is_idle(after(now, 25)));
    }

    #[test]
    fn a_request_that_waits_unread_for_a_while_is_nobodys() {
        let waiting = TcpCounters {
            unread: 30,
            received: 130,
            received_ago: 0,
            sent_ago: 0,
            ..AT_REST
        };
        let (now, mut tracker) = tracker(waiting);
        assert!(!tracker.is_idle(now), "its worker may be about to read");
        assert!(tracker.is_idle(after(now, 25)));
        // A blocking read takes it and sleeps.
        tracker.observe(
            after(now, 5),
            TcpCounters {
                unread: 0,
                ..waiting
            },
            Beginning::Undecided,
        );
        assert!(!tracker.is_idle(after(now, 9_000)));
        assert!(!tracker.may_have_blocked_reader(after(now, 6)));
        assert!(tracker.may_have_blocked_reader(after(now, 20)));
    }

    #[test]
    fn pipelined_requests_behind_one_that_is_being_answered_do_not_end_it() {
        let (now, mut tracker) = tracker(TcpCounters {
            received_ago: 990,
            ..AT_REST
        });
        let more = TcpCounters {
            unread: 30,
            received: 130,
            received_ago: 0,
            ..AT_REST
        };
        tracker.observe(after(now, 5), more, Beginning::Request);
        assert!(!tracker.is_idle(after(now, 500)));
    }

    #[test]
    fn equal_stamps_are_unclear_until_the_kernel_would_have_acknowledged() {
        let equal = TcpCounters {
            received_ago: 4,
            sent_ago: 4,
            ..AT_REST
        };
        let (now, idle) = tracker(equal);
        assert!(!idle.is_idle(after(now, 30)));
        assert!(idle.is_idle(after(now, 60)));
        let (now, far) = tracker(TcpCounters {
            ack_delay: 200,
            ..equal
        });
        assert!(!far.is_idle(after(now, 200)));
        assert!(far.is_idle(after(now, 220)));
        let (now, asked) = tracker(TcpCounters {
            is_interactive: false,
            ..equal
        });
        assert_eq!(asked.response_due(now), ResponseDue::Unclear);
        assert_eq!(asked.response_due(after(now, 60)), ResponseDue::Yes);
        assert!(!asked.is_idle(after(now, 4_000)));
        assert!(asked.may_have_blocked_reader(after(now, 4_000)));
        assert!(asked.is_idle(after(now, 5_000)), "for ever is too long");
    }

    #[test]
    fn what_is_on_its_way_to_the_client_came_last() {
        let (now, tracker) = tracker(TcpCounters {
            received_ago: 40,
            sent_ago: 40,
            is_unacknowledged: true,
            is_interactive: false,
            ..AT_REST
        });
        assert!(tracker.is_idle(now));
    }

    #[test]
    fn the_next_request_makes_the_unclear_clear() {
        let (now, mut tracker) = tracker(TcpCounters {
            received_ago: 4,
            sent_ago: 4,
            ..AT_REST
        });
        let next = TcpCounters {
            unread: 30,
            received: 130,
            received_ago: 0,
            ..AT_REST
        };
        tracker.observe(after(now, 5), next, Beginning::Request);
        assert!(tracker.is_idle(after(now, 25)));
    }

    #[test]
    fn a_request_that_is_left_alone_waits_for_somebody_else() {
        let next = TcpCounters {
            unread: 30,
            received: 130,
            ..AT_REST
        };
        let (now, mut tracker) = tracker(AT_REST);
        tracker.observe(after(now, 5), next, Beginning::Request);
        assert!(
            !tracker.is_request_waiting(after(now, 6)),
            "it may be about to be read"
        );
        assert!(tracker.is_request_waiting(after(now, 10)));
        let more = TcpCounters {
            unread: 35,
            received: 135,
            ..next
        };
        tracker.observe(after(now, 12), more, Beginning::Request);
        assert!(!tracker.is_request_waiting(after(now, 13)));
        tracker.observe(after(now, 18), more, Beginning::Other);
        assert!(!tracker.is_request_waiting(after(now, 500)));
    }

    #[test]
    fn nothing_is_answered_amid_an_answer_to_a_client_that_asks_on() {
        let next = TcpCounters {
            unread: 30,
            received: 130,
            ..AT_REST
        };
        let piece = TcpCounters {
            written: 150,
            ..next
        };
        let (now, mut later) = tracker(AT_REST);
        later.observe(after(now, 5), next, Beginning::Request);
        later.observe(after(now, 10), piece, Beginning::Request);
        assert!(!later.is_request_waiting(after(now, 500)));
        let (now, at_once) = tracker(TcpCounters {
            received_ago: 8,
            sent_ago: 4,
            ..next
        });
        assert!(!at_once.is_request_waiting(after(now, 500)));
    }

    #[test]
    fn an_upload_and_an_answer_that_is_not_sent_are_busy() {
        let (now, upload) = tracker(AT_REST);
        let mut upload = upload;
        let piece = TcpCounters {
            unread: 5,
            received: 105,
            ..AT_REST
        };
        upload.observe(now, piece, Beginning::Other);
        assert!(upload.is_mid_message() && !upload.is_idle(after(now, 500)));
        let (now, answer) = tracker(TcpCounters {
            unsent: 1,
            ..AT_REST
        });
        assert!(!answer.is_idle(after(now, 500)));
    }
}

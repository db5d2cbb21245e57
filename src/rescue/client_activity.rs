//! When the clients of a retiring worker have sent requests.
//!
//! A connection that the worker closes when it is told to stop is adopted, but not one that the
//! worker shuts down (shutdown(2), as servers on hyper do): that breaks the connection for all who
//! have it, with the request that is on its way. So the worker is told to stop when no client asks,
//! and by then the busy connections have been adopted already.

use std::time::{Duration, Instant};

/// A worker is told to stop when no client has sent a request for so long,
const IDLE_BEFORE_STOP: Duration = Duration::from_millis(50);
/// or when clients have gone on asking for so long.
const MAX_STOP_DELAY: Duration = Duration::from_millis(500);

/// The first and the last moment in which a request was unread in a frozen connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClientActivity(Option<(Instant, Instant)>);

impl ClientActivity {
    pub(super) fn saw_request(&mut self, now: Instant) {
        let first = self.0.map_or(now, |(first, _)| first);
        self.0 = Some((first, now));
    }

    pub(super) fn permits_stop(&self, now: Instant) -> bool {
        let since = |then| now.saturating_duration_since(then);
        self.0.is_none_or(|(first, last)| {
            since(last) >= IDLE_BEFORE_STOP || since(first) >= MAX_STOP_DELAY
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_waits_for_a_pause_but_not_for_ever() {
        let start = Instant::now();
        let mut activity = ClientActivity::default();
        assert!(activity.permits_stop(start));
        let step = IDLE_BEFORE_STOP / 2;
        let mut now = start;
        while now < start + MAX_STOP_DELAY {
            activity.saw_request(now);
            assert!(!activity.permits_stop(now));
            now += step;
        }
        activity.saw_request(now);
        assert!(activity.permits_stop(now), "they have gone on for long");
        let mut after_one_request = ClientActivity::default();
        after_one_request.saw_request(start);
        assert!(after_one_request.permits_stop(start + IDLE_BEFORE_STOP));
    }
}

//! The window: which requests count, and what the load itself has used meanwhile.

use std::time::{Duration, Instant};

use super::{Plan, Usage};

pub(super) struct Window {
    begin: Instant,
    end: Option<Instant>,
    used_at_begin: Option<Usage>,
    used_at_end: Option<Usage>,
}

impl Window {
    /// Of a load that starts at `start`, with the warm-up.
    pub(super) fn new(plan: &Plan, start: Instant) -> Self {
        let begin = start + plan.warm_up;
        Self {
            begin,
            end: plan.length.map(|length| begin + length),
            used_at_begin: None,
            used_at_end: None,
        }
    }

    pub(super) fn begin(&self) -> Instant {
        self.begin
    }

    /// Whether no request is due any more.
    pub(super) fn is_over(&self, at: Instant) -> bool {
        self.end.is_some_and(|end| end <= at)
    }

    /// Whether a request that was due then counts, or belongs to the warm-up.
    pub(super) fn counts(&self, intended: Instant) -> bool {
        self.begin <= intended
    }

    /// Ends it now, if it has not ended yet.
    pub(super) fn end_at(&mut self, now: Instant) {
        if !self.is_over(now) {
            self.end = Some(now);
        }
    }

    /// When it begins or ends, whichever is next.
    pub(super) fn next_edge(&self) -> Option<Instant> {
        match (self.used_at_begin, self.used_at_end) {
            (None, _) => Some(self.begin),
            (_, None) => self.end,
            _ => None,
        }
    }

    /// Reads what the load has used once the window has begun, and once it has ended.
    pub(super) fn watch(&mut self, now: Instant) {
        let read = || Usage::of_thread().unwrap_or_default();
        if self.begin <= now {
            self.used_at_begin.get_or_insert_with(read);
        }
        if self.is_over(now) {
            self.used_at_end.get_or_insert_with(read);
        }
    }

    pub(super) fn length(&self) -> Duration {
        let length = self
            .end
            .map(|end| end.saturating_duration_since(self.begin));
        length.unwrap_or_default()
    }

    pub(super) fn usage(&self) -> Usage {
        match (self.used_at_begin, self.used_at_end) {
            (Some(begin), Some(end)) => end - begin,
            _ => Usage::default(),
        }
    }
}

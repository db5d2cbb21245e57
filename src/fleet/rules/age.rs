//! Which workers have served for long enough (`--max-age`).

use core::time::Duration;

use super::Fleet;
use crate::fleet::jitter::jittered;
use crate::fleet::vocabulary::*;

impl Fleet {
    /// How long this worker may serve; none: as long as it likes.
    fn age_limit(&self, worker: WorkerId) -> Option<Duration> {
        let limit = self.workers.get(worker)?.limits.max_age?;
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Some(Duration::from_millis(jittered(millis, worker)))
    }

    /// A worker serves. Its time counts from when it was ready.
    pub(super) fn begins_to_age(&mut self, worker: WorkerId) {
        let limit = self.age_limit(worker);
        self.workers.change(worker, |it| {
            let since = it.ready_since.unwrap_or(it.started);
            it.ages_at = limit.map(|limit| since.plus(limit));
        });
    }

    /// Has those recycled that have come to their age.
    pub(super) fn check_ages(&mut self, now: Time) {
        for worker in self.workers.aged(now) {
            let since = self.workers.change(worker, |it| {
                it.ages_at = None;
                it.ready_since
            });
            if let (Some(since), Some(limit)) = (since.flatten(), self.age_limit(worker)) {
                let age = now.since(since);
                self.recycle(now, worker, RecycleReason::MaxAge { age, limit });
            }
        }
    }
}

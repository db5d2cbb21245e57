//! Which workers use too much: of memory (`--max-rss`), of the processors (`--max-cpu`), or have been given enough
//! connections (`--max-connections-served`).
//!
//! They are looked at each second, some of them if they are many; where nothing is limited, nobody is. What a worker
//! begins with is looked at when it begins to serve, as its listeners may have been another's.
//!
//! One that has too much memory as soon as it is ready would be replaced for ever by others like it. So it has failed to
//! start, and its change with it.

use std::ops::Bound;

use super::Fleet;
use crate::fleet::jitter::jittered;
use crate::fleet::phase::Phase;
use crate::fleet::policy::Limits;
use crate::fleet::usage::UsageView;
use crate::fleet::vocabulary::*;
use crate::fleet::worker::Worker;

/// So many at a time: a look at one takes 50 microseconds, and more where it has many processes and threads.
const MOST_AT_ONCE: usize = 100;

impl Fleet {
    /// Has those looked at whose time it is. Last in a step: who begins to serve, does.
    pub(super) fn look_at_usage(&mut self, now: Time) {
        let mut workers = std::mem::take(&mut self.usages.new);
        if !self.policy.limits.are_looked_at() || self.is_shutting_down() {
            self.usages.next_look = None;
            return;
        }
        let is_due = self.usages.next_look.is_none_or(|at| at <= now);
        if is_due {
            let others: Vec<WorkerId> = self.next_looked_at();
            let is_anybody = !others.is_empty();
            workers.retain(|id| !others.contains(id));
            workers.extend(others);
            self.usages.next_look = is_anybody.then(|| now.plus(self.policy.look_interval));
            let serving = &self.workers;
            self.usages
                .retain(|id| serving.get(id).is_some_and(|it| !it.is_leaving()));
        }
        self.measure_usage(&workers);
    }

    /// Those that serve, after those of the last look.
    fn next_looked_at(&mut self) -> Vec<WorkerId> {
        let after = self.usages.last;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut next: Vec<WorkerId> = self.workers.serving_from(from).take(MOST_AT_ONCE).collect();
        let left = MOST_AT_ONCE - next.len();
        if let Some(after) = after {
            let first = self.workers.serving_from(Bound::Unbounded);
            next.extend(first.take_while(|id| *id <= after).take(left));
        }
        // Else these are all.
        let is_full = next.len() == MOST_AT_ONCE;
        self.usages.last = next.last().copied().filter(|_| is_full);
        next
    }

    pub(super) fn measure_usage(&mut self, workers: &[WorkerId]) {
        let listeners = |worker: &Worker| {
            let listening = worker.listening();
            (worker.id, listening.map(|(id, _)| id).collect())
        };
        let workers = workers.iter().filter_map(|id| self.workers.get(*id));
        let workers: Vec<(WorkerId, Vec<ListenerId>)> = workers.map(listeners).collect();
        if !workers.is_empty() {
            self.effects.push(Effect::MeasureUsage { workers });
        }
    }

    pub(super) fn usage_measured(&mut self, now: Time, usage: &[(WorkerId, Usage)]) {
        for (worker, usage) in usage {
            let window = self.limits_of(*worker).cpu_window();
            self.usages.note(now, *worker, *usage, window);
        }
        for (worker, usage) in usage {
            if self.is_too_large(*worker, usage.rss) {
                return self.start_too_large(now, *worker, usage.rss.unwrap_or_default());
            }
            if let Some(why) = self.reached(*worker) {
                self.recycle(now, *worker, why);
            }
        }
    }

    /// Whether a worker has too much memory that is ready, and whose change has not flipped.
    fn is_too_large(&self, id: WorkerId, rss: Option<u64>) -> bool {
        let limit = self.limits_of(id).max_rss;
        let is_over = rss.zip(limit).is_some_and(|(rss, limit)| rss >= limit);
        let worker = self.workers.get(id).map(|worker| worker.phase);
        let is_ready = matches!(worker, Some(Phase::Ready | Phase::Serving));
        is_over && is_ready && self.is_incoming(id) && !self.is_canary(id)
    }

    fn start_too_large(&mut self, now: Time, worker: WorkerId, rss: u64) {
        let Some(slot) = self.workers.get(worker).map(|worker| worker.slot) else {
            return;
        };
        let limit = self.limits_of(worker).max_rss.unwrap_or_default();
        let failure = Failure::TooLarge {
            worker,
            slot,
            rss,
            limit,
        };
        self.fail_change(now, failure);
    }

    /// What a worker may reach. A reload brings limits for those that it starts.
    fn limits_of(&self, id: WorkerId) -> Limits {
        let worker = self.workers.get(id);
        worker.map_or_else(Limits::default, |it| it.limits)
    }

    /// What a worker has reached of what it may.
    fn reached(&self, id: WorkerId) -> Option<RecycleReason> {
        let limits = self.limits_of(id);
        let seen = self.usages.view(id);
        let own = |limit: Option<u64>| limit.map(|limit| jittered(limit, id));
        if let Some((rss, limit)) = seen.rss.zip(own(limits.max_rss))
            && rss >= limit
        {
            return Some(RecycleReason::MaxRss { rss, limit });
        }
        let window = limits.cpu_window();
        let percent = self.usages.cpu_over(id, window);
        let limit = own(limits.max_cpu.map(|it| it.percent));
        if let Some((percent, limit)) = percent.zip(limit)
            && percent >= limit
        {
            return Some(RecycleReason::MaxCpu {
                percent,
                limit,
                window,
            });
        }
        let served = self.own_part(id, seen);
        let limit = own(limits.max_connections);
        let (served, limit) = served.zip(limit)?;
        (served >= limit).then_some(RecycleReason::MaxConnections { served, limit })
    }

    /// How many connections a worker was given: of those of a queue that it shares, its part.
    fn own_part(&self, id: WorkerId, seen: UsageView) -> Option<u64> {
        let worker = self.workers.get(id)?;
        let (listener, _) = worker.listening().next()?;
        let sharing = self.workers.holders(listener);
        let sharing = sharing.filter(|it| it.is_serving()).count();
        let sharing = u64::try_from(sharing.max(1)).ok()?;
        Some(seen.connections? / sharing)
    }

    /// What `status` shows of a worker's use.
    pub(super) fn usage_of(&self, id: WorkerId) -> UsageView {
        let seen = self.usages.view(id);
        UsageView {
            connections: self.own_part(id, seen),
            ..seen
        }
    }
}

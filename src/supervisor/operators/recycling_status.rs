//! What `status` shows of limits: what workers use, and how many were recycled.

use super::report::reached;
use super::status::milliseconds;
use crate::fleet::{RecyclingTally, WorkerView};
use crate::wire::control::{RecyclingStatus, UsageStatus};

pub(super) fn usage(view: &WorkerView) -> UsageStatus {
    UsageStatus {
        age_ms: view.age.map(milliseconds),
        rss: view.usage.rss,
        cpu_percent: view.usage.cpu_percent,
        connections_served: view.usage.connections,
    }
}

pub(super) fn recyclings(tally: RecyclingTally) -> RecyclingStatus {
    let last = tally.last;
    RecyclingStatus {
        done: tally.done,
        failed: tally.failed,
        last: last.map(|(worker, why)| format!("worker {worker} {}", reached(&why))),
    }
}

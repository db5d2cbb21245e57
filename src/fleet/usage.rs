//! What workers use, as it was seen, and what follows from several looks.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::vocabulary::{Time, Usage, WorkerId};

/// So many looks are kept of a window: what is averaged is a window long, give or take this part of it.
const LOOKS_IN_WINDOW: u32 = 60;

/// What was seen of workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Usages {
    by_worker: BTreeMap<WorkerId, Seen>,
    /// Those that serve since the last step: what they begin with is looked at at once.
    pub(super) new: Vec<WorkerId>,
    /// When the next look is due; none while nobody serves.
    pub(super) next_look: Option<Time>,
    /// The last worker of the last look; none if that was at all of them.
    pub(super) last: Option<WorkerId>,
}

/// What was seen of one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    rss: Option<u64>,
    /// How many connections its listeners had been given when it began, and by now.
    connections: Option<(u32, u32)>,
    /// The processor time that it had used by then, the oldest first.
    cpu: VecDeque<(Time, Duration)>,
}

/// What is known of a worker's use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageView {
    /// The memory of its processes, in bytes.
    pub rss: Option<u64>,
    /// How much of one processor they have used on average over the window, or since the first look, in percent.
    pub cpu_percent: Option<u64>,
    /// How many connections its listeners were given since it began to serve.
    pub connections: Option<u64>,
}

impl Usages {
    /// A worker was looked at. `window`: over how long its use of processors is averaged.
    pub(super) fn note(&mut self, now: Time, worker: WorkerId, usage: Usage, window: Duration) {
        let seen = self.by_worker.entry(worker).or_insert_with(|| Seen {
            rss: None,
            connections: usage.connections.map(|count| (count, count)),
            cpu: VecDeque::new(),
        });
        seen.rss = usage.rss;
        if let (Some((_, by_now)), Some(count)) = (&mut seen.connections, usage.connections) {
            *by_now = count;
        }
        if let Some(cpu) = usage.cpu {
            seen.note_cpu(now, cpu, window);
        }
    }

    pub(super) fn view(&self, worker: WorkerId) -> UsageView {
        let Some(seen) = self.by_worker.get(&worker) else {
            return UsageView::default();
        };
        UsageView {
            rss: seen.rss,
            cpu_percent: seen.cpu_used().and_then(|(used, span)| percent(used, span)),
            connections: seen.connections(),
        }
    }

    /// How much of a processor a worker has used on average over a whole window, in percent; none before it is over.
    pub(super) fn cpu_over(&self, worker: WorkerId, window: Duration) -> Option<u64> {
        let (used, span) = self.by_worker.get(&worker)?.cpu_used()?;
        percent(used, span).filter(|_| span >= window)
    }

    /// Forgets those that are looked at no more.
    pub(super) fn retain(&mut self, is_looked_at: impl Fn(WorkerId) -> bool) {
        self.by_worker.retain(|worker, _| is_looked_at(*worker));
    }
}

impl Seen {
    fn note_cpu(&mut self, now: Time, cpu: Duration, window: Duration) {
        // Of a process that has ended and was not waited for, the time is lost: that is no time given back.
        let cpu = self.cpu.back().map_or(cpu, |(_, before)| cpu.max(*before));
        // The newest is renewed until it is far enough from the one before it.
        let count = self.cpu.len();
        let before = count.checked_sub(2).and_then(|at| self.cpu.get(at));
        if before.is_some_and(|(at, _)| now.since(*at) < window / LOOKS_IN_WINDOW) {
            self.cpu.pop_back();
        }
        self.cpu.push_back((now, cpu));
        // The oldest is the last one that is a window ago.
        while self
            .cpu
            .get(1)
            .is_some_and(|(at, _)| now.since(*at) >= window)
        {
            self.cpu.pop_front();
        }
    }

    /// The processor time from the oldest look to the newest, and how long that was.
    fn cpu_used(&self) -> Option<(Duration, Duration)> {
        let (first, last) = (self.cpu.front()?, self.cpu.back()?);
        Some((last.1.saturating_sub(first.1), last.0.since(first.0)))
    }

    fn connections(&self) -> Option<u64> {
        let (at_first, by_now) = self.connections?;
        Some(u64::from(by_now.wrapping_sub(at_first)))
    }
}

fn percent(used: Duration, of: Duration) -> Option<u64> {
    let percent = (used.as_micros() * 100).checked_div(of.as_micros())?;
    u64::try_from(percent).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ID: WorkerId = WorkerId(1);

    fn at(millis: u64) -> Time {
        Time(Duration::from_millis(millis))
    }

    fn cpu(millis: u64) -> Usage {
        Usage {
            cpu: Some(Duration::from_millis(millis)),
            ..Usage::default()
        }
    }

    #[test]
    fn the_use_of_processors_is_that_of_the_last_window() {
        let window = Duration::from_secs(10);
        let mut usages = Usages::default();
        // All of one processor, then a tenth of one.
        for second in 0..=30_u64 {
            let used = 1000 * second.min(20) + 100 * second.saturating_sub(20);
            usages.note(at(1000 * second), ID, cpu(used), window);
            let average = usages.cpu_over(ID, window);
            match second {
                0..10 => assert_eq!(average, None, "after {second} s"),
                10..=20 => assert_eq!(average, Some(100), "after {second} s"),
                25 => assert_eq!(average, Some(55)),
                30 => assert_eq!(average, Some(10)),
                _ => {}
            }
        }
    }

    #[test]
    fn a_long_window_needs_few_looks() {
        let window = Duration::from_secs(3600);
        let mut usages = Usages::default();
        for second in 0..=10_000_u64 {
            usages.note(at(1000 * second), ID, cpu(500 * second), window);
        }
        assert_eq!(usages.cpu_over(ID, window), Some(50));
        let kept = usages.by_worker.get(&ID).unwrap().cpu.len();
        assert!(kept <= LOOKS_IN_WINDOW as usize + 3, "{kept}");
    }

    #[test]
    fn time_that_a_lost_process_has_used_is_not_taken_back() {
        let window = Duration::from_secs(2);
        let mut usages = Usages::default();
        for (second, used) in [(0, 0), (1, 900), (2, 100), (3, 1000), (4, 1100)] {
            usages.note(at(1000 * second), ID, cpu(used), window);
        }
        assert_eq!(usages.cpu_over(ID, window), Some(10));
    }

    #[test]
    fn connections_count_from_the_first_look() {
        let served = |count| Usage {
            connections: Some(count),
            ..Usage::default()
        };
        let mut usages = Usages::default();
        for (count, expected) in [(u32::MAX, 0), (2, 3)] {
            usages.note(at(0), ID, served(count), Duration::from_secs(1));
            assert_eq!(usages.view(ID).connections, Some(expected));
        }
        usages.retain(|_| false);
        assert_eq!(usages.view(ID), UsageView::default());
    }
}

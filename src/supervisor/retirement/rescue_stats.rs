//! What became of the connections of workers that retired, by retirement.

use std::collections::BTreeMap;

use log::info;

use crate::fleet::RetirementId;
use crate::wire::control::RescueStatus;
use crate::wire::rescue::Tally;

/// How many retirements are remembered for `status`.
const REMEMBERED: usize = 8;

/// All that is remembered.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct RescueStats {
    retirements: BTreeMap<RetirementId, Retired>,
    /// What no reply has named yet.
    unnamed: Cost,
}

/// What clients may have noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::supervisor) struct Cost {
    /// Connections that ended with their workers because their requests must not be passed on.
    pub(in crate::supervisor) left: u64,
    /// Connections on which a request may have been lost.
    pub(in crate::supervisor) perhaps_lost: u64,
}

#[derive(Debug, Default)]
struct Retired {
    /// The rescuer, while it runs.
    pid: Option<i32>,
    /// By worker; whether that is all.
    workers: BTreeMap<u64, (Tally, bool)>,
    /// By worker: connections that were its alone when its stop was prepared.
    left: BTreeMap<u64, u64>,
}

impl RescueStats {
    pub(super) fn begin(&mut self, id: RetirementId, pid: i32) {
        self.retirements.entry(id).or_default().pid = Some(pid);
    }

    /// To be called when a rescuer has ended, whatever it was that ended it.
    pub(super) fn end(&mut self, id: RetirementId) {
        self.retirements.entry(id).or_default().pid = None;
        let all = self.retirements.iter();
        let ended = all.filter(|(_, retired)| retired.pid.is_none());
        let ended: Vec<RetirementId> = ended.map(|(id, _)| *id).collect();
        for old in ended.iter().rev().skip(REMEMBERED) {
            self.retirements.remove(old);
        }
    }

    pub(super) fn progress(&mut self, id: RetirementId, worker: u64, tally: Tally) {
        self.note(id, worker, tally, false);
    }

    pub(super) fn note(&mut self, id: RetirementId, worker: u64, tally: Tally, is_over: bool) {
        let workers = &mut self.retirements.entry(id).or_default().workers;
        let lost = tally.perhaps_lost();
        let before = workers.insert(worker, (tally, is_over));
        let before = before.map_or(0, |(tally, _)| tally.perhaps_lost());
        self.unnamed.perhaps_lost += lost.saturating_sub(before);
    }

    /// A worker's stop is prepared, perhaps once more, and so many (more) connections are the worker's alone.
    pub(super) fn left(&mut self, id: RetirementId, worker: u64, count: u64) {
        if count > 0 {
            info!(
                "worker {worker}: {count} of its connections, of clients on other hosts, end with it (--rescue-clients)"
            );
        }
        let left = &mut self.retirements.entry(id).or_default().left;
        *left.entry(worker).or_default() += count;
        self.unnamed.left += count;
    }

    /// What clients may have noticed since the last call.
    pub(in crate::supervisor) fn take_cost(&mut self) -> Cost {
        std::mem::take(&mut self.unnamed)
    }

    /// The last retirements, oldest first.
    pub(super) fn statuses(&self) -> Vec<RescueStatus> {
        self.retirements
            .iter()
            .map(|(id, retired)| retired.status(*id))
            .collect()
    }
}

impl Retired {
    fn status(&self, id: RetirementId) -> RescueStatus {
        let mut status = RescueStatus {
            retirement: id.0,
            pid: self.pid.and_then(|pid| u32::try_from(pid).ok()),
            left: self.left.values().sum(),
            ..RescueStatus::default()
        };
        for (worker, (tally, is_over)) in &self.workers {
            status.workers.extend(is_over.then_some(*worker));
            status.add(tally);
        }
        status
    }
}

impl RescueStatus {
    fn add(&mut self, tally: &Tally) {
        self.held += tally.held;
        self.finished += tally.finished;
        self.rescued += tally.rescued;
        self.idle += tally.idle;
        self.given_up += tally.given_up;
        for (reason, count) in &tally.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
    }
}

/// A worker's tally, for the log.
pub(super) fn sentence(tally: &Tally) -> String {
    let reasons = tally.reasons.iter();
    let reasons: Vec<String> = reasons
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let why = if reasons.is_empty() {
        String::new()
    } else {
        format!(" ({})", reasons.join(", "))
    };
    format!(
        "{} held for it: it finished {} itself, {} closed idle, {} given up{why}; {} rescued",
        were(tally.held, "connection "),
        tally.finished,
        were(tally.idle, ""),
        were(tally.given_up, ""),
        were(tally.rescued, "request ")
    )
}

/// `1 connection was`, `2 connections were`, `2 were`.
fn were(count: u64, what: &str) -> String {
    match (count, what.strip_suffix(' ')) {
        (1, _) => format!("1 {what}was"),
        (_, Some(what)) => format!("{count} {what}s were"),
        (_, None) => format!("{count} were"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tally(held: u64, idle: u64) -> Tally {
        Tally {
            held,
            idle,
            ..Tally::default()
        }
    }

    #[test]
    fn workers_are_added_up_and_only_their_last_word_counts() {
        let mut stats = RescueStats::default();
        let id = RetirementId(3);
        stats.begin(id, 77);
        stats.note(id, 1, tally(5, 0), false);
        stats.note(id, 1, tally(5, 2), true);
        stats.note(id, 2, tally(1, 0), false);
        let status = stats.statuses().remove(0);
        assert_eq!((status.retirement, status.pid), (3, Some(77)));
        assert_eq!((status.held, status.idle), (6, 2));
        assert_eq!(status.workers, [1]);
    }

    #[test]
    fn the_last_are_remembered_and_those_that_run() {
        let mut stats = RescueStats::default();
        (0..20).for_each(|id| stats.begin(RetirementId(id), 1));
        (1..20).for_each(|id| stats.end(RetirementId(id)));
        let ids: Vec<u64> = stats.statuses().iter().map(|it| it.retirement).collect();
        assert_eq!(ids, [0, 12, 13, 14, 15, 16, 17, 18, 19]);
    }

    #[test]
    fn a_tally_is_a_sentence() {
        let mut some = tally(4, 1);
        (some.finished, some.given_up, some.rescued) = (1, 2, 1);
        some.reasons = BTreeMap::from([("framing".to_owned(), 1), ("not-http".to_owned(), 1)]);
        assert_eq!(
            sentence(&some),
            "4 connections were held for it: it finished 1 itself, 1 was closed idle, 2 were given up (1 framing, 1 \
             not-http); 1 request was rescued"
        );
        assert!(sentence(&tally(1, 0)).starts_with("1 connection was held for it: it finished 0"));
    }
}

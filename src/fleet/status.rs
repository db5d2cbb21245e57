//! What outsiders may see of the fleet.

use core::time::Duration;

use super::fleet::Fleet;
use super::vocabulary::*;

/// One line of `status`: a worker, or a slot that waits for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// The worker; for an empty slot the one that was there last.
    pub worker: WorkerId,
    /// Its place.
    pub slot: Slot,
    /// Its queue; other workers of its generation may have the same.
    pub queue: ListenerSetId,
    /// Its generation.
    pub generation: Generation,
    /// The phase's name; `waiting` or `given-up` for an empty slot.
    pub phase: &'static str,
    /// Time since it started; for an empty slot, since it became empty.
    pub uptime: Duration,
    /// Crashes of its slot within the restart window.
    pub restarts: u32,
    /// Its listeners.
    pub listeners: Vec<(ListenerId, Endpoint)>,
}

impl Fleet {
    /// Every worker and every empty slot, by slot, then by age.
    pub fn view(&self, now: Time) -> Vec<WorkerView> {
        let workers = self.workers.values().map(|worker| WorkerView {
            worker: worker.id,
            slot: worker.slot,
            queue: worker.queue,
            generation: worker.generation,
            phase: worker.phase_name(),
            uptime: now.since(worker.started),
            restarts: self.restarts(now, worker.slot),
            listeners: worker
                .listeners
                .iter()
                .map(|(id, listener)| (*id, listener.endpoint))
                .collect(),
        });
        let vacancies = self.vacancies.iter().map(|(slot, vacancy)| WorkerView {
            worker: vacancy.last,
            slot: *slot,
            queue: vacancy.queue,
            generation: vacancy.generation,
            phase: if vacancy.until.is_some() {
                "waiting"
            } else {
                "given-up"
            },
            uptime: now.since(vacancy.since),
            restarts: self.restarts(now, *slot),
            listeners: vacancy
                .kept
                .iter()
                .map(|(id, listener)| (*id, listener.endpoint))
                .collect(),
        });
        let mut all: Vec<WorkerView> = workers.chain(vacancies).collect();
        all.sort_by_key(|view| (view.slot, view.worker));
        all
    }

    /// What the supervisor is doing: `starting`, `serving`, `reloading` or `stopping`.
    pub fn phase_name(&self) -> &'static str {
        match (
            &self.stopping,
            self.change.as_ref().map(|change| change.kind),
        ) {
            (Some(_), _) => "stopping",
            (None, Some(ChangeKind::Start)) => "starting",
            (None, Some(_)) => "reloading",
            (None, None) if self.retirements.is_empty() => "serving",
            (None, None) => "reloading",
        }
    }

    /// How many workers there should be.
    pub fn workers_wanted(&self) -> u32 {
        self.wanted
    }

    /// Reloads that succeeded and that failed, since the start.
    pub fn reloads(&self) -> (u64, u64) {
        (self.tally.reloads, self.tally.reloads_failed)
    }

    fn restarts(&self, now: Time, slot: Slot) -> u32 {
        let crashes = self.crashes.get(&slot).into_iter().flatten();
        let recent = crashes
            .filter(|at| now.since(**at) < self.policy.restart_window)
            .count();
        u32::try_from(recent).unwrap_or(u32::MAX)
    }
}

//! Crashes: a slot whose worker died gets another, at once at first, then ever more slowly.
//!
//! The dead worker's listeners are kept for the replacement, so that what waits on them is
//! answered and not reset; meanwhile new connections are steered to the siblings, unless a sibling
//! accepts from the same queue. A slot whose workers die too often is given up, and then the
//! listeners that nobody else has are closed: a client that is refused can go elsewhere, one that
//! waits for nobody cannot.

use core::time::Duration;
use std::collections::BTreeMap;

use super::fleet::Fleet;
use super::vocabulary::*;
use super::worker::Listener;

/// The first delay that is not zero; it doubles with each crash.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// A slot without a worker.
#[derive(Clone, Debug)]
pub(super) struct Vacancy {
    pub(super) generation: Generation,
    pub(super) queue: ListenerSetId,
    pub(super) kept: BTreeMap<ListenerId, Listener>,
    /// When it is filled; none: given up.
    pub(super) until: Option<Time>,
    /// Who was here last.
    pub(super) last: WorkerId,
    pub(super) since: Time,
}

impl Fleet {
    pub(super) fn crashed(&mut self, now: Time, id: WorkerId, exit: Exit) {
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        self.steer();
        let slot = worker.slot;
        if self.stopping.is_some() {
            self.out.push(Effect::Log(WorkerEvent::Gone {
                worker: id,
                exit,
                told: false,
            }));
            return self.release(worker.listeners.into_keys());
        }
        // A worker of the start serves before its siblings do: the start has had it, and would
        // wait for it for ever.
        if let Some(change) = &mut self.change {
            change.incoming.remove(&id);
        }
        let crashes = self.count_crash(now, slot);
        let is_loop = crashes > self.policy.max_restarts as usize;
        let delay = delay(crashes);
        let until = (!is_loop).then(|| now.plus(delay));
        self.vacancies.insert(
            slot,
            Vacancy {
                generation: worker.generation,
                queue: worker.queue,
                kept: worker.listeners,
                until,
                last: id,
                since: now,
            },
        );
        if is_loop {
            self.out.push(Effect::Log(WorkerEvent::GivenUp {
                worker: id,
                slot,
                exit,
                crashes,
            }));
            self.give_up(now, slot);
        } else {
            self.out.push(Effect::Log(WorkerEvent::Crashed {
                worker: id,
                slot,
                exit,
                restart_in: delay,
            }));
        }
    }

    fn count_crash(&mut self, now: Time, slot: Slot) -> usize {
        let window = self.policy.restart_window;
        let crashes = self.crashes.entry(slot).or_default();
        crashes.push(now);
        crashes.retain(|at| now.since(*at) < window);
        crashes.len()
    }

    fn give_up(&mut self, now: Time, slot: Slot) {
        if let Some(vacancy) = self.vacancies.get_mut(&slot) {
            let (last, kept) = (vacancy.last, std::mem::take(&mut vacancy.kept));
            let forsaken = self.forsaken(kept.keys().copied());
            self.drain_backlog(last, forsaken);
            self.release(kept.into_keys());
        }
        if self.policy.crash_loop_ends_all {
            self.begin_stopping(now, ExitReason::CrashLoop);
            self.tell_all(now);
        }
    }

    /// Ends everything when every slot is given up. That may be long after the last one was: a
    /// change or a retired worker was there still, from which something could have come.
    pub(super) fn end_if_hopeless(&mut self, now: Time) {
        let nobody = self.workers.values().all(|worker| worker.is_told());
        let mut slots = self.vacancies.values();
        let is_hopeless = nobody && slots.all(|vacancy| vacancy.until.is_none());
        if is_hopeless && self.change.is_none() && !self.vacancies.is_empty() {
            self.begin_stopping(now, ExitReason::CrashLoop);
            self.tell_all(now);
        }
    }

    pub(super) fn fill_vacancies(&mut self, now: Time) {
        let due = self
            .vacancies
            .iter()
            .filter(|(_, vacancy)| vacancy.until.is_some_and(|until| until <= now));
        for slot in due.map(|(slot, _)| *slot).collect::<Vec<_>>() {
            if let Some(vacancy) = self.vacancies.remove(&slot) {
                self.spawn(now, slot, vacancy.queue, vacancy.generation, vacancy.kept);
            }
        }
    }

    /// The slot that this worker left vacant.
    pub(super) fn vacancy_of(&self, worker: WorkerId) -> Option<Slot> {
        self.vacancies
            .iter()
            .find(|(_, vacancy)| vacancy.last == worker)
            .map(|(slot, _)| *slot)
    }
}

/// The delay before the restart after the nth crash within the window.
fn delay(crashes: usize) -> Duration {
    match u32::try_from(crashes).unwrap_or(u32::MAX) {
        0 | 1 => Duration::ZERO,
        nth => FIRST_DELAY
            .saturating_mul(1 << (nth - 2).min(16))
            .min(LONGEST_DELAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_and_then_they_slow_down() {
        let delays: Vec<u128> = (1..=9).map(|nth| delay(nth).as_millis()).collect();
        assert_eq!(delays, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000]);
        assert_eq!(delay(usize::MAX), LONGEST_DELAY);
    }
}

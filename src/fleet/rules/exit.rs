//! What the end of a worker means.
//!
//! It depends on what the worker was doing, and on what it was there for. [`Consequence::of`] has the whole
//! table.

use std::collections::BTreeSet;

use super::Fleet;
use super::backlog::with_endpoints;
use super::flip_back::Cause;
use crate::fleet::phase::{Phase, StopReason};
use crate::fleet::slots::{EmptySlot, SlotState, delay};
use crate::fleet::vocabulary::*;
use crate::fleet::worker::Role;

/// What follows from the end of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consequence {
    /// Its change fails.
    ChangeFails,
    /// It has crashed: its slot gets another worker, which gets its listeners.
    Crashed,
    /// It has ended before its stop signal, and gets no replacement: a rescuer accepts what it leaves.
    GoneEarly,
    /// It has ended after its stop signal.
    Gone,
}

/// What a worker is to the change that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Incoming,
    /// None.
    Other,
}

impl Consequence {
    /// | phase                                 | incoming     | to serve | to drain only |
    /// | ------------------------------------- | ------------ | -------- | ------------- |
    /// | starting, ready                       | change fails | crashed  | gone early    |
    /// | serving                               | crashed      | crashed  | gone early    |
    /// | standing by, settling, quiescing, preparing stop | gone early | gone early | gone early |
    /// | draining                              | gone         | gone     | gone          |
    /// | killed: not ready in time             | crashed      | crashed  | gone early    |
    /// | killed: retired, rolled back, the end | gone         | gone     | gone          |
    ///
    /// A worker of a start serves before the others do, and is still incoming: its end is a crash like any
    /// other, for its change goes on. And a worker that was killed because it was not ready in time has not
    /// left on request: without a replacement its slot would stay empty for ever.
    pub(super) fn of(phase: Phase, part: Part, role: Role) -> Self {
        match (phase, part, role) {
            (Phase::Starting { .. } | Phase::Ready, Part::Incoming, _) => Self::ChangeFails,
            (
                Phase::Starting { .. }
                | Phase::Ready
                | Phase::Serving
                | Phase::Killed {
                    reason: StopReason::StartTimedOut,
                },
                _,
                Role::Serve,
            ) => Self::Crashed,
            (
                Phase::Starting { .. }
                | Phase::Ready
                | Phase::Serving
                | Phase::Killed {
                    reason: StopReason::StartTimedOut,
                },
                _,
                Role::DrainOnly,
            ) => Self::GoneEarly,
            (
                Phase::StandingBy
                | Phase::Settling { .. }
                | Phase::Quiescing { .. }
                | Phase::PreparingStop { .. },
                _,
                _,
            ) => Self::GoneEarly,
            (
                Phase::Draining { .. }
                | Phase::Killed {
                    reason: StopReason::Retired | StopReason::RolledBack | StopReason::Shutdown,
                },
                _,
                _,
            ) => Self::Gone,
        }
    }
}

impl Fleet {
    pub(super) fn exited(&mut self, now: Time, id: WorkerId, exit: Exit) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let (worker_phase, role) = (worker.phase, worker.role);
        if self.is_flipped_back(id, &exit) {
            self.flip_back(now, Cause::Died { id, exit });
            return self.retirements.ended(id);
        }
        if self.is_canary(id) {
            self.canary_ended(now, id, exit);
            return self.retirements.ended(id);
        }
        let part = if self.is_incoming(id) {
            Part::Incoming
        } else {
            Part::Other
        };
        match Consequence::of(worker_phase, part, role) {
            Consequence::ChangeFails => self.incoming_exited(now, id, exit),
            Consequence::Crashed => self.crashed(now, id, exit),
            Consequence::GoneEarly => self.gone(id, exit, Ending::BeforeStop),
            Consequence::Gone => self.gone(id, exit, Ending::AfterStop),
        }
        // Last, so that what the end has caused is still known to be of its retirement.
        self.retirements.ended(id);
    }

    /// A slot whose worker died gets another, at once at first, then ever more slowly.
    ///
    /// Meanwhile new connections are steered to the others, unless another worker accepts from the same
    /// listeners. A slot whose workers die too often is given up.
    fn crashed(&mut self, now: Time, id: WorkerId, exit: Exit) {
        let Some(worker) = self.workers.remove(id) else {
            return;
        };
        // At once: each connection that comes before waits for a worker that does not exist yet.
        self.steer();
        let slot = worker.slot;
        if self.is_shutting_down() {
            self.log(WorkerEvent::Gone {
                worker: id,
                exit,
                ending: Ending::BeforeStop,
            });
            return self.release(worker.listeners.into_keys());
        }
        if self.fails_start(id, &exit) {
            // What an empty slot keeps is closed with the others.
            self.release(worker.listeners.into_keys());
            return self.fail_change(now, Failure::died(id, slot, exit));
        }
        let crashes = self.restarts.crashed(now, slot);
        // The next one would do the same.
        let is_loop = exit == Exit::Daemonised || crashes > self.policy.max_restarts as usize;
        let restart_in = delay(crashes);
        let state = if is_loop {
            SlotState::GivenUp
        } else {
            SlotState::Waiting {
                until: now.plus(restart_in),
            }
        };
        let empty = EmptySlot {
            generation: worker.generation,
            set: worker.set,
            listeners: worker.listeners,
            state,
            last: id,
            since: now,
        };
        self.empty_slots.insert(slot, empty);
        if is_loop {
            let ends = self.ends_all(&exit);
            self.log(WorkerEvent::GivenUp {
                worker: id,
                slot,
                exit,
                crashes,
            });
            self.give_up(now, slot, ends);
        } else {
            self.log(WorkerEvent::Crashed {
                worker: id,
                slot,
                exit,
                restart_in,
            });
        }
        // A start waits for those that are left.
        self.flip_if_ready(now);
    }

    /// Takes a worker out of the change that is under way. Whether that is a start which fails by its end: nobody has
    /// stayed, so that it would be done, and nobody served; or all will do what this one did.
    fn fails_start(&mut self, id: WorkerId, exit: &Exit) -> bool {
        self.rollout.as_mut().is_some_and(|rollout| {
            rollout.batch.drop_worker(id);
            let is_hopeless = rollout.batch.incoming().is_empty() || *exit == Exit::Daemonised;
            rollout.kind == ChangeKind::Start && is_hopeless
        })
    }

    /// The listeners that nobody else has are closed: a client that is refused can go elsewhere, one that
    /// waits for nobody cannot.
    fn give_up(&mut self, now: Time, slot: Slot, ends: Option<ExitReason>) {
        if let Some((last, listeners)) = self.empty_slots.give_up(slot) {
            self.drain_unserved(last, with_endpoints(&listeners));
            self.release(listeners.into_keys());
        }
        if let Some(exit_reason) = ends {
            self.begin_shutdown(now, exit_reason);
            self.stop_all(now);
        }
    }

    /// Whether everything ends with a slot that is given up. A first generation that goes into the background has
    /// never served, though its start may have been over before that was to be seen.
    fn ends_all(&self, exit: &Exit) -> Option<ExitReason> {
        let is_first = self.generations.newest == Generation(1);
        if *exit == Exit::Daemonised && is_first {
            return Some(ExitReason::StartFailed);
        }
        let ends = self.policy.crash_loop_ends_all;
        ends.then_some(ExitReason::CrashLoop)
    }

    pub(super) fn fill_empty_slots(&mut self, now: Time) {
        for slot in self.empty_slots.due(now) {
            if self.has_no_room(slot) {
                self.empty_slots.await_room(slot);
            } else if let Some(empty) = self.empty_slots.remove(slot) {
                self.spawn(now, slot, empty.set, empty.generation, empty.listeners);
            }
        }
    }

    /// Drops a worker that has ended, and the listeners that nobody else has.
    fn gone(&mut self, id: WorkerId, exit: Exit, ending: Ending) {
        let Some(worker) = self.workers.remove(id) else {
            return;
        };
        if ending == Ending::BeforeStop {
            // Nobody comes after it to accept what it leaves. (What was left when the settle time-out passed
            // is drained already.)
            let mut left = with_endpoints(&worker.listeners);
            left.retain(|(listener, _)| worker.empties(*listener));
            self.drain_unserved(id, left);
        }
        self.log(WorkerEvent::Gone {
            worker: id,
            exit,
            ending,
        });
        // Before the close: a program must not name a listener that leaves.
        self.steer();
        self.release(worker.listeners.into_keys());
    }

    /// Closes those of `listeners` that nobody has any more: others of the same set may have
    /// them, and where nothing is steered the next generation has.
    pub(super) fn release(&mut self, listeners: impl IntoIterator<Item = ListenerId>) {
        let distinct: BTreeSet<ListenerId> = listeners.into_iter().collect();
        for listener in distinct {
            let is_held = self.workers.holders(listener).next().is_some();
            if !is_held && !self.empty_slots.keep(listener) {
                self.effects.push(Effect::Close { listener });
            }
        }
    }
}

#[cfg(test)]
#[path = "exit_tests.rs"]
mod tests;

//! Changes: a start, a reload, a restart of one worker, another number of workers.
//!
//! A change starts its incoming workers; when all are ready they take over in one step (the
//! flip), and the outgoing ones retire. Until the flip nothing has happened to those that serve,
//! so failing means no more than telling the incoming ones to stop.

use std::collections::BTreeSet;

use super::fleet::Fleet;
use super::respawn::Vacancy;
use super::vocabulary::*;
use super::worker::{Phase, Worker};

/// A change before its flip.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) kind: ChangeKind,
    pub(super) incoming: BTreeSet<WorkerId>,
    pub(super) reply_to: Option<ClientId>,
    pub(super) since: Time,
    pub(super) generation: Generation,
    /// The slots whose present workers retire at the flip.
    pub(super) replaced: BTreeSet<Slot>,
    /// The number of workers after the flip.
    pub(super) wanted: u32,
    /// The empty slot that a restart fills; it is empty again if the restart fails.
    pub(super) filled: Option<(Slot, Vacancy)>,
}

/// A change after its flip: outgoing workers on their way.
#[derive(Clone, Debug)]
pub(super) struct Retirement {
    pub(super) id: RetirementId,
    pub(super) workers: BTreeSet<WorkerId>,
    pub(super) kind: ChangeKind,
    reply_to: Option<ClientId>,
    since: Time,
    generation: Generation,
    reported: Milestone,
    /// Whether there was anybody to retire.
    has_workers: bool,
}

impl Fleet {
    pub(super) fn flip_if_ready(&mut self, now: Time) {
        let workers = &self.workers;
        let is_ready = |id: &WorkerId| {
            workers
                .get(id)
                .is_some_and(|worker| matches!(worker.phase, Phase::Ready | Phase::Serving))
        };
        if let Some(change) = self
            .change
            .take_if(|change| change.incoming.iter().all(is_ready))
        {
            self.flip(now, change);
        }
    }

    fn flip(&mut self, now: Time, change: Change) {
        let outgoing = self.outgoing(&change);
        let waiting: Vec<WorkerId> = change
            .incoming
            .iter()
            .copied()
            .filter(|id| !self.workers.get(id).is_some_and(Worker::is_serving))
            .collect();
        waiting.into_iter().for_each(|id| self.serve(id));
        self.wanted = change.wanted;
        self.serving = change.generation;
        if change.kind == ChangeKind::Reload {
            self.tally.reloads += 1;
        }
        // New workers, new luck.
        self.crashes
            .retain(|slot, _| !change.replaced.contains(slot));
        self.report(now, &change, Milestone::Serving, change.incoming.len());
        let superseded = self.supersede(now, &change.replaced, &change.incoming);
        let workers = superseded.iter().chain(&outgoing).copied().collect();
        let id = self.new_retirement();
        self.retirements.push(Retirement {
            id,
            has_workers: !superseded.is_empty() || !outgoing.is_empty(),
            workers,
            kind: change.kind,
            reply_to: change.reply_to,
            since: change.since,
            generation: change.generation,
            reported: Milestone::Serving,
        });
        self.retire(now, &outgoing);
        self.steer();
        for id in superseded {
            self.readiness_changed(now, id);
        }
    }

    fn outgoing(&self, change: &Change) -> Vec<WorkerId> {
        let serving = self
            .workers
            .values()
            .filter(|worker| worker.is_serving() && !change.incoming.contains(&worker.id));
        let replaced = serving.filter(|worker| change.replaced.contains(&worker.slot));
        replaced.map(|worker| worker.id).collect()
    }

    /// What is between two lives in these slots is not needed any more, but for one thing: to
    /// accept what waits on the listeners that were kept. So a replacement that is starting goes
    /// on, one that waits starts at once, and each retires when it listens.
    fn supersede(
        &mut self,
        now: Time,
        slots: &BTreeSet<Slot>,
        incoming: &BTreeSet<WorkerId>,
    ) -> BTreeSet<WorkerId> {
        for slot in slots {
            let Some(vacancy) = self.vacancies.remove(slot) else {
                continue;
            };
            // Siblings that retire now will do it.
            if !self.forsaken(vacancy.kept.keys().copied()).is_empty() {
                self.spawn(now, *slot, vacancy.queue, vacancy.generation, vacancy.kept);
            }
        }
        let between = self
            .workers
            .values_mut()
            .filter(|worker| worker.is_starting() && slots.contains(&worker.slot));
        let superseded = between.filter(|worker| !incoming.contains(&worker.id));
        superseded
            .map(|worker| {
                worker.superseded = true;
                worker.id
            })
            .collect()
    }

    pub(super) fn fail_change(&mut self, now: Time, failure: Failure) {
        let Some(change) = self.change.take() else {
            return;
        };
        if change.kind == ChangeKind::Reload {
            self.tally.reloads_failed += 1;
        }
        for id in &change.incoming {
            if self.workers.get(id).is_some_and(|worker| !worker.is_told()) {
                self.tell(now, *id);
            }
        }
        self.vacancies.extend(change.filled);
        self.out.push(Effect::Reply {
            reply_to: change.reply_to,
            result: ChangeResult::Failed {
                kind: change.kind,
                failure,
            },
        });
        if change.kind == ChangeKind::Start {
            self.begin_stopping(now, ExitReason::StartFailed);
            self.tell_all(now);
        }
    }

    /// Says how far the outgoing workers have come, each milestone once.
    pub(super) fn report_retirements(&mut self, now: Time) {
        let mut retirements = std::mem::take(&mut self.retirements);
        for retirement in &mut retirements {
            let workers = &self.workers;
            retirement.workers.retain(|id| workers.contains_key(id));
            let progress = self.progress(retirement);
            if progress > retirement.reported && retirement.has_workers {
                self.out.push(Effect::Report {
                    reply_to: retirement.reply_to,
                    after: now.since(retirement.since),
                    milestone: progress,
                    kind: retirement.kind,
                    generation: retirement.generation,
                    workers: retirement.workers.len(),
                });
            }
            retirement.reported = retirement.reported.max(progress);
            if progress == Milestone::Gone {
                let result = ChangeResult::Done {
                    kind: retirement.kind,
                    generation: self.serving,
                    workers: self.wanted,
                };
                self.out.push(Effect::Reply {
                    reply_to: retirement.reply_to,
                    result,
                });
            }
        }
        retirements.retain(|retirement| retirement.reported < Milestone::Gone);
        self.retirements.append(&mut retirements);
    }

    /// The milestone of the least advanced of the outgoing workers.
    pub(super) fn progress(&self, retirement: &Retirement) -> Milestone {
        let here = retirement
            .workers
            .iter()
            .filter_map(|id| self.workers.get(id));
        here.map(|worker| worker.milestone().unwrap_or(Milestone::Serving))
            .min()
            .unwrap_or(Milestone::Gone)
    }

    fn report(&mut self, now: Time, change: &Change, milestone: Milestone, workers: usize) {
        self.out.push(Effect::Report {
            reply_to: change.reply_to,
            after: now.since(change.since),
            milestone,
            kind: change.kind,
            generation: change.generation,
            workers,
        });
    }
}

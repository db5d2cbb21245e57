//! Workers on their way out, by the change that replaced them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::vocabulary::*;

/// All retirements that are not over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Retirements {
    open: BTreeMap<RetirementId, Retirement>,
    of: BTreeMap<WorkerId, RetirementId>,
    /// Those that may have come to a new milestone.
    changed: BTreeSet<RetirementId>,
    next: u64,
}

/// The workers that one change has replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Retirement {
    change: Change,
    reported: Milestone,
    /// How far each has come.
    workers: BTreeMap<WorkerId, Milestone>,
    /// How many have come how far.
    counts: BTreeMap<Milestone, usize>,
    /// Whether there was anybody to retire.
    size: Size,
    course: Course,
}

/// How the change of a retirement goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Course {
    /// More workers will retire.
    GoesOn,
    /// These are all.
    Flipped,
    /// It has failed and was answered: nobody wants to hear of those that had retired by then.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Size {
    Nobody,
    Somebody,
}

/// The change that a retirement belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) kind: ChangeKind,
    pub(super) reply_to: Option<ClientId>,
    pub(super) since: Time,
    pub(super) generation: Generation,
}

impl Retirement {
    /// The milestone of the least advanced.
    fn progress(&self) -> Milestone {
        let least = self.counts.first_key_value();
        match (self.course, least) {
            (Course::GoesOn, _) => Milestone::Serving,
            (Course::Flipped | Course::Failed, None) => Milestone::Gone,
            (Course::Flipped | Course::Failed, Some((milestone, _))) => *milestone,
        }
    }

    fn describe(&self, now: Time) -> Progress {
        Progress {
            reply_to: self.change.reply_to,
            after: now.since(self.change.since),
            milestone: self.reported,
            kind: self.change.kind,
            generation: self.change.generation,
            workers: self.workers.len(),
        }
    }

    fn count(&mut self, milestone: Milestone) {
        *self.counts.entry(milestone).or_default() += 1;
    }

    fn uncount(&mut self, milestone: Milestone) {
        if let Some(count) = self.counts.get_mut(&milestone) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&milestone);
            }
        }
    }
}

impl Retirements {
    pub(super) fn next_id(&mut self) -> RetirementId {
        let id = RetirementId(self.next);
        self.next += 1;
        id
    }

    /// Workers retire; while the change goes on, more follow under the same id.
    pub(super) fn add(
        &mut self,
        id: RetirementId,
        change: Change,
        course: Course,
        workers: &[WorkerId],
    ) {
        let retirement = self.open.entry(id).or_insert_with(|| Retirement {
            change,
            reported: Milestone::Serving,
            workers: BTreeMap::new(),
            counts: BTreeMap::new(),
            size: Size::Nobody,
            course,
        });
        retirement.course = course;
        for worker in workers {
            retirement.workers.insert(*worker, Milestone::Serving);
            retirement.count(Milestone::Serving);
            retirement.size = Size::Somebody;
            self.of.insert(*worker, id);
        }
        self.changed.insert(id);
    }

    /// The change of a retirement has failed.
    pub(super) fn failed(&mut self, id: RetirementId) {
        if let Some(retirement) = self.open.get_mut(&id) {
            retirement.course = Course::Failed;
            self.changed.insert(id);
        }
    }

    /// The retirement that a worker is part of.
    pub(super) fn of(&self, worker: WorkerId) -> Option<RetirementId> {
        self.of.get(&worker).copied()
    }

    /// A worker has come so far.
    pub(super) fn advanced(&mut self, worker: WorkerId, milestone: Milestone) {
        let id = self.of(worker);
        let Some((id, retirement)) = id.and_then(|id| Some((id, self.open.get_mut(&id)?))) else {
            return;
        };
        if let Some(former) = retirement.workers.insert(worker, milestone) {
            retirement.uncount(former);
        }
        retirement.count(milestone);
        self.changed.insert(id);
    }

    /// A worker has ended.
    pub(super) fn ended(&mut self, worker: WorkerId) {
        let Some(id) = self.of.remove(&worker) else {
            return;
        };
        if let Some(retirement) = self.open.get_mut(&id)
            && let Some(former) = retirement.workers.remove(&worker)
        {
            retirement.uncount(former);
            self.changed.insert(id);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether all are of changes of this kind.
    pub(super) fn all_are(&self, kind: ChangeKind) -> bool {
        self.open.values().all(|it| it.change.kind == kind)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// A change whose outgoing workers have not all been told to stop, and how far it is.
    pub(super) fn unfinished(&self) -> Option<(ChangeKind, Milestone)> {
        let all = self.open.values();
        let mut progress = all.map(|it| (it.change.kind, it.progress()));
        progress.find(|(_, milestone)| *milestone < Milestone::Draining)
    }

    /// What is to be said of how far the outgoing workers have come, each milestone once; and which changes
    /// are over.
    pub(super) fn report(&mut self, now: Time) -> Vec<News> {
        let mut news = Vec::new();
        for id in std::mem::take(&mut self.changed) {
            let Some(retirement) = self.open.get_mut(&id) else {
                continue;
            };
            let milestone = retirement.progress();
            if milestone <= retirement.reported {
                continue;
            }
            retirement.reported = milestone;
            let is_reported = retirement.course == Course::Flipped;
            if is_reported && retirement.size == Size::Somebody {
                news.push(News::Progress(retirement.describe(now)));
            }
            if milestone == Milestone::Gone {
                news.extend(is_reported.then_some(News::Over(retirement.change)));
                self.open.remove(&id);
            }
        }
        news
    }
}

/// Something about a retirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Progress(Progress),
    /// All of it is over.
    Over(Change),
}

//! A canary: some workers of a new generation serve first, beside all of those before, and get a share of the new
//! connections.
//!
//! ```text
//!   some start ─► on trial ─► the rest start ─► flip ─► …
//!        │           │              │
//!        └───────────┴──────────────┘ one of them ends, or somebody asks for it: they are withdrawn
//! ```
//! Nothing has happened to those of before until the flip, so to withdraw is to steer away from a few workers, which
//! retire like any other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Fleet;
use super::backlog::with_endpoints;
use crate::fleet::policy::Strategy;
use crate::fleet::retirements::{Change, Course};
use crate::fleet::rollout::{Rollout, Step};
use crate::fleet::vocabulary::*;
use crate::fleet::worker::Worker;

impl Fleet {
    /// Begins a reload whose first workers are tried.
    pub(super) fn begin_with_canary(
        &mut self,
        now: Time,
        reply_to: Option<ClientId>,
        slots: &BTreeSet<Slot>,
        wanted: u32,
        addresses: Addresses,
        canary: Canary,
    ) -> Result<(), Denial> {
        let (first, later) = self.split(slots, Slot(wanted), canary.workers);
        if !self.policy.steering {
            return Err(Denial::NotSteered);
        }
        if let Strategy::Rolling(bounds) = self.policy.strategy
            && first.len() > bounds.surge(self.wanted) as usize
        {
            let together = first.len();
            return Err(Denial::NoRoom { together });
        }
        let mut parts = later;
        parts.push_front(first);
        let kind = ChangeKind::Reload;
        self.begin_parts(now, kind, reply_to, parts, wanted, addresses);
        if let Some(rollout) = &mut self.rollout {
            rollout.canary = Some(canary);
        }
        self.begin_next(now);
        Ok(())
    }

    /// The slots of so many workers, or more where these share a queue; and the others, as they are replaced. Slots
    /// that are not wanted any more try nothing.
    fn split(
        &self,
        slots: &BTreeSet<Slot>,
        wanted: Slot,
        count: u32,
    ) -> (BTreeSet<Slot>, VecDeque<BTreeSet<Slot>>) {
        let is_wanted = |part: &BTreeSet<Slot>| part.first().is_some_and(|slot| *slot < wanted);
        let all = self.parts(slots);
        let (mut parts, surplus): (VecDeque<_>, VecDeque<_>) = all.into_iter().partition(is_wanted);
        let mut first = BTreeSet::new();
        while first.range(..wanted).count() < count as usize
            && let Some(part) = parts.pop_front()
        {
            first.extend(part);
        }
        parts.extend(surplus);
        let later = match self.policy.strategy {
            Strategy::Rolling(_) => parts,
            Strategy::AllAtOnce => VecDeque::from([parts.into_iter().flatten().collect()]),
        };
        (first, later)
    }

    /// The first workers are ready: they serve, and nobody leaves for that.
    pub(super) fn begin_trial(&mut self, now: Time, mut rollout: Rollout, canary: Canary) {
        let incoming = rollout.batch.incoming().clone();
        rollout.batch.step = Step::Trial {
            until: canary.hold.map(|hold| now.plus(hold)),
        };
        let progress = Progress {
            reply_to: rollout.reply_to,
            after: now.since(rollout.since),
            milestone: Milestone::Canary,
            kind: rollout.kind,
            generation: rollout.generation,
            workers: incoming.len(),
        };
        self.rollout = Some(rollout);
        for id in incoming {
            self.serve(now, id);
        }
        self.steer();
        self.effects.push(Effect::Report(progress));
    }

    pub(super) fn check_trial(&mut self, now: Time) {
        let rollout = self.rollout.as_ref().filter(|it| it.is_on_trial());
        let until = rollout.and_then(Rollout::deadline);
        if until.is_some_and(|until| until <= now) {
            self.end_trial(now);
        }
    }

    /// They are good: the rest follows.
    pub(super) fn end_trial(&mut self, now: Time) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        rollout.canary = None;
        rollout.batch.step = Step::Workers;
        if self.policy.strategy == Strategy::AllAtOnce {
            let rest: BTreeSet<Slot> = rollout.later.drain(..).flatten().collect();
            rollout.batch.replaced.extend(&rest);
            let rollout = rollout.clone();
            let incoming = self.spawn_batch(now, &rollout, &rest);
            if let Some(rollout) = &mut self.rollout {
                rollout.batch.add(incoming);
            }
        }
        self.flip_if_ready(now);
    }

    /// Whether a worker serves already, and its change has not flipped.
    pub(super) fn is_canary(&self, id: WorkerId) -> bool {
        let rollout = self
            .rollout
            .as_ref()
            .filter(|it| it.kind != ChangeKind::Start);
        let serves = self.workers.get(id).is_some_and(Worker::is_serving);
        serves && rollout.is_some_and(|it| it.has(id))
    }

    /// Whether the change under way is one whose first workers are tried, or were.
    pub(super) fn may_withdraw(&self) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| {
            let mut incoming = rollout.batch.incoming().iter();
            rollout.canary.is_some() || incoming.any(|id| self.is_canary(*id))
        })
    }

    /// A worker that served first has ended: the others are withdrawn.
    pub(super) fn canary_ended(&mut self, now: Time, id: WorkerId, exit: Exit) {
        let Some(dead) = self.workers.remove(id) else {
            return;
        };
        self.fail_change(now, Failure::died(id, dead.slot, exit));
        self.drain_unserved(id, with_endpoints(&dead.listeners));
        self.release(dead.listeners.into_keys());
    }

    /// Those that served first retire. Their connections are as good as others', so nobody is told to stop at once.
    pub(super) fn withdraw(&mut self, now: Time, rollout: &Rollout, asked_by: Option<ClientId>) {
        let incoming = rollout.batch.incoming().iter().copied();
        let serves = |id: &WorkerId| self.workers.get(*id).is_some_and(Worker::is_serving);
        let retiring: Vec<WorkerId> = incoming.filter(serves).collect();
        if retiring.is_empty() {
            // Away from one that has ended.
            self.steer();
            if asked_by.is_none() {
                return;
            }
        }
        let change = Change {
            kind: ChangeKind::Rollback,
            reply_to: asked_by,
            since: now,
            generation: self.generations.serving,
        };
        let course = match asked_by {
            Some(_) => Course::Flipped,
            None => Course::Failed,
        };
        let retirement = self.retirements.next_id();
        self.retirements.add(retirement, change, course, &retiring);
        self.retire(now, &retiring);
    }

    /// What of the new connections each live listener gets: where some workers are on trial, these have their share of
    /// each endpoint's.
    pub(super) fn weights(&self, live: BTreeSet<ListenerId>) -> BTreeMap<ListenerId, u32> {
        let rollout = self.rollout.as_ref().filter(|it| it.is_on_trial());
        let Some((rollout, canary)) = rollout.and_then(|it| Some((it, it.canary?))) else {
            return live.into_iter().map(|id| (id, 1)).collect();
        };
        let facts = |id: ListenerId| {
            let mut holders = self.workers.holders(id);
            let holder = holders.find(|worker| worker.is_serving())?;
            let endpoint = holder.listeners.get(&id)?.endpoint;
            Some((id, endpoint, rollout.has(holder.id)))
        };
        let all: Vec<(ListenerId, Endpoint, bool)> = live.into_iter().filter_map(facts).collect();
        let mut counts: BTreeMap<Endpoint, [u32; 2]> = BTreeMap::new();
        for (_, endpoint, is_tried) in &all {
            counts.entry(*endpoint).or_default()[usize::from(*is_tried)] += 1;
        }
        let weight = |(id, endpoint, is_tried)| {
            let weight = match (counts.get(&endpoint), is_tried) {
                (None | Some([0, _] | [_, 0]), _) => 1,
                (Some([others, _]), true) => canary.percent * others,
                (Some([_, tried]), false) => (100 - canary.percent) * tried,
            };
            (id, weight)
        };
        all.into_iter().map(weight).collect()
    }
}

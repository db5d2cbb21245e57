//! A change before it is over: a start, a reload, a restart of one worker, another number of workers.
//!
//! A rollout is made of batches of slots. The incoming workers of a batch are started; when all of them are
//! ready they take over in one step (the flip), and the workers that they replace retire. Where there is no room for
//! that, the workers that they replace retire first. Then comes the next batch, when there is room for it. A rollout
//! has one generation, one retirement and one answer, however many batches it has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::recyclings::Recycling;
use super::slots::EmptySlot;
use super::vocabulary::*;
use super::worker::Worker;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rollout {
    pub(super) kind: ChangeKind,
    pub(super) reply_to: Option<ClientId>,
    pub(super) since: Time,
    pub(super) generation: Generation,
    /// The number of workers when all is over.
    pub(super) wanted: u32,
    /// The retirement of the workers that it replaces.
    pub(super) retirement: RetirementId,
    pub(super) addresses: Addresses,
    pub(super) batch: Batch,
    /// The slots that come after those of this batch. Those of one set are replaced together.
    pub(super) later: VecDeque<BTreeSet<Slot>>,
    /// The slots that were replaced by the batches before.
    pub(super) done: BTreeSet<Slot>,
    /// Those that serve first, until it is known that they are good.
    pub(super) canary: Option<Canary>,
    /// The empty slot that a restart fills; it is empty again if the restart fails.
    pub(super) filled: Option<(Slot, EmptySlot)>,
    /// The worker for whose sake a recycling is.
    pub(super) recycling: Option<Recycling>,
}

/// Whether the workers of a batch that are all ready have shown that they stay so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Proof {
    /// Nothing is asked yet.
    #[default]
    None,
    /// They are to be looked at then.
    Due(Time),
    /// They are being looked at.
    Asked,
}

/// A flip whose outgoing workers have not been told to stop: until then it may be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Flipped {
    pub(super) rollout: Rollout,
    pub(super) outgoing: Vec<WorkerId>,
    /// The soak, if it is not over.
    pub(super) soak: Option<Soak>,
    /// What served before, and how many.
    pub(super) generation: Generation,
    pub(super) wanted: u32,
}

impl Flipped {
    /// Whether a worker is one of those that took over, or replaces one of these in a soak.
    pub(super) fn is_new(&self, worker: &Worker) -> bool {
        self.rollout.has(worker.id) || self.is_new_generation(worker.generation)
    }

    /// Whether a worker of before serves when the flip has been taken back, or will.
    pub(super) fn goes_on_with(&self, worker: &Worker) -> bool {
        !self.is_new(worker) && worker.stays()
    }

    /// Whether a generation is new with this flip. A restart and a change of the number make none.
    pub(super) fn is_new_generation(&self, generation: Generation) -> bool {
        generation == self.rollout.generation && generation != self.generation
    }
}

/// New workers prove themselves, while those that they have replaced stand by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Soak {
    pub(super) until: Time,
    /// How many new workers have ended so far.
    pub(super) crashes: u32,
}

/// What flips in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Batch {
    /// The slots whose present workers retire at the flip.
    pub(super) replaced: BTreeSet<Slot>,
    /// The workers that leave before others are started in their place.
    pub(super) left: BTreeMap<Slot, WorkerId>,
    /// The slots of those, and of their sets: only the change starts workers there.
    pub(super) leaving: BTreeSet<Slot>,
    incoming: BTreeSet<WorkerId>,
    unready: BTreeSet<WorkerId>,
    pub(super) proof: Proof,
    pub(super) step: Step,
}

/// What a batch waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    /// Its workers.
    #[default]
    Workers,
    /// The end of those that leave: then others start in their place.
    Leaving,
    /// Those that the batch before has replaced: until they are gone there is no room for its workers.
    Room,
    /// The end of their trial: by then, or when it is asked for.
    Trial { until: Option<Time> },
}

impl Batch {
    pub(super) fn new(replaced: BTreeSet<Slot>, incoming: BTreeSet<WorkerId>) -> Self {
        Self {
            replaced,
            unready: incoming.clone(),
            incoming,
            ..Self::default()
        }
    }

    /// None is under way until there is room.
    pub(super) fn to_come() -> Self {
        Self {
            step: Step::Room,
            ..Self::default()
        }
    }

    /// These leave before others start in these slots.
    pub(super) fn leave(&mut self, slots: BTreeSet<Slot>, workers: BTreeMap<Slot, WorkerId>) {
        self.replaced.extend(&slots);
        self.step = Step::Leaving;
        (self.leaving, self.left) = (slots, workers);
    }

    /// These are started, too, in the place of those that have left.
    pub(super) fn fill(&mut self, incoming: BTreeSet<WorkerId>) {
        self.step = Step::Workers;
        self.add(incoming);
    }

    /// These belong to it, too.
    pub(super) fn add(&mut self, incoming: BTreeSet<WorkerId>) {
        self.unready.extend(&incoming);
        self.incoming.extend(incoming);
    }

    pub(super) fn unready(&self) -> &BTreeSet<WorkerId> {
        &self.unready
    }

    pub(super) fn incoming(&self) -> &BTreeSet<WorkerId> {
        &self.incoming
    }

    /// It was ready, and is not any more.
    pub(super) fn not_ready(&mut self, worker: WorkerId) {
        self.unready.insert(worker);
    }

    pub(super) fn ready(&mut self, worker: WorkerId) {
        self.unready.remove(&worker);
    }

    /// The batch has had this worker, and would wait for it for ever.
    pub(super) fn drop_worker(&mut self, worker: WorkerId) {
        self.incoming.remove(&worker);
        self.unready.remove(&worker);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.step == Step::Workers && self.unready.is_empty()
    }
}

impl Rollout {
    /// When something about it is due; none while it waits for its workers alone.
    pub(super) fn deadline(&self) -> Option<Time> {
        match (self.batch.step, self.batch.proof) {
            (Step::Trial { until }, _) => until,
            (Step::Workers | Step::Leaving | Step::Room, Proof::Due(at)) => Some(at),
            (Step::Workers | Step::Leaving | Step::Room, Proof::None | Proof::Asked) => None,
        }
    }

    /// Whether its first workers are on trial.
    pub(super) fn is_on_trial(&self) -> bool {
        matches!(self.batch.step, Step::Trial { .. })
    }

    /// Whether its batch has no workers, and none of before has to leave first.
    pub(super) fn waits_for_nobody(&self) -> bool {
        self.batch.is_ready() && self.batch.incoming.is_empty()
    }

    pub(super) fn has(&self, worker: WorkerId) -> bool {
        self.batch.incoming.contains(&worker)
    }

    /// All slots that it is about.
    pub(super) fn slots(&self) -> BTreeSet<Slot> {
        let later = self.later.iter().flatten();
        let present = self.batch.replaced.iter().chain(&self.done);
        later.chain(present).copied().collect()
    }

    /// How many workers a change has replaced, or begun to, when it fails.
    pub(super) fn replaced_so_far(&self) -> usize {
        self.done.len() + self.batch.left.len()
    }

    /// Nothing of it is under way: what comes next waits for room.
    pub(super) fn flipped_batch(&mut self) {
        let batch = std::mem::replace(&mut self.batch, Batch::to_come());
        self.done.extend(batch.replaced);
    }
}

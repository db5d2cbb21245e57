//! The soak: new workers prove themselves under load, while those that they have replaced stand by.
//!
//! ```text
//!   flip ─► soaking ─► settling ─► …
//!              │ more new workers end than is let pass, or somebody asks for it: the flip is taken back
//! ```
//! A worker that stands by gets no new connections, and goes on with those that it has. So to go back is one exchange
//! of the steering, at once and without a loss; and what the end of the soak begins is a retirement like any other.

use super::Fleet;
use super::flip::change_of;
use crate::fleet::phase::Phase;
use crate::fleet::retirements::Course;
use crate::fleet::rollout::{Flipped, Rollout, Soak};
use crate::fleet::vocabulary::*;
use crate::fleet::worker::Worker;

impl Fleet {
    /// Whether the workers that a change replaces stand by after its flip.
    pub(super) fn soaks(&self, rollout: &Rollout) -> bool {
        !self.policy.soak.is_zero() && rollout.kind == ChangeKind::Reload
    }

    /// The outgoing workers of the last flip stand by.
    pub(super) fn begin_soak(&mut self, now: Time, outgoing: &[WorkerId]) {
        let until = now.plus(self.policy.soak);
        let Some(flipped) = &mut self.flipped else {
            return;
        };
        flipped.soak = Some(Soak { until, crashes: 0 });
        let change = change_of(&flipped.rollout);
        for id in outgoing {
            self.set_phase(*id, Phase::StandingBy);
        }
        self.steer();
        self.effects.push(Effect::Report(Progress {
            reply_to: change.reply_to,
            after: now.since(change.since),
            milestone: Milestone::Soaking,
            kind: change.kind,
            generation: change.generation,
            workers: outgoing.len(),
        }));
    }

    /// When the soak is over; none while there is none.
    pub(super) fn soak_deadline(&self) -> Option<Time> {
        let soak = self.flipped.as_ref()?.soak?;
        Some(soak.until)
    }

    pub(super) fn check_soak(&mut self, now: Time) {
        if self.soak_deadline().is_some_and(|until| until <= now) {
            self.end_soak(now);
        }
    }

    /// Those that stand by retire. Until they are told to stop, the flip may still be taken back.
    pub(super) fn end_soak(&mut self, now: Time) {
        let Some(flipped) = &mut self.flipped else {
            return;
        };
        if flipped.soak.take().is_none() {
            return;
        }
        let (retirement, change) = (flipped.rollout.retirement, change_of(&flipped.rollout));
        let stands_by = |id: &WorkerId| self.workers.get(*id).is_some_and(Worker::stands_by);
        flipped.outgoing.retain(stands_by);
        let retiring = flipped.outgoing.clone();
        if retiring.is_empty() {
            self.flipped = None;
        }
        self.retirements
            .add(retirement, change, Course::Flipped, &retiring);
        self.retire(now, &retiring);
    }

    /// Whether the end of a new worker, or that it is unhealthy, is one too many. One that is let pass is counted.
    /// `is_hopeless`: the others will do the same.
    ///
    /// Never more are let pass than would be a crash loop: there is something better to do than to give up a slot, as
    /// long as the old workers are there.
    pub(super) fn fails_soak(&mut self, id: WorkerId, is_hopeless: bool) -> bool {
        let Some(worker) = self.workers.get(id) else {
            return false;
        };
        let Some(Flipped {
            rollout,
            soak: Some(soak),
            ..
        }) = &mut self.flipped
        else {
            return false;
        };
        if worker.generation != rollout.generation || worker.is_leaving() {
            return false;
        }
        soak.crashes += 1;
        let let_pass = self.policy.soak_restarts.min(self.policy.max_restarts);
        soak.crashes > let_pass || is_hopeless
    }
}

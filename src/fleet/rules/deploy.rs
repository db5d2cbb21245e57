//! What a reload is to start: it is read when the reload begins, and is in effect from then on.
//!
//! ```text
//!   asked for ─► reading ─► in effect ─► flip ─► what was in effect before is kept for a roll back
//!                   │           │
//!                   │           └─► the reload fails, or its flip is taken back: what was before is in effect again
//!                   └─► it makes no sense: nothing has changed
//! ```
//! It is read at no other moment: what has waited its turn starts what is there then, not what was there when it was
//! asked for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Fleet;
use crate::fleet::deployments::Deployment;
use crate::fleet::policy::Policy;
use crate::fleet::vocabulary::*;

/// A reload that waits for what it is to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reading {
    reply_to: Option<ClientId>,
    reload: Reload,
    since: Time,
}

impl Fleet {
    pub(super) fn read(&mut self, now: Time, reply_to: Option<ClientId>, reload: Reload) {
        self.reading = Some(Reading {
            reply_to,
            reload,
            since: now,
        });
        let deployment = reload.deployment;
        self.effects.push(Effect::ReadDeployment { deployment });
    }

    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    pub(super) fn reading_since(&self) -> Option<Time> {
        self.reading.map(|reading| reading.since)
    }

    /// Nothing begins any more.
    pub(super) fn deny_reading(&mut self) {
        if let Some(reading) = self.reading.take() {
            self.deny(reading.reply_to, Denial::Stopping);
        }
    }

    pub(super) fn deployment_read(
        &mut self,
        now: Time,
        id: DeploymentId,
        policy: Result<Box<Policy>, String>,
    ) {
        let is_it = |reading: &mut Reading| reading.reload.deployment == id;
        let Some(Reading {
            reply_to, reload, ..
        }) = self.reading.take_if(is_it)
        else {
            return;
        };
        match policy {
            Ok(policy) => {
                let policy = *policy;
                self.deploy(now, reply_to, reload, Deployment { id, policy });
            }
            Err(reason) => self.not_deployed(reply_to, Failure::Unusable(reason)),
        }
    }

    /// When what is being read must be there.
    pub(super) fn reading_deadline(&self) -> Option<Time> {
        let reading = self.reading.as_ref()?;
        Some(reading.since.plus(self.policy.start_timeout))
    }

    /// A disk that hangs must not keep others from asking for something else.
    pub(super) fn check_reading(&mut self, now: Time) {
        if self.reading_deadline().is_some_and(|until| until <= now)
            && let Some(reading) = self.reading.take()
        {
            let after = now.since(reading.since);
            self.not_deployed(reading.reply_to, Failure::NotRead { after });
        }
    }

    /// Nothing has been changed.
    fn not_deployed(&mut self, reply_to: Option<ClientId>, failure: Failure) {
        self.tally.reloads_failed += 1;
        self.effects.push(Effect::Reply {
            reply_to,
            result: ChangeResult::Failed {
                kind: ChangeKind::Reload,
                failure,
                undone: 0,
            },
        });
    }

    /// Begins a reload that starts this.
    pub(super) fn deploy(
        &mut self,
        now: Time,
        reply_to: Option<ClientId>,
        reload: Reload,
        deployment: Deployment,
    ) {
        let wanted = self.wanted_by(&deployment.policy);
        self.put_into_effect(&deployment);
        self.deployments.push(deployment);
        if let Err(denial) = self.begin_reload(now, reply_to, reload, wanted) {
            self.put_back();
            self.deny(reply_to, denial);
        }
    }

    /// How many workers there are to be. Who has asked for another number since this one was read is not overruled by
    /// reading the same again.
    fn wanted_by(&self, policy: &Policy) -> u32 {
        match policy.workers == self.policy.workers {
            true => self.wanted,
            false => policy.workers,
        }
    }

    /// What was in effect before the last reload is so again: that has failed, or was taken back.
    pub(super) fn put_back(&mut self) {
        if let Some(before) = self.deployments.pop().cloned() {
            self.put_into_effect(&before);
        }
    }

    fn put_into_effect(&mut self, deployment: &Deployment) {
        self.policy = deployment.policy.clone();
        self.restarts.set_window(self.policy.restart_window);
        let deployment = deployment.id;
        self.effects.push(Effect::Apply { deployment });
    }

    /// Which generation is made by what is in effect.
    pub(super) fn note_generation(&mut self, generation: Generation) {
        let workers = self.workers.iter().map(|worker| worker.generation);
        let empty = self.empty_slots.iter().map(|(_, empty)| empty.generation);
        let serving = [self.generations.serving];
        let left: BTreeSet<Generation> = workers.chain(empty).chain(serving).collect();
        self.deployments.begin(generation, &left);
    }

    /// All that may still be started, or has workers.
    pub fn deployments(&self) -> BTreeSet<DeploymentId> {
        let reading = self.reading.iter().map(|it| it.reload.deployment);
        let pending = self.pending_requests.deployments();
        self.deployments
            .ids()
            .chain(reading)
            .chain(pending)
            .collect()
    }
}

//! What the generations are made by: which of what was read, and by which numbers the rules go.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::policy::Policy;
use super::vocabulary::{DeploymentId, Generation};

/// How many are kept: the one that is in effect, the one before it, and the one before that for when the one in effect
/// fails.
const MOST: usize = 3;

/// What a generation is made by. The command and all that workers find is known to the supervisor by this name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deployment {
    pub(super) id: DeploymentId,
    pub(super) policy: Policy,
}

/// Those that may still be needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deployments {
    /// The last is in effect. Those before it were, in their order.
    history: Vec<Deployment>,
    /// Those that are no part of that any more, and that workers are still made by: where what had failed could not be
    /// undone, its workers serve on, and are replaced when they crash.
    past: Vec<Deployment>,
    of_generation: BTreeMap<Generation, DeploymentId>,
}

impl Deployments {
    pub(super) fn new(first: Policy) -> Self {
        Self {
            history: vec![Deployment {
                id: DeploymentId(0),
                policy: first,
            }],
            past: Vec::new(),
            of_generation: BTreeMap::new(),
        }
    }

    /// This one is in effect from now on.
    pub(super) fn push(&mut self, deployment: Deployment) {
        self.history.push(deployment);
        let surplus = self.history.len().saturating_sub(MOST);
        self.past.extend(self.history.drain(..surplus));
    }

    /// The one that is in effect has failed: the one before it is in effect again.
    pub(super) fn pop(&mut self) -> Option<&Deployment> {
        if self.history.len() > 1 {
            self.past.extend(self.history.pop());
        }
        self.history.last()
    }

    /// The one before the one that is in effect.
    pub(super) fn previous(&self) -> Option<&Deployment> {
        self.history.iter().rev().nth(1)
    }

    pub(super) fn current(&self) -> DeploymentId {
        let last = self.history.last();
        last.map_or(DeploymentId(0), |deployment| deployment.id)
    }

    /// A generation is made by the one that is in effect; of those before only these are left.
    pub(super) fn begin(&mut self, generation: Generation, left: &BTreeSet<Generation>) {
        self.of_generation.retain(|it, _| left.contains(it));
        self.of_generation.insert(generation, self.current());
        let of_generation = &self.of_generation;
        self.past
            .retain(|it| of_generation.values().any(|id| *id == it.id));
    }

    /// What a generation is made by.
    pub(super) fn of(&self, generation: Generation) -> DeploymentId {
        let known = self.of_generation.get(&generation);
        known.copied().unwrap_or_else(|| self.current())
    }

    /// The numbers for a worker of a generation, if they are still known.
    pub(super) fn policy_of(&self, generation: Generation) -> Option<&Policy> {
        let id = self.of(generation);
        let mut known = self.history.iter().chain(&self.past);
        let found = known.find(|deployment| deployment.id == id);
        found.map(|deployment| &deployment.policy)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = DeploymentId> {
        let history = self.history.iter().map(|deployment| deployment.id);
        history.chain(self.of_generation.values().copied())
    }
}

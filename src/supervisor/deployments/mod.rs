//! What generations are made by: configurations as they were read, each once.
//!
//! ```text
//!   a reload is asked for ──► requested ──► it begins: read, by a thread ──► known ──► in effect
//! ```
//! The supervisor goes by the one that is in effect; each worker by its own, to its end.
//!
//! | file | what it does |
//! | --- | --- |
//! | `reading` | reads a configuration without keeping the loop waiting |
//! | `immutable` | what cannot change without a restart |

mod immutable;
mod reading;

use std::collections::BTreeMap;
use std::sync::Arc;

use log::warn;
use mio::Waker;

use super::policy;
use crate::config::{Config, Overrides, ReadConfig, Steering};
use crate::fleet::{DeploymentId, Event, Fleet};
use reading::Reading;

pub(super) struct Deployments {
    reading: Reading,
    /// The steering that was asked for at the start.
    steering: Steering,
    known: BTreeMap<DeploymentId, Deployment>,
    requested: BTreeMap<DeploymentId, Request>,
    in_effect: DeploymentId,
    next: u64,
}

struct Deployment {
    config: Arc<Config>,
    /// What it was given beside what is configured.
    overrides: Overrides,
}

/// What a reload is to start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// What the reload was given.
    pub(super) overrides: Overrides,
    /// Whether what earlier ones were given holds no more.
    pub(super) as_configured: bool,
}

impl Deployments {
    /// `first` is what was read first, with the steering that it came to; `steering` is the one that was asked for.
    pub(super) fn new(
        first: Arc<Config>,
        steering: Steering,
        read: ReadConfig,
        waker: Arc<Waker>,
    ) -> Self {
        let first = Deployment {
            config: first,
            overrides: Overrides::default(),
        };
        Self {
            reading: Reading::new(read, waker),
            steering,
            known: BTreeMap::from([(DeploymentId(0), first)]),
            requested: BTreeMap::new(),
            in_effect: DeploymentId(0),
            next: 1,
        }
    }

    /// A name for what a reload is to start.
    pub(super) fn request(&mut self, request: Request) -> DeploymentId {
        let id = DeploymentId(self.next);
        self.next += 1;
        self.requested.insert(id, request);
        id
    }

    /// Reads it; the loop is woken when that is done.
    pub(super) fn read(&mut self, id: DeploymentId) {
        let request = self.requested.remove(&id).unwrap_or_default();
        let before = match request.as_configured {
            true => Overrides::default(),
            false => self.overrides().clone(),
        };
        let overrides = before.with(request.overrides);
        self.reading.begin(id, overrides);
    }

    /// What was read, if the loop was woken for that.
    pub(super) fn collect(&mut self, fleet: &Fleet) -> Option<Event> {
        let (deployment, overrides, result) = self.reading.collect()?;
        let usable = result.and_then(|read| self.usable(read));
        let policy = usable.map(|config| {
            let policy = policy::of(&config);
            let config = Arc::new(config);
            self.forget_all_but(fleet, deployment);
            let known = Deployment { config, overrides };
            self.known.insert(deployment, known);
            Box::new(policy)
        });
        Some(Event::DeploymentRead { deployment, policy })
    }

    /// What was read, with what cannot change; or why that cannot be.
    fn usable(&self, mut read: Config) -> Result<Config, String> {
        let changed = immutable::changed(self.current(), self.steering, &read);
        if !changed.is_empty() {
            warn!(
                "changed, but that takes a restart of reuseport-run: {}",
                changed.join(", ")
            );
        }
        immutable::keep(self.current(), &mut read);
        policy::counted(&read.limits, read.steering).map_err(|error| error.to_string())?;
        policy::warn_unless_steered(&read);
        Ok(read)
    }

    /// What the fleet has no use for any more. What was requested since is not yet known to it.
    fn forget_all_but(&mut self, fleet: &Fleet, read: DeploymentId) {
        let used = fleet.deployments();
        self.known.retain(|id, _| used.contains(id));
        self.requested
            .retain(|id, _| used.contains(id) || *id > read);
    }

    /// This one is in effect from now on.
    pub(super) fn apply(&mut self, id: DeploymentId) -> Arc<Config> {
        self.in_effect = id;
        Arc::clone(self.current())
    }

    /// What the workers of a generation are made by.
    pub(super) fn config(&self, id: DeploymentId) -> Arc<Config> {
        let known = self.known.get(&id).map(|known| &known.config);
        Arc::clone(known.unwrap_or_else(|| self.current()))
    }

    /// What was given beside what is configured, of the one that is in effect.
    pub(super) fn overrides(&self) -> &Overrides {
        &self.known[&self.in_effect].overrides
    }

    fn current(&self) -> &Arc<Config> {
        &self.known[&self.in_effect].config
    }
}

//! Which listeners new connections are steered to: those that serving workers listen on and that are trusted; where an
//! endpoint has none of these, those of workers that are avoided.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::health::Standing;
use super::vocabulary::{Endpoint, ListenerId};

/// The listeners that serving workers listen on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Live {
    served: BTreeMap<ListenerId, Served>,
    /// How many workers are trusted at each endpoint.
    trusted: BTreeMap<Endpoint, usize>,
    told: Told,
}

/// What the steering was told, and what may have changed since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    live: BTreeSet<ListenerId>,
    changed: BTreeSet<(ListenerId, Standing)>,
}

/// How many serving workers listen on a listener.
#[derive(Clone, Debug, PartialEq)]
struct Served {
    endpoint: Endpoint,
    by: BTreeMap<Standing, usize>,
}

impl Live {
    pub(super) fn add(&mut self, listener: ListenerId, endpoint: Endpoint, standing: Standing) {
        let served = self.served.entry(listener).or_insert(Served {
            endpoint,
            by: BTreeMap::new(),
        });
        let count = served.by.entry(standing).or_default();
        *count += 1;
        if *count == 1 {
            toggle(&mut self.told.changed, (listener, standing));
        }
        if standing == Standing::Trusted {
            *self.trusted.entry(endpoint).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, listener: ListenerId, standing: Standing) {
        let Some(served) = self.served.get_mut(&listener) else {
            return;
        };
        let endpoint = served.endpoint;
        if remove_one(&mut served.by, standing) {
            toggle(&mut self.told.changed, (listener, standing));
        }
        if served.by.is_empty() {
            self.served.remove(&listener);
        }
        if standing == Standing::Trusted {
            remove_one(&mut self.trusted, endpoint);
        }
    }

    /// Whether a serving worker listens on it.
    pub(super) fn is_served(&self, listener: ListenerId) -> bool {
        self.served.contains_key(&listener)
    }

    /// Whether new connections are to be steered to it.
    pub(super) fn is_live(&self, listener: ListenerId) -> bool {
        let served = self.served.get(&listener);
        served.is_some_and(|it| self.gets(it))
    }

    /// Whether a trusted worker serves there.
    pub(super) fn is_trusted_at(&self, endpoint: &Endpoint) -> bool {
        self.trusted.contains_key(endpoint)
    }

    fn gets(&self, served: &Served) -> bool {
        let by = |standing| served.by.contains_key(&standing);
        by(Standing::Trusted) || by(Standing::Avoided) && !self.is_trusted_at(&served.endpoint)
    }

    /// The live listeners.
    pub(super) fn listeners(&self) -> BTreeSet<ListenerId> {
        let served = self.served.iter();
        let live = served.filter(|(_, served)| self.gets(served));
        live.map(|(listener, _)| *listener).collect()
    }

    /// The endpoints of the live listeners.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        let served = self.served.values();
        served.filter(|it| self.gets(it)).map(|it| it.endpoint)
    }

    /// The live listeners, if they have changed since the last call.
    pub(super) fn take_changed(&mut self) -> Option<BTreeSet<ListenerId>> {
        if self.told.changed.is_empty() {
            return None;
        }
        self.told.changed.clear();
        let live = self.listeners();
        let before = core::mem::replace(&mut self.told.live, live.clone());
        (before != live).then_some(live)
    }

    pub(super) fn told(&self) -> Told {
        self.told.clone()
    }

    pub(super) fn restore(&mut self, told: Told) {
        self.told = told;
    }
}

/// Takes one away; whether it was the last.
fn remove_one<K: Ord>(counts: &mut BTreeMap<K, usize>, of: K) -> bool {
    let Some(count) = counts.get_mut(&of) else {
        return false;
    };
    *count -= 1;
    let was_last = *count == 0;
    if was_last {
        counts.remove(&of);
    }
    was_last
}

/// What changes twice has not changed.
fn toggle<T: Ord>(set: &mut BTreeSet<T>, what: T) {
    if !set.remove(&what) {
        set.insert(what);
    }
}

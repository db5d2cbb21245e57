//! One endpoint's group: the keys of its listeners, those that are live, and those that leave.

use std::net::SocketAddr;

use log::{debug, error};

use super::keys::Keys;
use super::maps::{Counting, GroupMaps, MAX_LISTENERS};
use super::program::MAX_CHOICES;
use crate::fleet::{Endpoint, ListenerId};
use crate::supervisor::listeners::{Closed, Listeners};
use crate::supervisor::steering::Live;
use crate::supervisor::steering::closing::{hide, leaked, report_leak};
use crate::supervisor::steering::fence::Fences;
use crate::supervisor::steering::leaving::Leaving;
use crate::supervisor::steering::spread::{Target, hash, shares};
use crate::sys::bpf::LoadError;
use crate::sys::listener;

#[derive(Debug)]
pub(super) struct Group {
    endpoint: Endpoint,
    maps: GroupMaps,
    keys: Keys,
    /// Those of its listeners that new connections go to.
    live: Live,
    /// The keys that the program chooses from: each as often as its share is.
    choices: Vec<u32>,
    leaving: Leaving,
    /// What was closed since the last look for leaks.
    closed: Vec<Closed>,
}

impl Group {
    pub(super) fn new(endpoint: Endpoint, counting: Counting) -> Result<Self, LoadError> {
        Ok(Self {
            endpoint,
            maps: GroupMaps::create(counting)?,
            keys: Keys::new(MAX_LISTENERS),
            live: Live::new(),
            choices: Vec::new(),
            leaving: Leaving::default(),
            closed: Vec::new(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn is_removing(&self) -> bool {
        !self.leaving.is_empty()
    }

    pub(super) fn key_of(&self, id: ListenerId) -> Option<u32> {
        self.keys.of(id)
    }

    /// How many connections a listener was given, if that is counted.
    pub(super) fn count(&self, id: ListenerId) -> Option<u32> {
        self.maps.count(self.keys.of(id)?)
    }

    /// The listener that a connection from this source is given.
    pub(super) fn chosen(&self, source: SocketAddr) -> Option<ListenerId> {
        let count = u32::try_from(self.choices.len()).ok()?;
        let place = hash(source.ip(), source.port()).checked_rem(count)?;
        let key = self.choices.get(place as usize)?;
        self.keys.listener(*key)
    }

    pub(super) fn joined(&mut self, listeners: &Listeners, id: ListenerId) {
        let Some(socket) = listeners.socket(id) else {
            return;
        };
        // A group goes with its last listener, and its program with it.
        let is_alone = !self.keys.listeners().any(|other| {
            let socket = listeners.socket(other);
            other != id && socket.is_some_and(|socket| listener::is_listening(&socket))
        });
        let Some(key) = self.keys.add(id) else {
            return error!(
                "{}: a listener gets no connections: the group has {MAX_LISTENERS} already; let those that retire end, \
                 or restart the supervisor",
                self.endpoint
            );
        };
        if let Err(error) = self.maps.put(key, &socket) {
            return self.cannot("add a listener to", &error);
        }
        if self.choices.is_empty() {
            // From the first listener on, so that none that joins gets anything before its time.
            self.choose_from(vec![key]);
        }
        if is_alone && let Err(error) = self.maps.attach(&socket) {
            self.cannot("attach a program to", &error);
        }
    }

    /// Gives new connections to those of `live` that are of this group. If none is, all stays as it is:
    /// a queue that waits for a replacement is better than a reset.
    pub(super) fn select(&mut self, live: &Live) {
        let weighted = self.keys.listeners().filter_map(|id| {
            let weight = *live.get(&id)?;
            (weight > 0 && !self.leaving.contains(id)).then_some((id, weight))
        });
        let here: Live = weighted.collect();
        if !here.is_empty() && here != self.live {
            self.live = here;
            self.publish();
        }
    }

    /// Has the program choose nobody: whoever comes is refused.
    pub(super) fn keep_out(&mut self) {
        self.live.clear();
        self.choose_from(Vec::new());
    }

    /// Has the program choose from what is live.
    fn publish(&mut self) {
        let target = |(id, weight): (&ListenerId, &u32)| Target {
            index: self.keys.of(*id).unwrap_or(MAX_LISTENERS),
            weight: *weight,
        };
        let targets: Vec<Target> = self.live.iter().map(target).collect();
        let choices = shares(&targets, MAX_CHOICES as usize);
        if choices != self.choices {
            self.choose_from(choices);
        }
    }

    fn choose_from(&mut self, choices: Vec<u32>) {
        match self.maps.choose_from(&choices) {
            Ok(()) => self.choices = choices,
            Err(error) => self.cannot("change the choice of", &error),
        }
    }

    fn cannot(&self, what: &str, error: &dyn std::error::Error) {
        error!(
            "{}: cannot {what} the group: {error}; new connections may reach workers that are being replaced \
             (--steering none avoids programs)",
            self.endpoint
        );
    }

    pub(super) fn remove(&mut self, id: ListenerId) {
        self.leaving.add(id);
        if self.live.remove(&id).is_some() && !self.live.is_empty() {
            self.publish();
        }
    }

    /// Hides what is to leave, closes what is hidden.
    pub(super) fn proceed(&mut self, listeners: &mut Listeners, fences: &mut Fences) {
        if self.leaving.is_empty() {
            return;
        }
        let is_alone = self.live.is_empty();
        if self.leaving.pending_count() > 0 {
            self.leaving
                .hide_all(fences, |id| !is_alone && hide(listeners, id));
        }
        for id in self.leaving.due(fences).clone() {
            self.close(listeners, id);
        }
        // Once for all that leave together: the look is at all listeners of the port.
        if self.leaving.is_empty() {
            let closed = std::mem::take(&mut self.closed);
            for closed in leaked(&self.endpoint, &closed) {
                report_leak(&closed);
                listeners.leaked.add(&closed);
            }
        }
    }

    fn close(&mut self, listeners: &mut Listeners, id: ListenerId) {
        self.leaving.closed(id);
        if let Some(key) = self.keys.remove(id)
            // Another process may still have it, and then it would keep the key.
            && let Err(error) = self.maps.take_out(key)
        {
            debug!("{}: cannot take a listener out: {error}", self.endpoint);
        }
        self.closed.extend(listeners.close(id));
    }
}

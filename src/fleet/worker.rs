//! One worker: which listeners it has, what it is there for, and whether it has said that it is ready.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::health::{Health, Standing};
use super::listener::{Duty, LATE_START, Listener, Origin, Usage};
use super::phase::{Phase, StopReason};
use super::policy::{HealthChecks, Limits, ReadyWhen};
use super::vocabulary::{Endpoint, Generation, ListenerId, ListenerSetId, Slot, Time, WorkerId};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) slot: Slot,
    pub(super) set: ListenerSetId,
    pub(super) generation: Generation,
    pub(super) started: Time,
    pub(super) phase: Phase,
    pub(super) listeners: BTreeMap<ListenerId, Listener>,
    /// What makes it ready, beside listening.
    pub(super) ready: ReadyWhen,
    pub(super) declaration: Declaration,
    pub(super) role: Role,
    /// When it was ready; none before.
    pub(super) ready_since: Option<Time>,
    /// How it is checked, if it is.
    pub(super) checks: Option<HealthChecks>,
    pub(super) health: Health,
    /// The listeners that a rescuer has accepted from while it serves, since it does not.
    pub(super) drained: BTreeSet<ListenerId>,
    /// What it may reach before it is recycled.
    pub(super) limits: Limits,
    /// How long it has from the message that tells it to stop until the stop signal; none: it gets no message.
    pub(super) stop_message: Option<Duration>,
    /// When it will have served for long enough; none: never, or that is known.
    pub(super) ages_at: Option<Time>,
}

/// Whether a worker has said or shown that it is ready, in the way that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Declaration {
    Awaited,
    Made,
}

/// What a worker is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Role {
    Serve,
    /// It replaces a crashed worker of a generation that has been replaced meanwhile: it is needed only to
    /// accept what waits on the listeners that it adopts.
    DrainOnly,
}

impl Worker {
    pub(super) fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }

    pub(super) fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. })
    }

    /// Whether others serve in its place that have to prove themselves first.
    pub(super) fn stands_by(&self) -> bool {
        self.phase == Phase::StandingBy
    }

    /// Whether it serves, or did: then it has connections, and what follows is on its way.
    pub(super) fn has_served(&self) -> bool {
        match self.phase {
            Phase::Starting { .. } | Phase::Ready => false,
            Phase::Serving
            | Phase::StandingBy
            | Phase::Settling { .. }
            | Phase::Quiescing { .. }
            | Phase::PreparingStop { .. }
            | Phase::Draining { .. }
            | Phase::Killed { .. } => true,
        }
    }

    /// Whether it was told to stop, or killed.
    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. } | Phase::Killed { .. })
    }

    /// Whether it was told to stop, or killed, and nobody comes after it.
    pub(super) fn is_leaving(&self) -> bool {
        self.is_stopping() && !self.is_killed_for(StopReason::StartTimedOut)
    }

    /// Whether it serves, or will when nothing fails.
    pub(super) fn stays(&self) -> bool {
        self.is_serving() || self.is_between_lives() && self.role == Role::Serve
    }

    /// Whether it replaces a crashed worker and does not serve yet, or never will but is followed by
    /// another that does.
    pub(super) fn is_between_lives(&self) -> bool {
        self.is_starting() || self.is_killed_for(StopReason::StartTimedOut)
    }

    fn is_killed_for(&self, why: StopReason) -> bool {
        matches!(self.phase, Phase::Killed { reason } if reason == why)
    }

    /// Whether it is for this worker to accept from a listener, now or later.
    pub(super) fn empties(&self, listener: ListenerId) -> bool {
        self.phase.empties_listeners() && !self.drained.contains(&listener)
    }

    /// Whether a rescuer has accepted what waited for it although it is alive.
    pub(super) fn is_drained(&self) -> bool {
        self.health.standing == Standing::Drained
    }

    /// When something about it is due; none while nothing is timed.
    pub(super) fn deadline(&self) -> Option<Time> {
        let phase = self.phase.deadline(self.is_probed());
        let extras = self.extras_deadline();
        phase
            .into_iter()
            .chain(extras)
            .chain(self.health.deadline())
            .min()
    }

    /// When it has had its time for what the worker before it opened; none while there is nothing that it does not use.
    pub(super) fn extras_deadline(&self) -> Option<Time> {
        let since = self.ready_since.filter(|_| self.is_serving())?;
        let mut unused = self.unused_extras();
        unused.next().map(|_| since.plus(LATE_START))
    }

    /// What the worker before it opened when it was ready, and this one has not.
    pub(super) fn unused_extras(&self) -> impl Iterator<Item = ListenerId> {
        let unused = |listener: &Listener| {
            listener.usage == Usage::Given
                && listener.origin == Origin::Bound
                && listener.duty != Duty::Owed
        };
        let all = self.listeners.iter();
        all.filter(move |(_, listener)| unused(listener))
            .map(|(id, _)| *id)
    }

    /// It has a listener that it does not use yet.
    pub(super) fn give(&mut self, listener: ListenerId, endpoint: Endpoint, origin: Origin) {
        self.listeners.entry(listener).or_insert(Listener {
            endpoint,
            origin,
            usage: Usage::Given,
            duty: Duty::Owed,
        });
    }

    /// It listens on a listener, its own or one that it was given.
    pub(super) fn listens(&mut self, listener: ListenerId, endpoint: Endpoint, duty: Duty) {
        self.give(listener, endpoint, Origin::Bound);
        if let Some(listener) = self.listeners.get_mut(&listener)
            && listener.usage != Usage::Listening
        {
            listener.usage = Usage::Listening;
            listener.duty = duty;
        }
    }

    /// A listener has taken the place of a socket that it bound.
    pub(super) fn gets_in_place(&mut self, listener: ListenerId, endpoint: Endpoint, duty: Duty) {
        self.give(listener, endpoint, Origin::Kept);
        if let Some(listener) = self.listeners.get_mut(&listener) {
            match listener.usage {
                Usage::Listening => {}
                Usage::Given => listener.duty = duty,
                // It binds it again, and will listen.
                Usage::LetGo => listener.usage = Usage::Given,
            }
            listener.origin = listener.origin.in_place();
        }
    }

    /// It has said itself that it is ready, so it uses the sockets that were passed to it.
    pub(super) fn uses_passed_listeners(&mut self) {
        for listener in self.listeners.values_mut() {
            if listener.origin == Origin::Passed {
                listener.usage = Usage::Listening;
            }
        }
    }

    /// The listeners that it listens on.
    pub(super) fn listening(&self) -> impl Iterator<Item = (ListenerId, Endpoint)> {
        let used = self.listeners.iter();
        used.filter(|(_, listener)| listener.usage == Usage::Listening)
            .map(|(id, listener)| (*id, listener.endpoint))
    }

    /// The endpoints that it listens on.
    pub(super) fn endpoints(&self) -> BTreeSet<Endpoint> {
        self.listening().map(|(_, endpoint)| endpoint).collect()
    }

    /// The listeners that it let go of.
    pub(super) fn let_go(&self) -> impl Iterator<Item = (ListenerId, Endpoint)> {
        let all = self.listeners.iter();
        all.filter(|(_, listener)| listener.usage == Usage::LetGo)
            .map(|(id, listener)| (*id, listener.endpoint))
    }

    /// The endpoints that it listens on, and that those that come after it owe if all others listen there too.
    pub(super) fn owed(&self) -> BTreeSet<Endpoint> {
        let used = self.listeners.values();
        used.filter(|it| it.usage == Usage::Listening && it.duty == Duty::Owed)
            .map(|listener| listener.endpoint)
            .collect()
    }

    /// The endpoints for which those that come after it get some time, whether they owe them or not.
    pub(super) fn opened_soon(&self) -> BTreeSet<Endpoint> {
        let all = self.listeners.values();
        all.filter(|listener| listener.duty.may_follow_soon())
            .map(|listener| listener.endpoint)
            .collect()
    }

    /// Whether it listens on everything that was made or kept for it and that it owes.
    pub(super) fn uses_all_listeners(&self) -> bool {
        let mut all = self.listeners.values();
        all.all(|listener| listener.usage != Usage::Given || listener.duty != Duty::Owed)
    }

    /// The first listener that listened before it had it and that it is not known to use: only a probe can tell.
    pub(super) fn unused_listening_socket(&self) -> Option<ListenerId> {
        let unused = |listener: &Listener| {
            listener.origin.is_probed(self.ready) && listener.usage == Usage::Given
        };
        let mut all = self.listeners.iter();
        all.find(|(_, listener)| unused(listener))
            .map(|(id, _)| *id)
    }

    /// Whether only a probe can tell that it is ready.
    pub(super) fn is_probed(&self) -> bool {
        match self.ready {
            ReadyWhen::Listening | ReadyWhen::Notified => self.unused_listening_socket().is_some(),
            ReadyWhen::Probed => !self.listeners.is_empty(),
        }
    }
}

//! One worker: where it is in its life, and which listeners it has.
//!
//! ```text
//!  Starting ──► Ready ──► Serving ──► Settling ──► Quiescing ──► Draining ──► Killed ──► (gone)
//!     └────────────────────────────── told to stop early ──────────► ┘
//! ```
//! A worker may end in any phase; what that means is for [`super::Fleet`] to say.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::fleet::interval;
use super::vocabulary::{
    Endpoint, Generation, ListenerId, ListenerSetId, Milestone, Slot, Time, WorkerId,
};

#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) slot: Slot,
    /// Whose listeners it shares.
    pub(super) queue: ListenerSetId,
    pub(super) generation: Generation,
    pub(super) started: Time,
    pub(super) phase: Phase,
    pub(super) listeners: BTreeMap<ListenerId, Listener>,
    /// It sent `READY=1`.
    pub(super) notified: bool,
    /// It answered a readiness probe.
    pub(super) probed: bool,
    /// It replaces a crashed worker of a generation that has been superseded meanwhile: it is
    /// needed only to accept what waits on the listeners that it adopts.
    pub(super) superseded: bool,
    /// It was not ready in time and was killed: whatever it says now, it will not serve.
    pub(super) timed_out: bool,
    /// It had not emptied its queue when the settle time-out passed: nobody counts on it any more.
    pub(super) is_overdue: bool,
}

/// A listener, as its worker has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) endpoint: Endpoint,
    /// Whether this worker listens on it; else it was only made or kept for it.
    pub(super) listening: bool,
    /// Whether it is passed at the start (`LISTEN_FDS`) instead of being put in place at `bind`.
    pub(super) passed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its process runs; it is not ready.
    Starting { deadline: Time, next_probe: Time },
    /// It waits for its siblings.
    Ready,
    /// It gets new connections.
    Serving,
    /// It gets no new connections; its listeners finish the handshakes that they have.
    Settling {
        since: Time,
        fence: Fence,
        next_look: Time,
        pending: u64,
    },
    /// Its listeners are empty; its connections come to an end.
    Quiescing { since: Time, by: QuiescedBy },
    /// Its rescuer gets it ready for the stop signal.
    PreparingStop { deadline: Time },
    /// It was told to stop.
    Draining { deadline: Time },
    /// It was killed; nothing is left but to hear that it is gone.
    Killed,
}

/// What tells that a worker's connections have come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuiescedBy {
    /// Looks at them: none is left.
    Looks { next_look: Time },
    /// The rescuer that has adopted them: none has a request in flight. Or the time, by then.
    Rescuer { until: Time },
}

/// Whether a SYN may still be under way to a listener that was steered away from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fence {
    /// The kernel was asked.
    Asked,
    /// The kernel did not say; by then, none.
    Until(Time),
    /// None.
    Passed,
}

impl Worker {
    pub(super) fn new(
        id: WorkerId,
        slot: Slot,
        queue: ListenerSetId,
        generation: Generation,
        now: Time,
        deadline: Time,
    ) -> Self {
        Self {
            id,
            slot,
            queue,
            generation,
            started: now,
            phase: Phase::Starting {
                deadline,
                // Never at once: whoever is started after the deadlines of a step were checked
                // would be due in the past.
                next_probe: now.plus(interval(Duration::ZERO)),
            },
            listeners: BTreeMap::new(),
            notified: false,
            probed: false,
            superseded: false,
            timed_out: false,
            is_overdue: false,
        }
    }

    /// It has a listener that it does not use yet.
    pub(super) fn give(&mut self, listener: ListenerId, endpoint: Endpoint, passed: bool) {
        self.listeners.entry(listener).or_insert(Listener {
            endpoint,
            listening: false,
            passed,
        });
    }

    pub(super) fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }

    pub(super) fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. })
    }

    /// Whether it was told to stop, or killed.
    pub(super) fn is_told(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. } | Phase::Killed)
    }

    /// The endpoints that it listens on.
    pub(super) fn endpoints(&self) -> BTreeSet<Endpoint> {
        let listening = self
            .listeners
            .values()
            .filter(|listener| listener.listening);
        listening.map(|listener| listener.endpoint).collect()
    }

    /// Whether it listens on everything that was made or kept for it.
    pub(super) fn uses_all_listeners(&self) -> bool {
        self.listeners.values().all(|listener| listener.listening)
    }

    /// The first listener that was passed to it and that it is not known to use: only a probe can tell.
    pub(super) fn unused_listener(&self) -> Option<ListenerId> {
        let mut listeners = self.listeners.iter();
        listeners
            .find(|(_, listener)| listener.passed && !listener.listening)
            .map(|(id, _)| *id)
    }

    /// It said itself that it is ready, so it uses the sockets that were passed to it.
    pub(super) fn uses_passed_listeners(&mut self) {
        for listener in self.listeners.values_mut() {
            listener.listening |= listener.passed;
        }
    }

    /// Where it is on the way out; none while it is not.
    pub(super) fn milestone(&self) -> Option<Milestone> {
        match self.phase {
            Phase::Starting { .. } | Phase::Ready | Phase::Serving => None,
            Phase::Settling { .. } => Some(Milestone::Settling),
            Phase::Quiescing { .. } | Phase::PreparingStop { .. } => Some(Milestone::Quiescing),
            Phase::Draining { .. } | Phase::Killed => Some(Milestone::Draining),
        }
    }

    /// The phase's name in `status`.
    pub(super) fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::Starting { .. } => "starting",
            Phase::Ready => "ready",
            Phase::Serving => "serving",
            Phase::Settling { .. } => "settling",
            Phase::Quiescing { .. } | Phase::PreparingStop { .. } => "quiescing",
            Phase::Draining { .. } | Phase::Killed => "draining",
        }
    }
}

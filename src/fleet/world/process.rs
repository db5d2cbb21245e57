//! A fake worker, as the world knows it.

use std::collections::BTreeSet;

use super::health::Checked;
use super::plan::{Script, Start};
use crate::fleet::{Endpoint, Generation, ListenerId, ListenerSetId, ReadyWhen, Slot, Time};

#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) slot: Slot,
    pub(super) set: ListenerSetId,
    pub(super) generation: Generation,
    pub(super) script: Script,
    pub(super) started: Time,
    pub(super) state: State,
    /// Sockets that were kept or made for it, and that it does not use yet.
    pub(super) given: BTreeSet<ListenerId>,
    /// Those of them that it got while it waited for its siblings, being ready.
    pub(super) given_late: BTreeSet<ListenerId>,
    pub(super) listens_on: BTreeSet<ListenerId>,
    /// Connections that it has accepted and that have not ended.
    pub(super) connections: u64,
    /// When it got the stop signal.
    pub(super) stop_sent_at: Option<Time>,
    /// When it gets the stop signal, since it was told by a message.
    pub(super) signal_due: Option<Time>,
    pub(super) is_killed: bool,
    /// What makes it ready, beside listening.
    pub(super) ready: ReadyWhen,
    /// It has said that it is ready, or answered a probe.
    pub(super) has_declared: bool,
    /// Since a rescuer adopted its connections: whether a request is in flight still.
    pub(super) is_busy: Option<bool>,
    /// When it was ready last.
    pub(super) ready_at: Option<Time>,
    pub(super) checked: Checked,
    /// It was started with listeners of the worker before it.
    pub(super) is_successor: bool,
    /// No rescuer has its connections: it could not adopt them, or it died.
    pub(super) is_rescue_lost: bool,
    /// What the log said of it.
    pub(super) is_ready: bool,
    pub(super) settle_timed_out: bool,
    pub(super) quiet_timed_out: bool,
    pub(super) drain_timed_out: bool,
    pub(super) start_timed_out: bool,
    pub(super) stop_not_prepared: bool,
    /// Its rescuer was asked to get it ready for the stop signal.
    pub(super) is_prepared: bool,
    /// New connections were steered to it once.
    pub(super) was_live: bool,
    /// What was measured last: its backlogs empty, itself quiet.
    pub(super) measured: (bool, bool),
    /// Since when it settles, or quiesces.
    pub(super) phase: (&'static str, Time),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No process could be made.
    Unborn,
    Alive,
    Dead,
}

impl Process {
    pub(super) fn new(
        slot: Slot,
        set: ListenerSetId,
        generation: Generation,
        script: Script,
        now: Time,
    ) -> Self {
        let is_born = script.start != Start::SpawnFails;
        Self {
            slot,
            set,
            generation,
            script,
            started: now,
            state: if is_born { State::Alive } else { State::Unborn },
            given: BTreeSet::new(),
            given_late: BTreeSet::new(),
            listens_on: BTreeSet::new(),
            connections: 0,
            stop_sent_at: None,
            signal_due: None,
            is_killed: false,
            ready: ReadyWhen::Listening,
            has_declared: false,
            is_busy: None,
            ready_at: None,
            checked: Checked::default(),
            is_successor: false,
            is_rescue_lost: false,
            is_ready: false,
            settle_timed_out: false,
            quiet_timed_out: false,
            drain_timed_out: false,
            start_timed_out: false,
            stop_not_prepared: false,
            is_prepared: false,
            was_live: false,
            measured: (false, false),
            phase: ("starting", now),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.state == State::Alive
    }

    /// Where it listens by itself.
    pub(super) fn endpoints(&self, two: bool, slot_ports: bool) -> Vec<Endpoint> {
        let mut all = vec![endpoint(80)];
        all.extend(two.then(|| endpoint(443)));
        all.extend(slot_ports.then(|| slot_port(self.slot)));
        match self.script.start {
            Start::WrongEndpoint => vec![endpoint(81)],
            Start::OnlyOne => all[..1].to_vec(),
            Start::NeverListens => Vec::new(),
            _ => all,
        }
    }
}

pub(super) fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        address: ([127, 0, 0, 1], port).into(),
        v6_only: false,
    }
}

fn slot_port(slot: Slot) -> Endpoint {
    endpoint(9000 + u16::try_from(slot.0).unwrap_or_default())
}

/// One more endpoint that a worker opens late.
pub(super) fn extra() -> Endpoint {
    endpoint(9999)
}

//! The end of everything: how far it has come, and which clients wait for it.

use serde::{Deserialize, Serialize};

use super::vocabulary::{ClientId, ExitReason, RetirementId, Time};

/// The end has been asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shutdown {
    pub(super) stage: Stage,
    pub(super) clients: Vec<ClientId>,
    pub(super) since: Time,
    pub(super) exit_reason: ExitReason,
    /// What all workers that stop together share.
    pub(super) retirement: RetirementId,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Workers serve on until then (`--pre-stop`).
    Serving { until: Time },
    /// New connections are kept out; the workers accept those that have begun.
    Settling,
    /// New connections are refused; the workers finish what they have, and are told to stop.
    Stopping,
    /// All workers were killed.
    Killing,
    /// All workers are gone; rescuers were told to end, and are killed then.
    EndingRescuers { until: Time },
    /// Nothing is left.
    Finished,
}

impl Shutdown {
    pub(super) fn new(
        exit_reason: ExitReason,
        since: Time,
        serve_until: Time,
        retirement: RetirementId,
    ) -> Self {
        Self {
            stage: Stage::Serving { until: serve_until },
            clients: Vec::new(),
            since,
            exit_reason,
            retirement,
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self.stage {
            Stage::Serving { until } | Stage::EndingRescuers { until } => Some(until),
            Stage::Settling | Stage::Stopping | Stage::Killing | Stage::Finished => None,
        }
    }
}

//! What was asked for while a change was under way, and waits for its end.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::vocabulary::{Addresses, Canary, ChangeKind, ClientId, ScaleTo, WorkerId};

/// What was asked for while a change was under way: by signals, to which nobody hears an answer; by clients that
/// would rather wait than come again; and by all others where the change is one that they know nothing of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingRequests {
    /// A signal asked for a reload.
    reload: bool,
    scale_by: i64,
    /// What is done for each that has asked, in the order in which they came.
    others: VecDeque<(Option<ClientId>, Pending)>,
}

/// One thing that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Pending {
    Reload {
        addresses: Addresses,
        canary: Option<Canary>,
    },
    Scale(ScaleTo),
    Restart(WorkerId),
}

impl Pending {
    /// What kind of change it is.
    pub(super) fn kind(&self) -> ChangeKind {
        match self {
            Self::Reload { .. } => ChangeKind::Reload,
            Self::Scale(_) => ChangeKind::Scale,
            Self::Restart(_) => ChangeKind::Restart,
        }
    }
}

impl PendingRequests {
    /// It waits its turn. What several signals ask for is done once.
    pub(super) fn add(&mut self, reply_to: Option<ClientId>, pending: Pending) {
        match (reply_to, pending) {
            (None, Pending::Reload { .. }) => self.reload = true,
            (None, Pending::Scale(ScaleTo::By(difference))) => {
                self.scale_by = self.scale_by.saturating_add(difference);
            }
            (_, pending) => self.others.push_back((reply_to, pending)),
        }
    }

    /// The next thing, and for whom: first the number, so that the reload starts the right one. A reload for a client is
    /// one that a signal asked for, too.
    pub(super) fn take_next(&mut self) -> Option<(Option<ClientId>, Pending)> {
        let scale_by = std::mem::take(&mut self.scale_by);
        if scale_by != 0 {
            return Some((None, Pending::Scale(ScaleTo::By(scale_by))));
        }
        if let Some((reply_to, pending)) = self.others.pop_front() {
            self.reload &= pending.kind() != ChangeKind::Reload;
            return Some((reply_to, pending));
        }
        let reload = Pending::Reload {
            addresses: Addresses::Owed,
            canary: None,
        };
        std::mem::take(&mut self.reload).then_some((None, reload))
    }

    /// Nothing begins any more: the clients that wait for nothing now.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = ClientId> + use<> {
        let others = std::mem::take(self).others;
        others.into_iter().filter_map(|(client, _)| client)
    }
}

//! What was asked for while a change was under way, and waits for its end.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::vocabulary::{ClientId, DeploymentId, Reload};

/// What was asked for while a change was under way: by signals, to which nobody hears an answer, and by clients that
/// would rather wait than come again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingRequests {
    /// A signal asked for a reload; the last one, if several did.
    signalled: Option<Reload>,
    scale_by: i64,
    /// Clients that want a reload each, in the order in which they came.
    clients: VecDeque<(ClientId, Reload)>,
}

/// One thing that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    Reload {
        reply_to: Option<ClientId>,
        reload: Reload,
    },
    ScaleBy(i64),
}

impl PendingRequests {
    pub(super) fn reload(&mut self, reply_to: Option<ClientId>, reload: Reload) {
        match reply_to {
            Some(client) => self.clients.push_back((client, reload)),
            None => self.signalled = Some(reload),
        }
    }

    pub(super) fn scale_by(&mut self, difference: i64) {
        self.scale_by = self.scale_by.saturating_add(difference);
    }

    /// The next thing: first the number, so that the reload starts the right one. A reload for a client is one that
    /// a signal asked for, too.
    pub(super) fn take_next(&mut self) -> Option<Pending> {
        let scale_by = std::mem::take(&mut self.scale_by);
        if scale_by != 0 {
            return Some(Pending::ScaleBy(scale_by));
        }
        let signalled = self.signalled.take();
        match (self.clients.pop_front(), signalled) {
            (Some((client, reload)), _) => Some(Pending::Reload {
                reply_to: Some(client),
                reload,
            }),
            (None, Some(reload)) => Some(Pending::Reload {
                reply_to: None,
                reload,
            }),
            (None, None) => None,
        }
    }

    /// What those that wait are to start.
    pub(super) fn deployments(&self) -> impl Iterator<Item = DeploymentId> {
        let clients = self.clients.iter().map(|(_, reload)| reload);
        let all = clients.chain(&self.signalled);
        all.map(|reload| reload.deployment)
    }

    /// Nothing begins any more: the clients that wait for nothing now.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = ClientId> + use<> {
        let clients = std::mem::take(self).clients;
        clients.into_iter().map(|(client, _)| client)
    }
}

//! What somebody who asks for a reload has said of it.

use std::time::Duration;

use crate::config::Overrides;
use crate::fleet::{Addresses, Canary, IfBusy};
use crate::supervisor::deployments::Request;
use crate::wire::control;

/// A reload that was asked for.
#[derive(Debug)]
pub(crate) struct ReloadAction {
    pub(crate) if_busy: IfBusy,
    pub(crate) addresses: Addresses,
    pub(crate) canary: Option<Canary>,
    pub(crate) request: Request,
}

impl ReloadAction {
    /// A signal says nothing more. Nobody hears an answer to it, so it waits its turn.
    pub(crate) fn of_signal() -> Self {
        Self {
            if_busy: IfBusy::Wait,
            addresses: Addresses::Owed,
            canary: None,
            request: Request::default(),
        }
    }
}

impl From<control::Reload> for ReloadAction {
    fn from(asked: control::Reload) -> Self {
        let variables = asked.environment.into_iter();
        let words = |words: Vec<String>| words.into_iter().map(Into::into).collect();
        Self {
            if_busy: match asked.wait {
                true => IfBusy::Wait,
                false => IfBusy::Deny,
            },
            addresses: match asked.accept_changes {
                true => Addresses::MayChange,
                false => Addresses::Owed,
            },
            canary: asked.canary.map(tried),
            request: Request {
                overrides: Overrides {
                    command: asked.command.map(words),
                    environment: variables
                        .map(|it| (it.name.into(), it.value.into()))
                        .collect(),
                    chdir: asked.chdir.map(Into::into),
                },
                as_configured: asked.as_configured,
            },
        }
    }
}

fn tried(canary: control::Canary) -> Canary {
    Canary {
        workers: canary.workers,
        percent: canary.percent,
        hold: canary.for_ms.map(Duration::from_millis),
    }
}

//! How far a change has come.

use std::time::Duration;

use log::info;

use crate::fleet::{ChangeKind, ClientId, Generation, Milestone};
use crate::supervisor::Supervisor;
use crate::sys::process;
use crate::wire::control::Reply;

impl Supervisor {
    pub(crate) fn report(
        &mut self,
        reply_to: Option<ClientId>,
        after: Duration,
        milestone: Milestone,
        kind: ChangeKind,
        generation: Generation,
        workers: usize,
    ) {
        let detail = match milestone {
            Milestone::Starting => format!("{workers} workers of generation {generation}"),
            Milestone::Serving if workers == 0 => {
                "the remaining workers get all new connections".to_owned()
            }
            Milestone::Serving => {
                format!("{workers} workers of generation {generation} get new connections")
            }
            Milestone::Settling => format!("{workers} old workers accept what is still theirs"),
            Milestone::Quiescing => format!("{workers} old workers finish their connections"),
            Milestone::Draining => format!("{workers} old workers were told to stop"),
            Milestone::Gone => "the old workers are gone".to_owned(),
        };
        info!(
            "{kind}: {milestone} after {} ms: {detail}",
            after.as_millis()
        );
        self.tell_manager_of(kind, milestone, generation);
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.reply(
            reply_to,
            &Reply::Phase {
                after_ms,
                phase: milestone.to_string(),
                detail,
            },
        );
    }

    fn tell_manager_of(&self, kind: ChangeKind, milestone: Milestone, generation: Generation) {
        let status = format!("{kind}: {milestone} (generation {generation})");
        match (kind, milestone) {
            (ChangeKind::Reload, Milestone::Starting) => {
                let now = process::monotonic_microseconds().to_string();
                self.notify.tell_manager(&[
                    ("RELOADING", "1"),
                    ("MONOTONIC_USEC", &now),
                    ("STATUS", &status),
                ]);
            }
            (_, Milestone::Gone) => self
                .notify
                .tell_manager(&[("READY", "1"), ("STATUS", "serving")]),
            _ => self.notify.tell_manager(&[("STATUS", &status)]),
        }
    }
}

//! How a change ended: what failed, what follows from that, and what can be done about it.

use log::{error, info};

use super::phrase::{ended, list, seconds};
use crate::config::Readiness;
use crate::fleet::{ChangeKind, ChangeResult, ClientId, Denial, Endpoint, Exit, Failure, WorkerId};
use crate::supervisor::Supervisor;
use crate::wire::control::Reply;

impl Supervisor {
    pub(crate) fn tell(&mut self, reply_to: Option<ClientId>, result: &ChangeResult) {
        let reply = match result {
            ChangeResult::Done {
                kind,
                generation,
                workers,
            } => {
                let message =
                    format!("{kind}: done, {workers} workers of generation {generation} serve");
                info!("{message}");
                Reply::Done { message }
            }
            ChangeResult::Failed { kind, failure } => {
                let message = self.failed(*kind, failure);
                error!("{message}");
                if *kind == ChangeKind::Reload {
                    self.notify
                        .tell_manager(&[("READY", "1"), ("STATUS", &message)]);
                }
                self.forget_failed(failure);
                Reply::Failed { message }
            }
            ChangeResult::Denied(denial) => {
                let message = denied(denial);
                info!("{message}");
                Reply::Denied { message }
            }
            ChangeResult::Stopped => Reply::Done {
                message: "stopped".into(),
            },
        };
        self.reply(reply_to, &reply);
    }

    fn forget_failed(&mut self, failure: &Failure) {
        if let Failure::Exited { worker, .. } = failure {
            self.forget_worker(*worker);
        }
    }

    fn failed(&self, kind: ChangeKind, failure: &Failure) -> String {
        let consequence = match kind {
            ChangeKind::Start => "",
            ChangeKind::Reload => "; the old generation serves on",
            ChangeKind::Restart | ChangeKind::Scale => "; the others serve on",
        };
        match failure {
            Failure::Exited {
                worker,
                exit: Exit::NotStarted(reason),
                ..
            } => {
                format!(
                    "{kind} failed: {}: {reason}{consequence}",
                    self.describe(*worker)
                )
            }
            Failure::Exited { worker, exit, .. } => format!(
                "{kind} failed: {} {} before it was ready{consequence}{}",
                self.describe(*worker),
                ended(exit),
                self.last_words(*worker)
            ),
            Failure::NotReady {
                worker,
                missing,
                listening,
                after,
                ..
            } => format!(
                "{kind} failed: {} was not ready after {}: {}{consequence}{}",
                self.describe(*worker),
                seconds(*after),
                self.why_not_ready(*worker, missing, listening),
                self.last_words(*worker)
            ),
            Failure::Stopped => format!("{kind} given up: the supervisor was told to stop"),
        }
    }

    fn why_not_ready(
        &self,
        worker: WorkerId,
        missing: &[Endpoint],
        listening: &[Endpoint],
    ) -> String {
        if let Some(unheard) = self.unheard_listener(worker) {
            return format!(
                "it listens on {unheard}, but did not get there by bind(2) with a fixed port (io_uring? port 0?), so it cannot be steered; use --listen"
            );
        }
        match (listening, missing, &self.config.ready) {
            ([], _, _) => "it listens on no fixed TCP port".to_owned(),
            (_, [_, ..], _) => format!(
                "it listens on {} but not on {}",
                list(listening),
                list(missing)
            ),
            (_, [], Readiness::Notify) => {
                format!("it listens on {} but did not send READY=1", list(listening))
            }
            (_, [], Readiness::Http(path)) => format!(
                "it listens on {} but did not answer GET {path} well",
                list(listening)
            ),
            (_, [], Readiness::Listen) => format!(
                "it listens on {} but not on all that was given to it",
                list(listening)
            ),
        }
    }
}

fn denied(denial: &Denial) -> String {
    match denial {
        Denial::Busy { kind, milestone } => {
            format!("a {kind} is in progress ({milestone}); wait until it is done")
        }
        Denial::Stopping => "the supervisor is stopping".to_owned(),
        Denial::NoSuchWorker(worker) => {
            format!("there is no worker {worker} that serves; status lists them")
        }
        Denial::BadCount { asked, most } => {
            format!("cannot run {asked} workers; from 1 to {most} are possible")
        }
    }
}

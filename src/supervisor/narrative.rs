//! What people are told: one line an event in the log, one sentence to who asked.

use std::fmt::Write;
use std::time::Duration;

use log::{error, info, warn};

use super::Supervisor;
use crate::fleet::{
    Asker, ChangeKind, Denial, Endpoint, Exit, Failure, Generation, Milestone, Note, Verdict,
    WorkerId,
};
use crate::wire::control::Reply;

impl Supervisor {
    /// A worker, as the log names it.
    pub(super) fn describe(&self, worker: WorkerId) -> String {
        match self.children.get(worker) {
            Some(child) => format!(
                "worker {worker} (pid {}, generation {}, slot {})",
                child.pid, child.generation, child.slot
            ),
            None => format!("worker {worker}"),
        }
    }

    pub(super) fn log(&mut self, note: &Note) {
        match note {
            Note::Ready { worker } => {
                info!("{}: ready, waiting for the others", self.describe(*worker))
            }
            Note::Serving { worker } => info!(
                "{}: serving {}",
                self.describe(*worker),
                self.places(*worker)
            ),
            Note::Crashed {
                worker,
                exit,
                restart_in,
                ..
            } => {
                let when = if restart_in.is_zero() {
                    "at once".to_owned()
                } else {
                    format!("in {}", seconds(*restart_in))
                };
                warn!(
                    "{}: {}; restarting it {when}{}",
                    self.describe(*worker),
                    ended(exit),
                    self.last_words(*worker)
                );
            }
            Note::GivenUp {
                worker,
                slot,
                exit,
                crashes,
            } => error!(
                "{}: {}; slot {slot} crashed {crashes} times within {} and is given up (reuseport-ctl reload or restart tries \
                 again){}",
                self.describe(*worker),
                ended(exit),
                seconds(self.config.restart_window),
                self.last_words(*worker)
            ),
            Note::StartTimedOut { worker } => {
                warn!(
                    "{}: not ready after {}; killing it",
                    self.describe(*worker),
                    seconds(self.config.start_timeout)
                );
            }
            Note::SettleTimedOut { worker, pending } => {
                let fate = if self.config.rescue {
                    "a rescuer accepts them in its stead"
                } else {
                    "they will be lost with it"
                };
                warn!(
                    "{}: {pending} connections wait in its listeners after {}; {fate}",
                    self.describe(*worker),
                    seconds(self.config.settle_timeout)
                );
            }
            Note::QuietTimedOut { worker } => info!(
                "{}: still has connections after {}; telling it to stop all the same",
                self.describe(*worker),
                seconds(self.config.quiet_timeout)
            ),
            Note::DrainTimedOut { worker } => {
                warn!(
                    "{}: has not exited after {}; killing it",
                    self.describe(*worker),
                    seconds(self.config.drain_timeout)
                );
            }
            Note::Gone {
                worker,
                exit,
                told: true,
            } => info!("{}: gone, {}", self.describe(*worker), ended(exit)),
            Note::Gone {
                worker,
                exit,
                told: false,
            } => {
                warn!(
                    "{}: {} while it was being retired{}",
                    self.describe(*worker),
                    ended(exit),
                    self.last_words(*worker)
                );
            }
        }
        self.forget_ended(note);
    }

    pub(super) fn report(
        &mut self,
        asker: Option<Asker>,
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
            asker,
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
                let now = crate::sys::process::monotonic_microseconds().to_string();
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

    pub(super) fn tell(&mut self, asker: Option<Asker>, verdict: &Verdict) {
        let reply = match verdict {
            Verdict::Done {
                kind,
                generation,
                workers,
            } => {
                let message =
                    format!("{kind}: done, {workers} workers of generation {generation} serve");
                info!("{message}");
                Reply::Done { message }
            }
            Verdict::Failed { kind, failure } => {
                let message = self.failed(*kind, failure);
                error!("{message}");
                if *kind == ChangeKind::Reload {
                    self.notify
                        .tell_manager(&[("READY", "1"), ("STATUS", &message)]);
                }
                self.forget_failed(failure);
                Reply::Failed { message }
            }
            Verdict::Denied(denial) => {
                let message = denied(denial);
                info!("{message}");
                Reply::Denied { message }
            }
            Verdict::Stopped => Reply::Done {
                message: "stopped".into(),
            },
        };
        self.reply(asker, &reply);
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
        use crate::config::Readiness;
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

    /// The last lines that a worker wrote, to be appended to a sentence.
    fn last_words(&self, worker: WorkerId) -> String {
        let lines = self.output.last_lines(worker);
        if lines.is_empty() {
            String::new()
        } else {
            format!("; it wrote: {}", lines.join(" | "))
        }
    }

    fn places(&self, worker: WorkerId) -> String {
        let listeners = self.listeners_of(worker);
        let endpoints: Vec<Endpoint> = listeners
            .iter()
            .filter_map(|id| self.groups.endpoint(*id))
            .collect();
        list(&endpoints)
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

fn ended(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(number) => {
            let name = nix::sys::signal::Signal::try_from(*number)
                .map_or("a real-time signal", |signal| signal.as_str());
            format!("was killed by signal {number} ({name})")
        }
        Exit::NotStarted(reason) => reason.clone(),
    }
}

fn list(endpoints: &[Endpoint]) -> String {
    let mut text = String::new();
    for endpoint in endpoints.iter().collect::<std::collections::BTreeSet<_>>() {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{endpoint}");
    }
    text
}

fn seconds(duration: Duration) -> String {
    humantime::format_duration(Duration::from_millis(
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    ))
    .to_string()
}

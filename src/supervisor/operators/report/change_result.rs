//! How a change ended: what failed, what follows from that, and what can be done about it.

use log::{error, info};

use super::Reporter;
use super::denial::denied;
use super::phrase::{check_failure, connections, ended, list, seconds, workers};
use super::recycling::{is_given_up, too_large};
use crate::config::Readiness;
use crate::fleet::{ChangeKind, ChangeResult, Endpoint, Exit, Failure, Generation, WorkerId};
use crate::supervisor::retirement::Cost;
use crate::supervisor::retirement::measure::unheard_listener;
use crate::wire::control::Reply;

impl Reporter<'_> {
    /// The sentence for the log and for the client that waits.
    pub(crate) fn result(&self, result: &ChangeResult, cost: Cost) -> Reply {
        let reply = match result {
            ChangeResult::Done {
                kind,
                generation,
                wanted,
                serving,
            } => Reply::Done {
                message: done(*kind, *generation, *serving, *wanted)
                    + self.unsteered(*kind)
                    + &ended_with_workers(cost.left)
                    + &perhaps_lost(cost.perhaps_lost),
            },
            ChangeResult::Failed {
                kind,
                failure,
                undone,
            } => Reply::Failed {
                message: self.failed(*kind, failure) + &undoing(*undone),
            },
            ChangeResult::Promoted { generation } => Reply::Done {
                message: format!(
                    "promoted: generation {generation} takes over, and the old workers go"
                ),
            },
            ChangeResult::Paused { generation } => Reply::Done {
                message: format!(
                    "paused: the trial of generation {generation} goes on until reuseport-ctl promote or rollback"
                ),
            },
            ChangeResult::Denied(denial) => Reply::Denied {
                message: denied(denial),
            },
            ChangeResult::Stopped => Reply::Done {
                message: "stopped".to_owned(),
            },
        };
        match (&reply, result) {
            (_, ChangeResult::Stopped) => {}
            (Reply::Failed { message }, result) if is_given_up(result) => info!("{message}"),
            (Reply::Failed { message }, _) => error!("{message}"),
            (Reply::Done { message } | Reply::Denied { message }, _) => info!("{message}"),
            (Reply::Phase { .. } | Reply::Status(_), _) => {}
        }
        reply
    }

    /// What a reload may have lost where new connections could not be kept from old workers.
    fn unsteered(&self, kind: ChangeKind) -> &'static str {
        match kind {
            ChangeKind::Start => "",
            _ if self.steering_refused.is_none() => "",
            ChangeKind::Reload
            | ChangeKind::Restart
            | ChangeKind::Scale
            | ChangeKind::Rollback
            | ChangeKind::Recycling => {
                "; new connections are not steered, so requests may have been lost (the status says why)"
            }
        }
    }

    fn failed(&self, kind: ChangeKind, failure: &Failure) -> String {
        let consequence = who_serves_on(kind);
        let (why, more) = match failure {
            Failure::Exited { worker, exit, .. } => self.exited(*worker, exit),
            Failure::Died { worker, exit, .. } => {
                let worker_ended = self.worker_ended(*worker, exit);
                let why = format!("{worker_ended} after it was ready");
                (why, self.last_words(*worker))
            }
            Failure::Unhealthy {
                worker, failure, ..
            } => {
                let name = self.workers.describe(*worker);
                let how = check_failure(failure, self.config_of(*worker));
                let why = format!("{name} was unhealthy: it {how}");
                (why, self.last_words(*worker))
            }
            Failure::NobodyServes => return format!("{kind} failed: {NOBODY_SERVES}"),
            Failure::NotReady {
                worker,
                missing,
                closed,
                listening,
                after,
                ..
            } => {
                let name = self.workers.describe(*worker);
                let after = seconds(*after);
                let what = self.why_not_ready(*worker, missing, closed, listening);
                let why = format!("{name} was not ready after {after}: {what}");
                let advice = advice(kind, missing, listening);
                let more = [
                    advice,
                    &self.port_answer(*worker),
                    &self.last_words(*worker),
                ];
                (why, more.concat())
            }
            Failure::Unusable(reason) => (reason.clone(), String::new()),
            Failure::NotRead { after } => {
                let after = seconds(*after);
                let why =
                    format!("options and files were not read within {after} (does a disk hang?)");
                (why, String::new())
            }
            Failure::TooLarge {
                worker, rss, limit, ..
            } => {
                let name = self.workers.describe(*worker);
                (
                    too_large(&name, *rss, *limit),
                    "; give a greater --max-rss".to_owned(),
                )
            }
            Failure::RolledBack => ("it was rolled back, as asked".to_owned(), String::new()),
            Failure::Stopped => return format!("{kind} given up: the supervisor was told to stop"),
        };
        format!("{kind} failed: {why}{consequence}{more}")
    }

    fn worker_ended(&self, worker: WorkerId, exit: &Exit) -> String {
        format!("{} {}", self.workers.describe(worker), ended(exit))
    }

    /// That a worker exited before it was ready, and what may help.
    fn exited(&self, worker: WorkerId, exit: &Exit) -> (String, String) {
        if let Exit::NotStarted(reason) = exit {
            let worker = self.workers.describe(worker);
            return (format!("{worker}: {reason}"), String::new());
        }
        let why = format!(
            "{} before it was ready{}{}",
            self.worker_ended(worker, exit),
            self.unheard_sibling(worker),
            self.port_answer(worker)
        );
        (why, self.last_words(worker))
    }

    /// Why a worker may have found its address in use, to be appended to a sentence: another one is there unheard.
    fn unheard_sibling(&self, worker: WorkerId) -> String {
        match self.workers.unheard_sibling(worker) {
            Some((sibling, address)) => format!("; {sibling} listens on {address}, {UNHEARD}"),
            None => String::new(),
        }
    }

    fn why_not_ready(
        &self,
        worker: WorkerId,
        missing: &[Endpoint],
        closed: &[Endpoint],
        listening: &[Endpoint],
    ) -> String {
        if !closed.is_empty() {
            return format!("it listened on {} and has closed that again", list(closed));
        }
        if let Some(unheard) = unheard_listener(self.workers, self.listeners, worker) {
            return format!("it listens on {unheard}, {UNHEARD}");
        }
        let config = self.config_of(worker);
        match (listening, missing, &config.ready) {
            ([], _, _) => "it listens on no fixed TCP port".to_owned(),
            (_, [_, ..], _) => format!(
                "it listens on {} but not on {}",
                list(listening),
                list(missing)
            ),
            (_, [], Readiness::Notify) => {
                format!("it listens on {} but did not send READY=1", list(listening))
            }
            (_, [], Readiness::Channel) => format!(
                "it listens on {} but did not send \"ready\" over its channel",
                list(listening)
            ),
            (_, [], Readiness::Http(path)) => {
                let listening = list(listening);
                match self.probes.trouble(worker) {
                    Some(trouble) => format!("it listens on {listening} but {trouble}"),
                    None => format!("it listens on {listening} but did not answer GET {path}"),
                }
            }
            (_, [], Readiness::Listen) => format!(
                "it listens on {} but not on all that was given to it",
                list(listening)
            ),
        }
    }
}

const NOBODY_SERVES: &str = "none of the new workers serves, and the old ones are gone; the log says what became of them, \
                             and they are restarted (try --min-uptime)";

const UNHEARD: &str = "but did not get there by bind(2) with a fixed port (io_uring? port 0?), so it cannot be steered; \
                       use --listen";

/// What lets other addresses be served, where that may be what is wanted.
fn advice(kind: ChangeKind, missing: &[Endpoint], listening: &[Endpoint]) -> &'static str {
    match (kind, missing, listening) {
        (ChangeKind::Reload, [_, ..], [_, ..]) => {
            "; if the addresses are meant to change, reload --accept-changes"
        }
        _ => "",
    }
}

fn ended_with_workers(left: u64) -> String {
    match left {
        0 => String::new(),
        1 => "; 1 connection of a client on another host ended with its worker (--rescue-clients)"
            .to_owned(),
        _ => format!(
            "; {left} connections of clients on other hosts ended with their workers (--rescue-clients)"
        ),
    }
}

/// What becomes of the workers that a change had replaced before it failed.
fn undoing(count: usize) -> String {
    match count {
        0 => String::new(),
        _ => format!(
            "; {} of it serve and are replaced again by the old version (status shows how far that is, and the log how it \
             ends)",
            workers(count)
        ),
    }
}

fn perhaps_lost(count: u64) -> String {
    match count {
        0 => String::new(),
        _ => format!(
            "; on {} a request may have been lost (the log says of which workers)",
            connections(count)
        ),
    }
}

/// A worker may have died since the change was made, and its successor not be there yet.
fn done(kind: ChangeKind, generation: Generation, serving: u32, wanted: u32) -> String {
    let all = workers(wanted as usize);
    match (serving, wanted) {
        (1, 1) => format!("{kind}: done, {all} of generation {generation} serves"),
        _ if serving == wanted => {
            format!("{kind}: done, {all} of generation {generation} serve")
        }
        _ => format!(
            "{kind}: done, but only {serving} of {all} of generation {generation} serve; the log says \
             what became of the others"
        ),
    }
}

/// Who serves after a change that failed.
fn who_serves_on(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Start => "",
        ChangeKind::Reload => "; the old generation serves on",
        ChangeKind::Restart | ChangeKind::Scale | ChangeKind::Rollback | ChangeKind::Recycling => {
            "; the others serve on"
        }
    }
}

//! Checking the health of workers that serve: one connection to each at a time.
//!
//! ```text
//!  under way ─► passed, failed ─► (read to the end) ─► closed
//!      └─► late: accepted ─► closed
//!                not accepted ─► held ─► under way …
//! ```
//! What nobody accepts cannot be taken back: closed, it would wait in the worker's queue all the same, and take a place
//! of a client's. So it is held, and the next check goes on with it: of ours no more than one waits. An answer is read to
//! its end, so that no server is told by a reset that its client has gone.
//!
//! The end of a connection that asks for nothing is told to the worker as such, for a reset is an error that servers log.
//! Then we are the one who closes first, and TIME-WAIT keeps the port: there are few that reach a listener. The kernel
//! gives it back after a second (`net.ipv4.tcp_tw_reuse`, on for loopback since Linux 4.19). Where it does not, and no port
//! is left, connections are reset from then on.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::Workers;
use super::attempt::Attempt;
use super::http_question::Asked;
use super::probe::MEMORY;
use crate::fleet::{CheckFailure, Event, ListenerId, Probe, WorkerId};
use crate::supervisor::listeners::Listeners;
use crate::supervisor::repeated::RepeatedWarning;
use crate::supervisor::sources::{Source, Sources};
use crate::supervisor::steering::Backend;
use crate::supervisor::steering::probe_connection::is_taken;
use crate::sys::{listener, procfs};
use crate::wire::diag::TcpState;

/// The checks that are under way, or held.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    checks: BTreeMap<WorkerId, HealthCheck>,
    closing: Closing,
    /// Our ends of those that are over, and when each ended.
    ours: BTreeMap<SocketAddr, Instant>,
    not_made: RepeatedWarning,
}

/// How connections that nothing was asked on come to their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Closing {
    #[default]
    Politely,
    ByReset,
}

#[derive(Debug)]
struct HealthCheck {
    attempt: Attempt,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    UnderWay,
    /// It was late, and nobody had accepted it.
    Held,
    /// The verdict is known; the rest of the answer is read, or the worker closes.
    Answered,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acceptance {
    NotYet,
    Accepted,
    /// The other side has reset it.
    Reset,
}

impl Checks {
    /// Begins a check, or sees how the one that is under way is doing.
    pub(crate) fn check(
        &mut self,
        sources: &mut Sources,
        listeners: &Listeners,
        steering: &dyn Backend,
        wanted: &Probe,
        asked: Asked<'_>,
    ) -> Option<Event> {
        let worker = wanted.worker;
        if let Some(check) = self.checks.get_mut(&worker) {
            let acceptance = check.acceptance();
            match (check.stage, acceptance) {
                (Stage::UnderWay, _) if check.attempt.question.is_some() => return None,
                (Stage::UnderWay | Stage::Held, Acceptance::NotYet) => {
                    check.stage = Stage::UnderWay;
                    return None;
                }
                (Stage::UnderWay, Acceptance::Accepted) => {
                    return Some(self.accepted(sources, worker));
                }
                (Stage::UnderWay, Acceptance::Reset) => {
                    self.end(sources, worker);
                    return Some(failed(worker, "reset the connection".to_owned()));
                }
                // It says nothing of now.
                (Stage::Held, Acceptance::Accepted | Acceptance::Reset) | (Stage::Answered, _) => {
                    self.end(sources, worker);
                }
            }
        }
        let source = Source::Check(worker);
        match Attempt::begin(sources, listeners, steering, wanted, asked, source) {
            Ok(attempt) => {
                let stage = Stage::UnderWay;
                self.checks.insert(worker, HealthCheck { attempt, stage });
                None
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Some(failed(worker, "refused the connection".to_owned()))
            }
            Err(error) => {
                if is_taken(&error) {
                    self.closing = Closing::ByReset;
                }
                self.not_made.warn(format!(
                    "worker {worker} cannot be checked: {error}; its health is not known meanwhile"
                ));
                Some(Event::CheckNotMade { worker })
            }
        }
    }

    /// Nothing was asked but whether it accepts.
    fn accepted(&mut self, sources: &mut Sources, worker: WorkerId) -> Event {
        match (self.closing, self.checks.get_mut(&worker)) {
            (Closing::Politely, Some(check)) => {
                check.stage = Stage::Answered;
                check.attempt.connection.close_our_side();
            }
            (Closing::ByReset, _) | (_, None) => self.end(sources, worker),
        }
        Event::HealthPassed { worker }
    }

    /// The kernel remembers it for a while, as a connection like any other.
    fn remember(&mut self, end: SocketAddr) {
        let now = Instant::now();
        if self.ours.insert(end, now).is_none() {
            self.ours
                .retain(|_, closed| now.duration_since(*closed) < MEMORY);
        }
    }

    /// Whether a connection that is over was a check, by its client's end.
    pub(crate) fn made(&self, source: SocketAddr) -> bool {
        self.ours.contains_key(&source)
    }

    /// A worker answers, or its connection can be written to.
    pub(crate) fn ready(&mut self, sources: &mut Sources, worker: WorkerId) -> Option<Event> {
        let check = self.checks.get_mut(&worker)?;
        let socket = &check.attempt.connection.socket;
        let question = check.attempt.question.as_mut()?;
        if check.stage == Stage::Answered {
            if question.is_read_to_its_end(socket) {
                self.close(sources, worker);
            }
            return None;
        }
        let answer = question.advance(socket);
        let request = question.request();
        let event = match answer {
            Ok(None) => return None,
            Ok(Some(status)) if (200..400).contains(&status) => Event::HealthPassed { worker },
            Ok(Some(status)) => failed(worker, format!("answered {request} with status {status}")),
            Err(error) => {
                let failure = failed(worker, format!("{request} failed: {error}"));
                self.end(sources, worker);
                return Some(failure);
            }
        };
        check.stage = Stage::Answered;
        if question.is_read_to_its_end(socket) {
            self.close(sources, worker);
        }
        Some(event)
    }

    /// The listener by which a worker is being checked.
    pub(crate) fn listener(&self, worker: WorkerId) -> Option<ListenerId> {
        Some(self.checks.get(&worker)?.attempt.listener)
    }

    /// Why a check was not passed in time, as far as that can be seen. `is_asked`: it is by a connection.
    pub(crate) fn explain_late(
        &mut self,
        sources: &mut Sources,
        workers: &Workers,
        worker: WorkerId,
        is_asked: bool,
    ) -> Event {
        let silence = match (is_asked, self.checks.get_mut(&worker)) {
            (false, _) => CheckFailure::Silent,
            (true, None) => return Event::CheckNotMade { worker },
            (true, Some(check)) => match (check.acceptance(), &check.attempt.question) {
                (Acceptance::NotYet, _) => {
                    check.stage = Stage::Held;
                    CheckFailure::NotAccepted
                }
                (Acceptance::Accepted, None) => return self.accepted(sources, worker),
                (Acceptance::Accepted | Acceptance::Reset, _) => {
                    self.end(sources, worker);
                    CheckFailure::NoAnswer
                }
            },
        };
        let failure = match is_stopped(workers, worker) {
            true => CheckFailure::Stopped,
            false => silence,
        };
        Event::HealthFailed { worker, failure }
    }

    /// When the count of a warning is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.not_made.deadline()
    }

    pub(crate) fn check_time(&mut self) {
        self.not_made.check_time();
    }

    /// Gives up a worker's check, if there is one.
    pub(crate) fn end(&mut self, sources: &mut Sources, worker: WorkerId) {
        let Some(check) = self.checks.get(&worker) else {
            return;
        };
        match check.stage {
            // Who accepts it after all shall find no error.
            Stage::Held => {}
            // Where the worker has closed already this is no reset any more.
            Stage::UnderWay | Stage::Answered => check.attempt.connection.reset(),
        }
        self.close(sources, worker);
    }

    fn close(&mut self, sources: &mut Sources, worker: WorkerId) {
        let Some(check) = self.checks.remove(&worker) else {
            return;
        };
        let connection = &check.attempt.connection;
        if let Some(question) = &check.attempt.question {
            question.close(sources, &connection.socket);
        }
        self.remember(connection.source);
    }
}

fn failed(worker: WorkerId, clause: String) -> Event {
    Event::HealthFailed {
        worker,
        failure: CheckFailure::BadAnswer(clause),
    }
}

/// Whether all threads of all processes of a worker are stopped by a signal.
fn is_stopped(workers: &Workers, worker: WorkerId) -> bool {
    let tree = workers.tree(worker);
    !tree.is_empty() && tree.into_iter().all(procfs::is_stopped)
}

impl HealthCheck {
    /// The listener is this worker's alone, so it is known who has accepted.
    fn acceptance(&self) -> Acceptance {
        match listener::state(&self.attempt.connection.socket) {
            Ok(TcpState::ESTABLISHED) => {}
            Ok(TcpState::CLOSE_WAIT) => return Acceptance::Accepted,
            Ok(TcpState::CLOSED) => return Acceptance::Reset,
            Ok(_) | Err(_) => return Acceptance::NotYet,
        }
        match self.attempt.accepted_as() {
            Ok(Some(0)) | Err(_) => Acceptance::NotYet,
            Ok(Some(_)) => Acceptance::Accepted,
            // It has ended since.
            Ok(None) => Acceptance::Accepted,
        }
    }
}

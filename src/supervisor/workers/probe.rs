//! Asking one worker, through the shared port, whether it is ready.
//!
//! There are two probes. The HTTP probe asks for a path. The accept probe is for a worker that was given
//! a listening socket: nothing tells that the worker has begun to use it, but that a connection which can
//! only be its own has been accepted. Both come from a source that [steering](super::super::steering)
//! gives to that worker's listener, before the listener gets anything else.
//!
//! Which process has accepted is looked up, not assumed. Where workers share a listener any of them may
//! accept. So the accept probe counts for the worker that has the connection then, and before that for
//! one whose epoll instance waits for the listener, for the kernel may wake the same worker every time.
//! The HTTP probe asks the listener set: whoever answers, the worker that is probed listens on it too.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use log::debug;

use super::Workers;
use super::attempt::Attempt;
pub(crate) use super::http_question::Asked;
use super::http_question::Question;
use crate::fleet::{Event, ListenerId, Probe, ProbeKind, WorkerId};
use crate::supervisor::listeners::Listeners;
use crate::supervisor::sources::{Source, Sources};
use crate::supervisor::steering::Backend;
use crate::sys::{listener, procfs, usage};
use crate::wire::diag::TcpState;

/// How long a worker may take to answer an HTTP probe before it is asked again.
const HTTP_TIMEOUT: Duration = Duration::from_secs(5);

/// For how long at least the kernel remembers a connection that we have closed: twice a minute, where the other side
/// takes its time.
pub(super) const MEMORY: Duration = Duration::from_secs(120);

/// The probes that are under way, and what went wrong with those before.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    attempts: BTreeMap<WorkerId, Attempt>,
    /// What became of a worker's last HTTP probe, if not well: a clause.
    trouble: BTreeMap<WorkerId, String>,
    /// Our ends of those that are over, as long as the kernel may remember them, and when each ended.
    over: Vec<(Instant, SocketAddr)>,
}

/// Which process has accepted a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acceptor {
    Nobody,
    Worker,
    Other,
}

impl Probes {
    /// Begins a probe, or sees how the one that is under way is doing.
    pub(crate) fn probe(
        &mut self,
        sources: &mut Sources,
        workers: &Workers,
        listeners: &Listeners,
        steering: &dyn Backend,
        wanted: &Probe,
        asked: Asked<'_>,
    ) -> Option<Event> {
        let worker = wanted.worker;
        if wanted.kind == ProbeKind::Accept && is_awaited(workers, listeners, wanted) {
            self.end(sources, worker);
            return listened(listeners, worker, wanted.listener);
        }
        let Some(attempt) = self.attempts.get(&worker) else {
            let source = Source::Probe(worker);
            let begun = Attempt::begin(sources, listeners, steering, wanted, asked, source);
            return match begun {
                Ok(attempt) => {
                    self.attempts.insert(worker, attempt);
                    None
                }
                Err(error) => {
                    debug!("worker {worker}: cannot probe: {error}");
                    Some(Event::ProbeFailed { worker })
                }
            };
        };
        let event = match wanted.kind {
            ProbeKind::Http if attempt.since.elapsed() < HTTP_TIMEOUT => return None,
            ProbeKind::Http => {
                let request = attempt.question.as_ref().map_or("", Question::request);
                let after = HTTP_TIMEOUT.as_secs();
                let trouble = format!("did not answer {request} within {after}s");
                self.trouble.insert(worker, trouble);
                Some(Event::ProbeFailed { worker })
            }
            ProbeKind::Accept => match acceptor(attempt, workers, wanted) {
                Acceptor::Nobody => return None,
                Acceptor::Worker => listened(listeners, worker, attempt.listener),
                Acceptor::Other => Some(Event::ProbeFailed { worker }),
            },
        };
        self.end(sources, worker);
        event
    }

    /// The listener by which a worker is being probed.
    pub(crate) fn listener(&self, worker: WorkerId) -> Option<ListenerId> {
        Some(self.attempts.get(&worker)?.listener)
    }

    /// A worker answers, or its connection can be written to.
    pub(crate) fn ready(&mut self, sources: &mut Sources, worker: WorkerId) -> Option<Event> {
        let attempt = self.attempts.get_mut(&worker)?;
        let question = attempt.question.as_mut()?;
        let answer = question.advance(&attempt.connection.socket);
        let request = question.request();
        let trouble = match answer {
            Ok(None) => return None,
            Ok(Some(status)) if (200..400).contains(&status) => None,
            Ok(Some(status)) => Some(format!("answered {request} with status {status}")),
            Err(error) => Some(format!("{request} failed: {error}")),
        };
        let event = match trouble {
            None => {
                self.trouble.remove(&worker);
                Event::Probed { worker }
            }
            Some(trouble) => {
                debug!("worker {worker}: {trouble}");
                self.trouble.insert(worker, trouble);
                Event::ProbeFailed { worker }
            }
        };
        self.end(sources, worker);
        Some(event)
    }

    /// Why a worker's last HTTP probe was not answered well: a clause of which the worker is the subject, or the
    /// request.
    pub(crate) fn trouble(&self, worker: WorkerId) -> Option<&str> {
        self.trouble.get(&worker).map(String::as_str)
    }

    /// Whether a connection that is over was a probe, by its client's end.
    pub(crate) fn made(&self, source: SocketAddr) -> bool {
        self.over.iter().any(|(_, own)| *own == source)
    }

    pub(crate) fn forget(&mut self, worker: WorkerId) {
        self.trouble.remove(&worker);
    }

    /// Ends a worker's probe, if there is one.
    pub(crate) fn end(&mut self, sources: &mut Sources, worker: WorkerId) {
        let Some(attempt) = self.attempts.remove(&worker) else {
            return;
        };
        let connection = attempt.connection;
        let now = Instant::now();
        self.over
            .retain(|(ended, _)| now.duration_since(*ended) < MEMORY);
        self.over.push((now, connection.source));
        if let Some(question) = attempt.question {
            question.close(sources, &connection.socket);
            // By a reset: what we close first would keep its port for a minute, and there are few ports
            // that reach a listener.
            connection.reset();
        }
    }
}

fn listened(listeners: &Listeners, worker: WorkerId, listener: ListenerId) -> Option<Event> {
    let endpoint = listeners.endpoint(listener)?;
    Some(Event::Listened {
        worker,
        listener,
        endpoint,
    })
}

/// Whether a worker is seen to wait for a shared listener.
fn is_awaited(workers: &Workers, listeners: &Listeners, wanted: &Probe) -> bool {
    let found = workers
        .pid(wanted.worker)
        .zip(listeners.inode(wanted.listener));
    wanted.shared && found.is_some_and(|(pid, inode)| usage::is_awaited_by(pid, inode))
}

fn acceptor(attempt: &Attempt, workers: &Workers, wanted: &Probe) -> Acceptor {
    match listener::state(&attempt.connection.socket) {
        Ok(TcpState::ESTABLISHED) => {}
        // Accepted, and closed at once. By whom is known only where nobody else has the listener.
        Ok(TcpState::CLOSE_WAIT) if !wanted.shared => return Acceptor::Worker,
        Ok(TcpState::CLOSE_WAIT | TcpState::CLOSED) => return Acceptor::Other,
        Ok(_) | Err(_) => return Acceptor::Nobody,
    }
    match (attempt.accepted_as(), workers.pid(wanted.worker)) {
        (Err(_) | Ok(Some(0)), _) => Acceptor::Nobody,
        (Ok(Some(inode)), Some(pid)) => {
            let sockets = procfs::tree_sockets(pid);
            // A process that hides its descriptors is the only one that has this listener.
            if sockets.contains_key(&inode) || sockets.is_empty() {
                Acceptor::Worker
            } else {
                Acceptor::Other
            }
        }
        (Ok(None), _) | (_, None) => Acceptor::Other,
    }
}

//! A worker calls bind or listen, and we do it for it, on the same socket.
//!
//! The worker waits while we fetch its socket, read the address, and check that it still waits:
//! only then is what we read its own. Since we then act on the socket and not on the worker's
//! descriptor, nothing that its other threads do in between can make us act on something else.
//!
//! Where fetching is refused (seccomp profiles of containers, a process that is not dumpable), we
//! make the socket ourselves and put it in the place of the worker's: that needs only the
//! notification.
//!
//! A signal may interrupt a call that waits and start it again; so a second bind of a socket that
//! we have bound is answered with 0.
//!
//! Where the worker's listener set has a listener already, that takes the place of the worker's socket: at
//! bind, so that all that the worker does to it later is done to what it will accept from; at listen at
//! the latest, for two workers of a set may both have bound before one of them listens. What they then do
//! to the one socket they do all: options, listen(2) again with another backlog and `O_NONBLOCK` are the
//! socket's or the open file's, and they run the same program.
//!
//! | file | what it does |
//! | --- | --- |
//! | `argument` | reads what a call points to |
//! | `call_socket` | finds the socket that a call is about |
//! | `bind` | binds it, or lets another take its place |
//! | `listen` | makes it listen |
//! | `change` | what that has changed |
//! | `program` | keeps the program that steers a group |
//! | `replace` | puts another socket in its place |
//! | `state` | what one worker's calls have come to |

mod argument;
mod bind;
mod call_socket;
mod change;
mod listen;
mod program;
mod replace;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use log::{debug, error, warn};
use mio::{Interest, Token};

use super::Listeners;
use crate::fleet::{Endpoint, Generation, ListenerId, Spawn, WorkerId};
use crate::supervisor::sources::{Source, Sources};
use crate::sys::procfs;
use crate::sys::seccomp::{self, Call, Notification};
use argument::resolved;
pub(crate) use change::{Change, Membership};
pub(crate) use program::Programs;
use state::InterceptState;

/// The intercepted calls of all workers.
#[derive(Debug, Default)]
pub(crate) struct Intercepts {
    workers: BTreeMap<WorkerId, Intercept>,
    programs: Programs,
}

#[derive(Debug)]
struct Intercept {
    state: InterceptState,
    /// Where the calls arrive; none before the worker's launcher has said so, and when there are no more.
    calls: Option<(OwnedFd, Token)>,
}

/// What a call has come to. The worker waits until it is answered.
#[derive(Debug)]
pub(crate) struct HandledCall {
    worker: WorkerId,
    id: u64,
    answer: Answer,
    pub(crate) change: Option<Change>,
}

/// What to tell the kernel to tell the worker.
#[derive(Debug)]
enum Answer {
    /// The call's result is this.
    Result(io::Result<()>),
    /// The kernel must do it as if we were not there.
    Pass,
    /// Nobody waits any more.
    None,
}

/// One call that waits.
struct PendingCall<'a> {
    calls: BorrowedFd<'a>,
    id: u64,
    pid: i32,
    worker: WorkerId,
}

impl Intercepts {
    /// No worker yet; groups have these programs.
    pub(crate) fn new(programs: Programs) -> Self {
        Self {
            programs,
            ..Self::default()
        }
    }

    /// A worker has been started: what it binds is replaced by listeners of its set.
    pub(crate) fn begin(&mut self, spawn: &Spawn, pid: i32) {
        let state = InterceptState::new(pid, spawn.set, spawn.generation);
        let intercept = Intercept { state, calls: None };
        self.workers.insert(spawn.worker, intercept);
    }

    /// The worker's calls arrive here.
    pub(crate) fn take_calls(&mut self, sources: &mut Sources, worker: WorkerId, calls: OwnedFd) {
        let Some(intercept) = self.workers.get_mut(&worker) else {
            return;
        };
        match sources.add(&calls, Source::Calls(worker), Interest::READABLE) {
            Ok(token) => intercept.calls = Some((calls, token)),
            Err(error) => {
                error!("worker {worker}: cannot hear its calls of bind and listen: {error}");
            }
        }
    }

    /// The listeners that a worker has, or had.
    pub(crate) fn listeners_of(&self, worker: WorkerId) -> impl Iterator<Item = ListenerId> {
        let own = self.workers.get(&worker).into_iter();
        own.flat_map(|intercept| intercept.state.own_listeners.iter().copied())
    }

    /// Forgets a worker that has ended; the listeners that it had.
    pub(crate) fn end(&mut self, sources: &mut Sources, worker: WorkerId) -> BTreeSet<ListenerId> {
        let Some(mut intercept) = self.workers.remove(&worker) else {
            return BTreeSet::new();
        };
        intercept.close(sources);
        intercept.state.own_listeners
    }

    /// A socket for a worker that asks for one that is bound: a listener of its set, or a new socket, which listens when the
    /// worker calls listen(2) on it. `is_fetchable`: it can be fetched from the worker then.
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and fcntl(2); `NotFound`: the worker has ended.
    pub(crate) fn bind_for(
        &mut self,
        listeners: &Listeners,
        worker: WorkerId,
        endpoint: Endpoint,
        is_fetchable: bool,
    ) -> io::Result<(OwnedFd, Option<Change>)> {
        let intercept = self.workers.get_mut(&worker);
        let intercept = intercept.ok_or(io::ErrorKind::NotFound)?;
        intercept.state.bind_for(listeners, endpoint, is_fetchable)
    }

    /// A worker was seen to use a listener that it did not call listen(2) on; the worker's generation.
    pub(crate) fn uses(&mut self, worker: WorkerId, listener: ListenerId) -> Option<Generation> {
        let state = &mut self.workers.get_mut(&worker)?.state;
        state.own_listeners.insert(listener);
        Some(state.generation)
    }

    /// Deals with the next call of a worker that waits; none: no call waits now.
    pub(crate) fn handle(
        &mut self,
        sources: &mut Sources,
        listeners: &mut Listeners,
        worker: WorkerId,
    ) -> Option<HandledCall> {
        let intercept = self.workers.get_mut(&worker)?;
        let (calls, _) = intercept.calls.as_ref()?;
        match seccomp::receive(calls.as_fd()) {
            Ok(notification) => {
                let Notification { id, thread, call } = notification?;
                let pending = PendingCall {
                    calls: calls.as_fd(),
                    id,
                    pid: procfs::tgid(thread).unwrap_or(thread),
                    worker,
                };
                Some(pending.handle(&mut intercept.state, listeners, &mut self.programs, call))
            }
            Err(error) => {
                debug!("worker {worker}: no more calls: {error}");
                intercept.close(sources);
                None
            }
        }
    }

    /// Lets the worker go on.
    pub(crate) fn answer(&self, handled: HandledCall) {
        let intercept = self.workers.get(&handled.worker);
        let Some((calls, _)) = intercept.and_then(|intercept| intercept.calls.as_ref()) else {
            return;
        };
        let (calls, id) = (calls.as_fd(), handled.id);
        let sent = match handled.answer {
            Answer::Result(result) => {
                let result = result.map(|()| 0);
                let errno = |error: io::Error| error.raw_os_error().unwrap_or(libc::EIO);
                seccomp::answer(calls, id, result.map_err(errno))
            }
            Answer::Pass => seccomp::pass(calls, id),
            Answer::None => return,
        };
        if let Err(error) = sent {
            warn!("worker {}: cannot answer its call: {error}", handled.worker);
        }
    }
}

impl Intercept {
    fn close(&mut self, sources: &mut Sources) {
        if let Some((calls, token)) = self.calls.take() {
            sources.remove(&calls, token);
        }
    }
}

impl PendingCall<'_> {
    fn handle(
        &self,
        state: &mut InterceptState,
        listeners: &mut Listeners,
        programs: &mut Programs,
        call: Call,
    ) -> HandledCall {
        let (answer, change) = match resolved(self.pid, call) {
            Call::Bind {
                fd,
                address,
                length,
            } => self.bind(state, listeners, fd, address, length),
            Call::Listen { fd, backlog } => match self.listen(state, listeners, fd, backlog) {
                Ok(Some(change)) => (Answer::Result(Ok(())), Some(change)),
                Ok(None) => (Answer::Pass, None),
                Err(error) => (Answer::Result(Err(error)), None),
            },
            Call::SetV6Only {
                fd, value_address, ..
            } => {
                self.note_v6_only(state, fd, value_address);
                (Answer::Pass, None)
            }
            Call::SetProgram { fd } => (self.set_program(state, listeners, programs, fd), None),
            Call::Socketcall { .. } | Call::Other => (Answer::Pass, None),
        };
        HandledCall {
            worker: self.worker,
            id: self.id,
            answer,
            change,
        }
    }

    fn is_pending(&self) -> bool {
        seccomp::still_valid(self.calls, self.id)
    }
}

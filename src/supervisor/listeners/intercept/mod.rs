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
//! Where the worker's queue has a listener already, that takes the place of the worker's socket: at
//! bind, so that all that the worker does to it later is done to what it will accept from; at listen
//! at the latest, for two workers of a queue may both have bound before one of them listens. What
//! they then do to the one socket they do all: options, listen(2) again with another backlog and
//! `O_NONBLOCK` are the socket's or the open file's, and they run the same program.
//!
//! | file | what it does |
//! | --- | --- |
//! | `argument` | reads what a call points to |
//! | `subject` | finds the socket that a call is about |
//! | `bind` | binds it, or lets another take its place |
//! | `listen` | makes it listen |
//! | `replace` | puts another socket in its place |

mod argument;
mod bind;
mod listen;
mod replace;
pub(crate) mod state;
mod subject;

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use log::{debug, warn};

use crate::fleet::{Event, Fleet, WorkerId};
use crate::supervisor::Supervisor;
use crate::supervisor::listeners::Groups;
use crate::supervisor::listeners::intercept::state::Desk;
use crate::sys::procfs;
use crate::sys::seccomp::{self, Call};
use argument::resolved;

/// What to tell the kernel to tell the worker.
enum Answer {
    /// The call's result is this.
    Result(io::Result<()>),
    /// The kernel shall do it as if we were not there.
    Pass,
    /// Nobody waits any more.
    None,
}

/// One call that waits.
struct Waiting<'a> {
    calls: BorrowedFd<'a>,
    id: u64,
    pid: i32,
    worker: WorkerId,
    fleet: &'a Fleet,
}

impl Supervisor {
    /// Answers all calls that wait.
    pub(crate) fn calls_ready(&mut self, worker: WorkerId) {
        loop {
            let Some(child) = self.children.get_mut(worker) else {
                return;
            };
            let Some((calls, _)) = &child.calls else {
                return;
            };
            let calls = calls.as_fd();
            match seccomp::receive(calls) {
                Ok(Some(notification)) => {
                    let waiting = Waiting {
                        calls,
                        id: notification.id,
                        pid: procfs::tgid(notification.thread).unwrap_or(notification.thread),
                        worker,
                        fleet: &self.fleet,
                    };
                    let event = waiting.serve(&mut child.desk, &mut self.groups, notification.call);
                    self.inbox.extend(event);
                }
                Ok(None) => return,
                Err(error) => {
                    debug!("worker {worker}: no more calls: {error}");
                    return child.close_calls(&mut self.sources);
                }
            }
        }
    }
}

impl Waiting<'_> {
    /// Deals with the call; that it got a listener, or listens, is an event.
    fn serve(&self, desk: &mut Desk, groups: &mut Groups, call: Call) -> Option<Event> {
        let (answer, event) = match resolved(self.pid, call) {
            Call::Bind {
                fd,
                address,
                length,
            } => self.bind(desk, groups, fd, address, length),
            Call::Listen { fd, backlog } => match self.listen(desk, groups, fd, backlog) {
                Ok(Some((listener, endpoint))) => {
                    let event = Event::Listened {
                        worker: self.worker,
                        listener,
                        endpoint,
                    };
                    (Answer::Result(Ok(())), Some(event))
                }
                Ok(None) => (Answer::Pass, None),
                Err(error) => (Answer::Result(Err(error)), None),
            },
            Call::SetV6Only {
                fd, value_address, ..
            } => {
                self.note_v6_only(desk, fd, value_address);
                (Answer::Pass, None)
            }
            Call::Socketcall { .. } | Call::Other => (Answer::Pass, None),
        };
        self.answer(answer);
        event
    }

    fn answer(&self, answer: Answer) {
        let sent = match answer {
            Answer::Result(Ok(())) => seccomp::answer(self.calls, self.id, Ok(0)),
            Answer::Result(Err(error)) => seccomp::answer(
                self.calls,
                self.id,
                Err(error.raw_os_error().unwrap_or(libc::EIO)),
            ),
            Answer::Pass => seccomp::pass(self.calls, self.id),
            Answer::None => return,
        };
        if let Err(error) = sent {
            warn!(
                "worker {}: cannot answer its bind or listen: {error}",
                self.worker
            );
        }
    }

    fn still_waits(&self) -> bool {
        seccomp::still_valid(self.calls, self.id)
    }
}

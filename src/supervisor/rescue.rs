//! The rescuers, as the supervisor sees them: one process for all workers that retire together.
//!
//! The order: duplicates of a worker's connections go to the rescuer; when it says that no request
//! is in flight, or when the quiet time-out has passed, those that were accepted late go too, the
//! rescuer hears that the stop signal comes, and the signal goes out. A rescuer that dies leaves
//! things as they are without one: nobody waits for it.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use log::{debug, info, warn};

use super::Supervisor;
use super::rescuer::{Rescuer, sentence, sockets_of};
use crate::fleet::{Event, RetirementId, WorkerId};
use crate::sys::interrupt::{Stopped, interrupt_threads, stop_threads};
use crate::sys::{channel, process};
use crate::wire::diag::{States, TcpState};
use crate::wire::rescue::{News, Order};

/// How long a rescuer may take to hear that the stop signal comes.
const HEARING: Duration = Duration::from_millis(500);
/// How long rescuers may take when all is over.
const FAREWELL: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Has the connections of these workers held. A worker that has none, or that cannot be looked
    /// into, is quiet as far as that matters.
    pub(super) fn hold(&mut self, retirement: RetirementId, workers: &[WorkerId]) -> Vec<Event> {
        let open = self.established();
        let quiet = |worker: &WorkerId| Event::Quieted { worker: *worker };
        let mut events = Vec::new();
        for worker in workers {
            match self.hold_one(retirement, *worker, &open) {
                Ok(true) => {}
                Ok(false) => events.push(quiet(worker)),
                Err(error) => {
                    warn!(
                        "{}: its connections cannot be rescued: {error}",
                        self.describe(*worker)
                    );
                    events.push(quiet(worker));
                }
            }
        }
        events
    }

    fn hold_one(
        &mut self,
        retirement: RetirementId,
        worker: WorkerId,
        open: &BTreeSet<u64>,
    ) -> io::Result<bool> {
        let Some(pid) = self.children.get(worker).map(|child| child.pid) else {
            return Ok(false);
        };
        if open.is_empty()
            || !sockets_of(pid)
                .iter()
                .any(|found| open.contains(&found.inode))
        {
            return Ok(false);
        }
        let rescuer = self.rescuer(retirement)?;
        rescuer.workers.insert(worker);
        Ok(rescuer.take(worker, pid, open)? > 0)
    }

    /// The rescuer of a retirement; started if there is none.
    pub(super) fn rescuer(&mut self, retirement: RetirementId) -> io::Result<&mut Rescuer> {
        if !self.rescuers.rescuers.contains_key(&retirement) {
            let endpoints = self
                .groups
                .endpoints()
                .map(|(endpoint, _)| *endpoint)
                .collect();
            let rescuer = Rescuer::start(&self.config, endpoints, &mut self.sources, retirement)?;
            debug!(
                "rescuer (pid {}) started for retirement {}",
                rescuer.pid, retirement.0
            );
            self.rescuers.rescuers.insert(retirement, rescuer);
        }
        self.rescuers
            .rescuers
            .get_mut(&retirement)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The inodes of the established connections on the managed endpoints.
    fn established(&self) -> BTreeSet<u64> {
        match self.connections(States::of(TcpState::ESTABLISHED)) {
            Ok(open) => open
                .iter()
                .map(|connection| connection.inode)
                .filter(|inode| *inode != 0)
                .collect(),
            Err(error) => {
                warn!("cannot list connections: {error}; none is rescued");
                BTreeSet::new()
            }
        }
    }

    /// To be called just before the stop signal goes out: with what stands still until it has.
    ///
    /// A thread that dies in a read takes along what is there. So the rescuer copies that first,
    /// then the threads are stopped, and it looks whether anything was taken in between. If so, they
    /// go on and answer it, and all begins again.
    pub(super) fn about_to_tell(&mut self, worker: WorkerId) -> Option<Stopped> {
        let retirement = self.rescuers.retirement_of(worker)?;
        let open = self.established();
        let pid = self.children.get(worker)?.pid;
        let taken = self.rescuers.of(worker)?.take(worker, pid, &open);
        let deadline = Instant::now() + HEARING;
        let prepared = taken.and_then(|_| {
            loop {
                let (stopped, is_still) = self.stop_readers(retirement, worker, deadline)?;
                if is_still {
                    return Ok(stopped);
                }
            }
        });
        prepared
            .inspect_err(|error| {
                warn!("worker {worker}: its rescuer is not ready ({error}); it is told to stop all the same");
            })
            .ok()
            .flatten()
    }

    /// Stops the threads that sleep in reads; whether nothing was lost by that.
    fn stop_readers(
        &mut self,
        retirement: RetirementId,
        worker: WorkerId,
        deadline: Instant,
    ) -> io::Result<(Option<Stopped>, bool)> {
        let worker = worker.0;
        let heard = |news: &News| match news {
            News::Heard {
                readers,
                worker: of,
            } if *of == worker => Some(readers.clone()),
            _ => None,
        };
        let readers = self.consult(retirement, &Order::Told { worker }, heard, deadline)?;
        if readers.is_empty() {
            return Ok((None, true));
        }
        // Without the right to trace, the copies must do.
        let Ok(stopped) = stop_threads(&readers) else {
            return Ok((None, true));
        };
        let checked = |news: &News| match news {
            News::Checked {
                is_still,
                worker: of,
            } if *of == worker => Some(*is_still),
            _ => None,
        };
        let is_still = self.consult(retirement, &Order::Stopped { worker }, checked, deadline)?;
        Ok((Some(stopped), is_still))
    }

    /// Gives an order and waits for its answer; what else is heard meanwhile is heard.
    fn consult<T>(
        &mut self,
        retirement: RetirementId,
        order: &Order,
        answer: impl Fn(&News) -> Option<T>,
        deadline: Instant,
    ) -> io::Result<T> {
        self.rescuer(retirement)?.order(order, &[])?;
        loop {
            let rescuer = self.rescuers.rescuers.get(&retirement);
            let rescuer = rescuer.ok_or(io::ErrorKind::BrokenPipe)?;
            match rescuer.hear() {
                Ok(Some(news)) => match answer(&news) {
                    Some(answer) => return Ok(answer),
                    None => self.heard(retirement, news),
                },
                Ok(None) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || !channel::is_readable(&rescuer.channel, left) {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => {
                    self.lose_rescuer(retirement);
                    return Err(error);
                }
            }
        }
    }

    /// To be called when a worker has ended.
    pub(super) fn rescue_ended(&mut self, worker: WorkerId) {
        let Some(rescuer) = self.rescuers.of(worker) else {
            return;
        };
        if let Err(error) = rescuer.order(&Order::Gone { worker: worker.0 }, &[]) {
            debug!("worker {worker}: cannot tell its rescuer that it is gone: {error}");
        }
        rescuer.workers.remove(&worker);
    }

    pub(super) fn rescuer_ready(&mut self, retirement: RetirementId) {
        while let Some(rescuer) = self.rescuers.rescuers.get(&retirement) {
            match rescuer.hear() {
                Ok(Some(news)) => self.heard(retirement, news),
                Ok(None) => return,
                Err(_) => return self.lose_rescuer(retirement),
            }
        }
    }

    fn heard(&mut self, retirement: RetirementId, news: News) {
        match news {
            News::Holding { worker, held } => {
                debug!("worker {worker}: {held} of its connections are held")
            }
            News::Quiet { worker } => self.inbox.push_back(Event::Quieted {
                worker: WorkerId(worker),
            }),
            News::Stuck { worker, threads } => {
                self.interrupt(retirement, WorkerId(worker), &threads)
            }
            News::Heard { worker, .. } | News::Checked { worker, .. } => {
                debug!("worker {worker}: its rescuer answers late");
            }
            News::Report { worker, tally } => {
                info!("worker {worker}: {}", sentence(&tally));
                if let Some(rescuer) = self.rescuers.rescuers.get_mut(&retirement) {
                    rescuer.status.add(worker, &tally);
                }
            }
        }
    }

    /// Interrupts the reads in which threads of a worker sleep.
    fn interrupt(&mut self, retirement: RetirementId, worker: WorkerId, threads: &[i32]) {
        if let Err(error) = interrupt_threads(threads) {
            warn!("worker {worker}: cannot interrupt its reads: {error}");
        }
        let Some(rescuer) = self.rescuers.rescuers.get_mut(&retirement) else {
            return;
        };
        if let Err(error) = rescuer.order(&Order::Interrupted { worker: worker.0 }, &[]) {
            debug!("worker {worker}: cannot tell its rescuer of the interruption: {error}");
        }
    }

    /// Its channel has closed: it has done its work, or it died.
    fn lose_rescuer(&mut self, retirement: RetirementId) {
        let Some(rescuer) = self.rescuers.rescuers.remove(&retirement) else {
            return;
        };
        self.sources.remove(&rescuer.channel, rescuer.token);
        if !rescuer.workers.is_empty() {
            warn!(
                "rescuer (pid {}) ended before the workers that it was for; requests on their connections may be lost",
                rescuer.pid
            );
        }
        for worker in &rescuer.workers {
            self.thaw(*worker, &rescuer);
            self.inbox.push_back(Event::Quieted { worker: *worker });
        }
        self.rescuers.remember(retirement, rescuer.status);
    }

    /// Gives a worker back what its dead rescuer had frozen.
    fn thaw(&self, worker: WorkerId, rescuer: &Rescuer) {
        let Some(child) = self.children.get(worker) else {
            return;
        };
        let thawed = rescuer
            .thaw_for(child.pid)
            .and_then(|()| process::interrupt_group(child.pid));
        if let Err(error) = thawed {
            warn!("worker {worker}: cannot give its connections back to it: {error}");
        }
    }

    /// Ends all rescuers: there is nobody left to pass a request on to.
    pub(super) fn end_rescuers(&mut self) {
        let within_ms = u64::try_from(FAREWELL.as_millis()).unwrap_or(0) / 2;
        for (_, rescuer) in std::mem::take(&mut self.rescuers.rescuers) {
            let asked = rescuer.order(&Order::End { within_ms }, &[]);
            if let Err(error) = asked.and_then(|()| process::wait_or_kill(rescuer.pid, FAREWELL)) {
                debug!("rescuer (pid {}): {error}", rescuer.pid);
            }
        }
    }
}

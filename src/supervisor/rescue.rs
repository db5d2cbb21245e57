//! The rescuers, as the supervisor sees them: one process for all workers that retire together.
//!
//! The order: duplicates of a worker's connections go to the rescuer; when it says that no request
//! is in flight, or when the quiet time-out has passed, those that were accepted late go too, the
//! rescuer hears that the stop signal comes, and the signal goes out. A rescuer that dies leaves
//! things as they are without one: nobody waits for it. One that hangs would be worse than none, as
//! its clients would wait for ever; so it is killed.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use log::{debug, info, warn};

use super::Supervisor;
use super::figures::sentence;
use super::rescuer::{Rescuer, connections_of};
use crate::fleet::{Event, RetirementId, WorkerId};
use crate::sys::interrupt::interrupt_threads;
use crate::sys::process;
use crate::wire::diag::{States, TcpState};
use crate::wire::rescue::{Order, Report};

/// How long rescuers may take when all is over.
const FAREWELL: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Has the connections of these workers held. A worker that has none is quiet.
    pub(super) fn hold(&mut self, retirement: RetirementId, workers: &[WorkerId]) -> Vec<Event> {
        let open = self.established();
        let quiet = |worker: &WorkerId| Event::ConnectionsIdle { worker: *worker };
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
                    self.check_answers(retirement, &error);
                    events.push(Event::RescueLost { worker: *worker });
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
        let found = connections_of(pid, open);
        if found.is_empty() {
            return Ok(false);
        }
        let rescuer = self.rescuer(retirement)?;
        rescuer.include(worker);
        Ok(rescuer.take(worker, pid, found)? > 0)
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
            self.rescuers.figures.begin(retirement, rescuer.pid);
            self.rescuers.rescuers.insert(retirement, rescuer);
        }
        self.rescuers
            .rescuers
            .get_mut(&retirement)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The inodes of the established connections on the managed endpoints.
    pub(super) fn established(&self) -> BTreeSet<u64> {
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

    /// To be called when a worker has ended.
    pub(super) fn rescue_ended(&mut self, worker: WorkerId) {
        let Some(rescuer) = self.rescuers.of(worker) else {
            return;
        };
        if let Err(error) = rescuer.order(&Order::WorkerExited { worker: worker.0 }, &[]) {
            debug!("worker {worker}: cannot tell its rescuer that it is gone: {error}");
        }
        rescuer.workers.remove(&worker);
    }

    pub(super) fn rescuer_ready(&mut self, retirement: RetirementId) {
        while let Some(rescuer) = self.rescuers.rescuers.get(&retirement) {
            match rescuer.hear() {
                Ok(Some(report)) => self.heard(retirement, report),
                Ok(None) => return,
                Err(_) => return self.lose_rescuer(retirement),
            }
        }
    }

    pub(super) fn heard(&mut self, retirement: RetirementId, report: Report) {
        match report {
            Report::Holding { worker, held } => {
                debug!("worker {worker}: {held} of its connections are held")
            }
            Report::Idle { worker } => self.inbox.push_back(Event::ConnectionsIdle {
                worker: WorkerId(worker),
            }),
            Report::BlockedReaders { worker, threads } => {
                self.interrupt(retirement, WorkerId(worker), &threads)
            }
            Report::Readers { worker, .. } | Report::StopChecked { worker, .. } => {
                debug!("worker {worker}: its rescuer answers late");
            }
            Report::Progress { worker, tally } => {
                self.rescuers.figures.note(retirement, worker, tally, false)
            }
            Report::Finished { worker, tally } => {
                info!("worker {worker}: {}", sentence(&tally));
                self.rescuers.figures.note(retirement, worker, tally, true);
                if let Some(rescuer) = self.rescuers.rescuers.get_mut(&retirement) {
                    rescuer.unreported.remove(&WorkerId(worker));
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
        if let Err(error) = rescuer.order(&Order::ReadersInterrupted { worker: worker.0 }, &[]) {
            debug!("worker {worker}: cannot tell its rescuer of the interruption: {error}");
        }
    }

    /// Kills a rescuer that takes nothing and says nothing.
    pub(super) fn check_answers(&mut self, retirement: RetirementId, error: &io::Error) {
        let rescuer = self.rescuers.rescuers.get(&retirement);
        let Some(rescuer) = rescuer.filter(|_| error.kind() == io::ErrorKind::TimedOut) else {
            return;
        };
        let pid = rescuer.pid;
        warn!("rescuer (pid {pid}) does not answer; killing it");
        if let Err(error) = process::kill_group(pid) {
            warn!("rescuer (pid {pid}): cannot kill it: {error}");
        }
        self.lose_rescuer(retirement);
    }

    /// Its channel has closed: it has done its work, or it died.
    pub(super) fn lose_rescuer(&mut self, retirement: RetirementId) {
        let Some(rescuer) = self.rescuers.rescuers.remove(&retirement) else {
            return;
        };
        self.sources.remove(&rescuer.channel, rescuer.token);
        self.rescuers.figures.end(retirement);
        if !rescuer.unreported.is_empty() {
            warn!(
                "rescuer (pid {}) died before its time; what it held is closed or its worker's again, and requests \
                 that come there may be lost",
                rescuer.pid
            );
        }
        for worker in &rescuer.workers {
            self.thaw(*worker, &rescuer);
            self.inbox.push_back(Event::RescueLost { worker: *worker });
        }
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

//! All rescuers: starting them, sending to them, and what follows when one is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use log::{Level, debug, log, warn};

use super::Surroundings;
use super::measure;
use super::outbox;
use super::peer_names::PeerNames;
use super::protocols::Protocols;
use super::rescue_stats::{RescueStats, sentence};
use super::rescuer::{Rescuer, connections_of};
use super::successors::Succession;
use crate::fleet::{RetirementId, WorkerId};
use crate::wire::rescue::{Descriptor, Order, Report, Tally};

/// The rescuers, by the retirement that each is for.
#[derive(Debug, Default)]
pub(super) struct Rescuers {
    pub(super) rescuers: BTreeMap<RetirementId, Rescuer>,
    pub(super) stats: RescueStats,
    pub(super) protocols: Protocols,
    pub(super) life: Life,
    pub(super) succession: Succession,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Life {
    #[default]
    Running,
    /// They were told to end.
    Ending,
}

/// What came of sending to a rescuer.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Workers whose connections cannot be fetched.
    pub(super) unfetchable: Vec<(WorkerId, io::Error)>,
    /// Workers whose rescuer is gone.
    pub(super) abandoned: Vec<WorkerId>,
}

impl Rescuers {
    pub(super) fn new(names: Option<PeerNames>) -> Self {
        Self {
            succession: Succession::new(names),
            ..Self::default()
        }
    }

    /// Whether none is left after all were told to end.
    pub(super) fn have_ended(&self) -> bool {
        self.life == Life::Ending && self.rescuers.is_empty()
    }

    pub(super) fn ids(&self) -> Vec<RetirementId> {
        self.rescuers.keys().copied().collect()
    }

    pub(super) fn pids(&self) -> impl Iterator<Item = i32> {
        self.rescuers.values().map(|rescuer| rescuer.pid)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.rescuers.values().filter_map(Rescuer::deadline).min()
    }

    /// The retirement whose rescuer has connections of this worker.
    pub(super) fn of(&self, worker: WorkerId) -> Option<RetirementId> {
        let mut rescuers = self.rescuers.iter();
        rescuers
            .find(|(_, rescuer)| rescuer.workers.contains(&worker))
            .map(|(id, _)| *id)
    }

    /// Has a rescuer know of a worker; the rescuer is started if there is none.
    ///
    /// # Errors
    /// Those of starting a process.
    pub(super) fn include(
        &mut self,
        around: &mut Surroundings<'_>,
        retirement: RetirementId,
        worker: WorkerId,
    ) -> io::Result<()> {
        let rescuer = match self.rescuers.get_mut(&retirement) {
            Some(rescuer) => rescuer,
            None => {
                let endpoints = around.listeners.endpoints().map(|(it, _)| it.address);
                let known = self.protocols.of(endpoints);
                let successors = self.succession.begin(around, retirement);
                let started =
                    Rescuer::start(around.config, around.sources, retirement, successors, known)?;
                debug!("rescuer (pid {}) started", started.pid);
                self.stats.begin(retirement, started.pid);
                self.rescuers.entry(retirement).or_insert(started)
            }
        };
        rescuer.include(worker);
        Ok(())
    }

    /// Gives a rescuer the connections of a worker that it does not have yet; how many there are.
    pub(super) fn take(
        &mut self,
        retirement: RetirementId,
        worker: WorkerId,
        pid: i32,
        found: Vec<Descriptor>,
    ) -> usize {
        let rescuer = self.rescuers.get_mut(&retirement);
        rescuer.map_or(0, |rescuer| rescuer.take(worker, pid, found))
    }

    /// Gives a worker's rescuer those of the connections `open` that the worker has accepted of late, and
    /// has it get ready for the worker's stop; none if there is no rescuer or no worker.
    pub(super) fn prepare_stop(
        &mut self,
        around: &Surroundings<'_>,
        worker: WorkerId,
        open: &BTreeSet<u64>,
    ) -> Option<RetirementId> {
        let retirement = self.of(worker)?;
        let pid = around.workers.pid(worker)?;
        self.take(retirement, worker, pid, connections_of(pid, open));
        self.order(retirement, Order::PrepareStop { worker: worker.0 });
        Some(retirement)
    }

    /// Has a rescuer adopt what a worker has accepted meanwhile that goes on accepting, and what was on its way from
    /// one of its processes to another; whether that was anything.
    pub(super) fn adopt_late(&mut self, around: &Surroundings<'_>, worker: WorkerId) -> bool {
        if !around.may_have_more(worker) {
            return false;
        }
        let found = self.of(worker).zip(around.workers.pid(worker));
        let Some((retirement, pid)) = found else {
            return false;
        };
        let open = measure::established(around.listeners);
        let rescuer = self.rescuers.get_mut(&retirement);
        rescuer.is_some_and(|rescuer| rescuer.take_late(worker, pid, connections_of(pid, &open)))
    }

    /// Threads of a worker that were in a read have been interrupted.
    pub(super) fn readers_interrupted(&mut self, retirement: RetirementId, worker: u64) {
        self.order(retirement, Order::ReadersInterrupted { worker });
    }

    /// Sends an order about a worker to its rescuer, if there is one.
    pub(super) fn order_for(&mut self, worker: WorkerId, order: Order) {
        if let Some(retirement) = self.of(worker) {
            self.order(retirement, order);
        }
    }

    fn order(&mut self, retirement: RetirementId, order: Order) {
        self.order_with(retirement, order, Vec::new());
    }

    /// Sends an order and descriptors to a rescuer.
    pub(super) fn order_with(
        &mut self,
        retirement: RetirementId,
        order: Order,
        descriptors: Vec<OwnedFd>,
    ) {
        if let Some(rescuer) = self.rescuers.get_mut(&retirement) {
            rescuer.order(order, descriptors);
        }
    }

    /// A worker has ended.
    pub(super) fn worker_ended(&mut self, worker: WorkerId) {
        let found = self.of(worker);
        let Some(rescuer) = found.and_then(|id| self.rescuers.get_mut(&id)) else {
            return;
        };
        rescuer.order(Order::WorkerExited { worker: worker.0 }, Vec::new());
        rescuer.workers.remove(&worker);
        rescuer.unaccounted.insert(worker);
    }

    /// Whether it is not known yet what became of the connections of a worker that has ended.
    pub(super) fn are_accounting(&self) -> bool {
        let mut rescuers = self.rescuers.values();
        rescuers.any(|rescuer| !rescuer.unaccounted.is_empty())
    }

    /// A rescuer has said what became of the connections of a worker that has ended, as far as is known.
    pub(super) fn accounted(&mut self, retirement: RetirementId, worker: u64, tally: Tally) {
        self.stats.progress(retirement, worker, tally);
        if let Some(rescuer) = self.rescuers.get_mut(&retirement) {
            rescuer.unaccounted.remove(&WorkerId(worker));
        }
    }

    /// What a rescuer has said; none for now.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn receive(&mut self, retirement: RetirementId) -> io::Result<Option<Report>> {
        let rescuer = self.rescuers.get_mut(&retirement);
        rescuer.map_or(Ok(None), Rescuer::receive)
    }

    /// A rescuer has nothing left of a worker.
    pub(super) fn finished(&mut self, retirement: RetirementId, worker: u64, tally: Tally) {
        let level = match tally.perhaps_lost() {
            0 => Level::Info,
            _ => Level::Warn,
        };
        log!(level, "worker {worker}: {}", sentence(&tally));
        self.stats.note(retirement, worker, tally, true);
        if let Some(rescuer) = self.rescuers.get_mut(&retirement) {
            rescuer.unreported.remove(&WorkerId(worker));
            rescuer.unaccounted.remove(&WorkerId(worker));
        }
    }

    /// Sends a rescuer what it takes now.
    pub(super) fn flush(
        &mut self,
        around: &mut Surroundings<'_>,
        retirement: RetirementId,
    ) -> Losses {
        let mut losses = Losses::default();
        while let Some(rescuer) = self.rescuers.get_mut(&retirement) {
            match rescuer.flush() {
                Ok(()) => break,
                Err(outbox::Error::Unfetchable { worker, source }) => {
                    losses.unfetchable.push((worker, source));
                }
                Err(outbox::Error::Gone(error)) => {
                    debug!("rescuer (pid {}) takes nothing: {error}", rescuer.pid);
                    losses.abandoned = self.lose(around, retirement);
                }
            }
        }
        losses
    }

    /// Whether nothing is expected of a rescuer that has nothing left.
    pub(super) fn may_go(&self, retirement: RetirementId) -> bool {
        let rescuer = self.rescuers.get(&retirement);
        rescuer.is_some_and(Rescuer::is_done)
    }

    /// A rescuer has done its work, or it died; the workers that it was told of and that have not ended.
    pub(super) fn lose(
        &mut self,
        around: &mut Surroundings<'_>,
        retirement: RetirementId,
    ) -> Vec<WorkerId> {
        let Some(rescuer) = self.rescuers.remove(&retirement) else {
            return Vec::new();
        };
        rescuer.close(around.sources);
        self.stats.end(retirement);
        self.succession.end(retirement);
        if !rescuer.unreported.is_empty() {
            warn!(
                "rescuer (pid {}) died before its time; what it held is closed or its worker's again, and requests \
                 that come there may be lost",
                rescuer.pid
            );
        }
        for worker in &rescuer.workers {
            if let Some(pid) = around.workers.pid(*worker) {
                rescuer.give_back(*worker, pid);
            }
        }
        rescuer.workers.into_iter().collect()
    }

    /// The rescuers that hang; `owes` says of which workers one owes an answer.
    pub(super) fn hanging(&mut self, owes: impl Fn(WorkerId) -> bool) -> Vec<RetirementId> {
        let now = Instant::now();
        let hangs = |(_, rescuer): &mut (_, &mut Rescuer)| rescuer.hangs(now, &owes);
        let hanging = self
            .rescuers
            .iter_mut()
            .filter_map(|mut found| hangs(&mut found).then_some(*found.0));
        hanging.collect()
    }
}

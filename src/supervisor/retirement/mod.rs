//! Retirements, as the supervisor performs them: looks at old workers, their rescuers, and the last
//! moment before they are told to stop.
//!
//! There is one rescuer, a process of its own, for all workers that retire together. The order: duplicates
//! of a worker's connections go to the rescuer; when it says that no request is in flight, or when the
//! quiet time-out has passed, those that were accepted late go too, the worker's readers stand still
//! (`stop_handshake`), and the stop signal goes out. A rescuer that dies leaves things as they are without
//! one: nobody waits for it. One that hangs would be worse than none, so it is killed.
//!
//! | file | what it does |
//! | --- | --- |
//! | `measure` | backlogs and connections of retired workers |
//! | `connection_owners` | pure: which worker has which connection |
//! | `rescuers`, `rescuers_end` | all rescuers: sending to them, losing one, and their end |
//! | `rescuer` | one rescuer process |
//! | `adoption` | which connections a rescuer gets, and when a worker has none |
//! | `successors` | who is there to pass requests on to |
//! | `backlog` | what waits in listeners whose workers will not accept it |
//! | `peer_names` | naming clients to the server |
//! | `protocols` | what each endpoint speaks |
//! | `outbox` | what is on its way to a rescuer |
//! | `fetch` | duplicates of workers' sockets |
//! | `stop_handshake` | the last moment before the stop signal |
//! | `watch` | whether a rescuer that owes an answer works or hangs |
//! | `interruption` | reads that must be begun again |
//! | `rescue_stats` | what became of connections, by retirement |

mod adoption;
mod backlog;
pub mod connection_owners;
mod fetch;
mod interruption;
pub(super) mod measure;
mod outbox;
pub(super) mod peer_names;
mod protocols;
mod rescue_stats;
mod rescuer;
mod rescuers;
mod rescuers_end;
mod stop_handshake;
mod successors;
mod surroundings;
mod watch;

use std::sync::Arc;
use std::time::Instant;

use log::debug;
use mio::Waker;

use crate::fleet::{Event, ListenerId, RetirementId, WorkerId};
use crate::wire::control::RescueStatus;
use crate::wire::rescue::Report;
use interruption::Interruptions;
use peer_names::PeerNames;
use protocols::Protocols;
pub(super) use rescue_stats::Cost;
use rescue_stats::RescueStats;
use rescuers::Rescuers;
use stop_handshake::{Next, StopHandshakes};
pub(super) use surroundings::Surroundings;

/// All that is going on with workers that retire.
#[derive(Debug)]
pub(super) struct Retirements {
    rescuers: Rescuers,
    handshakes: StopHandshakes,
    interruptions: Interruptions,
    /// What has happened and the fleet has not heard of yet.
    events: Vec<Event>,
}

impl Retirements {
    /// `waker` wakes the loop when threads of a worker stand still.
    pub(super) fn new(waker: &Arc<Waker>, names: Option<PeerNames>) -> Self {
        Self {
            rescuers: Rescuers::new(names),
            handshakes: StopHandshakes::new(Arc::clone(waker)),
            interruptions: Interruptions::new(Arc::clone(waker)),
            events: Vec::new(),
        }
    }

    /// What has happened since the last call.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// When [`Self::proceed`] is due at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let handshakes = self.handshakes.deadline();
        handshakes.or_else(|| self.rescuers.deadline())
    }

    pub(super) fn stats(&mut self) -> &mut RescueStats {
        &mut self.rescuers.stats
    }

    pub(super) fn protocols(&mut self) -> &mut Protocols {
        &mut self.rescuers.protocols
    }

    pub(super) fn rescuer_pids(&self) -> impl Iterator<Item = i32> {
        self.rescuers.pids()
    }

    /// Whether it is not known yet what became of the connections of a worker that has ended.
    pub(super) fn are_accounting(&self) -> bool {
        self.rescuers.are_accounting()
    }

    pub(super) fn statuses(&self) -> Vec<RescueStatus> {
        self.rescuers.stats.statuses()
    }

    /// Has a rescuer accept what waits in these listeners: nobody else will.
    pub(super) fn drain_backlog(
        &mut self,
        around: &mut Surroundings<'_>,
        retirement: RetirementId,
        worker: WorkerId,
        listeners: &[ListenerId],
    ) {
        for listener in listeners {
            backlog::drain(&mut self.rescuers, around, retirement, worker, *listener);
        }
        if around.workers.has_ended(worker) {
            self.worker_ended(worker);
        }
        self.flush(around, retirement);
    }

    /// Gets a worker ready for its stop signal, if a rescuer has connections of the worker.
    pub(super) fn prepare_stop(&mut self, around: &Surroundings<'_>, worker: WorkerId) {
        match self.rescuers.of(worker) {
            None => self.events.push(Event::StopPrepared { worker }),
            Some(_) if around.must_be_paused(worker) => {
                let threads = || around.workers.threads(worker);
                self.handshakes.begin_paused(worker, threads);
            }
            Some(_) => self.handshakes.begin(worker),
        }
    }

    /// Gives the rescuers what the workers that are to stop have accepted of late.
    fn prepare_stops(&mut self, around: &mut Surroundings<'_>) {
        if !self.handshakes.is_look_due() {
            return;
        }
        let open = measure::established(around.listeners);
        for worker in self.handshakes.look() {
            match self.rescuers.prepare_stop(around, worker, &open) {
                // Before the look at the next worker: its rescuer has something to do meanwhile.
                Some(retirement) => self.flush(around, retirement),
                None => {
                    self.handshakes.end(worker);
                    self.events.push(Event::StopPrepared { worker });
                }
            }
        }
    }

    /// The stop signal of a worker has gone out: what stood still goes on. A rescuer that owes an answer still
    /// has found no moment in which nothing was taken, or is slow: what it has would be lost with it.
    pub(super) fn stop_sent(&mut self, worker: WorkerId) {
        self.handshakes.end(worker);
    }

    /// The workers of a retirement go on serving, with their connections.
    pub(super) fn give_back(&mut self, around: &mut Surroundings<'_>, retirement: RetirementId) {
        self.rescuers.dismiss(retirement);
        self.lose_rescuer(around, retirement);
    }

    pub(super) fn worker_ended(&mut self, worker: WorkerId) {
        self.handshakes.end(worker);
        self.rescuers.worker_ended(worker);
    }

    /// A rescuer has said something, or takes something again.
    pub(super) fn rescuer_ready(&mut self, around: &mut Surroundings<'_>, id: RetirementId) {
        loop {
            match self.rescuers.receive(id) {
                Ok(Some(Report::Empty)) if self.rescuers.may_go(id) => {
                    return self.lose_rescuer(around, id);
                }
                Ok(Some(report)) => self.received(around, id, report),
                Ok(None) => return self.flush(around, id),
                Err(_) => return self.lose_rescuer(around, id),
            }
        }
    }

    /// Goes on with what rescuers did not take, and with what threads of ours have done.
    pub(super) fn proceed(&mut self, around: &mut Surroundings<'_>) {
        self.handshakes
            .proceed_pausing(|worker| around.workers.threads(worker));
        self.prepare_stops(around);
        for (worker, next) in self.handshakes.stopped() {
            self.go_on(worker, next);
        }
        for (retirement, worker) in self.interruptions.ended() {
            self.rescuers.readers_interrupted(retirement, worker.0);
        }
        for retirement in self.rescuers.ids() {
            self.flush(around, retirement);
        }
        let owes = |worker| self.handshakes.awaits_rescuer(worker);
        for retirement in self.rescuers.hanging(owes) {
            self.rescuers.kill(retirement);
            self.lose_rescuer(around, retirement);
        }
    }

    fn received(&mut self, around: &Surroundings<'_>, retirement: RetirementId, report: Report) {
        match report {
            Report::Holding { worker, held } => debug!("worker {worker}: {held} are held"),
            Report::Idle { worker } => {
                let worker = WorkerId(worker);
                if !self.rescuers.adopt_late(around, worker) {
                    self.events.push(Event::ConnectionsIdle { worker });
                }
            }
            Report::BlockedReaders { worker, threads } => {
                let id = WorkerId(worker);
                if !self.interruptions.begin(retirement, id, threads) {
                    self.rescuers.readers_interrupted(retirement, worker);
                }
            }
            // It is counted on for a worker of which it has not heard.
            Report::Empty => {}
            Report::Protocol(learnt) => self.protocols().learn(learnt),
            Report::Left { worker, count } => self.rescuers.stats.left(retirement, worker, count),
            Report::Readers { worker, threads } => {
                let next = self.handshakes.readers(WorkerId(worker), threads);
                self.go_on(WorkerId(worker), next);
            }
            Report::StopChecked { worker, may_stop } => {
                let next = self.handshakes.checked(WorkerId(worker), may_stop);
                self.go_on(WorkerId(worker), next);
            }
            Report::Accounted { worker, tally } => {
                self.rescuers.accounted(retirement, worker, tally);
            }
            Report::Progress { worker, tally } => self.stats().progress(retirement, worker, tally),
            Report::Finished { worker, tally } => self.rescuers.finished(retirement, worker, tally),
        }
    }

    fn go_on(&mut self, worker: WorkerId, next: Next) {
        match next {
            Next::Wait => {}
            Next::Prepared => self.events.push(Event::StopPrepared { worker }),
            Next::Ask(order) => self.rescuers.order_for(worker, order),
        }
    }

    fn flush(&mut self, around: &mut Surroundings<'_>, retirement: RetirementId) {
        let losses = self.rescuers.flush(around, retirement);
        for (worker, error) in &losses.unfetchable {
            self.cannot_rescue(around, *worker, error);
        }
        self.abandoned(losses.abandoned);
    }

    fn lose_rescuer(&mut self, around: &mut Surroundings<'_>, retirement: RetirementId) {
        let abandoned = self.rescuers.lose(around, retirement);
        self.abandoned(abandoned);
    }

    /// These workers have no rescuer any more.
    fn abandoned(&mut self, workers: Vec<WorkerId>) {
        for worker in workers {
            self.handshakes.end(worker);
            self.events.push(Event::RescueLost { worker });
        }
        if self.rescuers.have_ended() {
            self.events.push(Event::RescuersEnded);
        }
    }

    /// Tells all rescuers to end: nobody is left to pass a request on to.
    pub(super) fn end_rescuers(&mut self, around: &mut Surroundings<'_>) {
        self.rescuers.end_all();
        self.proceed(around);
        self.abandoned(Vec::new());
    }

    pub(super) fn kill_rescuers(&mut self, around: &mut Surroundings<'_>) {
        self.rescuers.kill_all(around);
    }
}

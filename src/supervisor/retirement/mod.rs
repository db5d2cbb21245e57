//! Retirements, as the supervisor performs them: looks at old workers, their rescuers, and the last
//! moment before they are told to stop.
//!
//! There is one rescuer, a process of its own, for all workers that retire together. The order: duplicates
//! of a worker's connections go to the rescuer; when it says that no request is in flight, or when the
//! quiet time-out has passed, those that were accepted late go too, the worker's readers stand still
//! (`stop_handshake`), and the stop signal goes out. A rescuer that dies leaves things as they are without
//! one: nobody waits for it. One that hangs would be worse than none, as its clients would wait for ever;
//! so it is killed.
//!
//! | file | what it does |
//! | --- | --- |
//! | `measure` | backlogs and connections of retired workers |
//! | `connection_owners` | pure: which worker has which connection |
//! | `rescuer` | one rescuer: starting it, giving it connections |
//! | `outbox` | what is on its way to a rescuer |
//! | `fetch` | duplicates of workers' sockets |
//! | `stop_handshake` | the last moment before the stop signal |
//! | `interruption` | reads that must be begun again |
//! | `rescue_stats` | what became of connections, by retirement |

pub mod connection_owners;
mod fetch;
mod interruption;
pub(super) mod measure;
mod outbox;
mod rescue_stats;
mod rescuer;
mod stop_handshake;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use mio::Waker;

use super::listeners::Listeners;
use super::sources::Sources;
use super::workers::Workers;
use crate::config::Config;
use crate::fleet::{Endpoint, Event, ListenerId, RetirementId, WorkerId};
use crate::sys::process;
use crate::wire::control::RescueStatus;
use crate::wire::rescue::{News, Order};
use interruption::Interruptions;
use measure::Measures;
use rescue_stats::{RescueStats, sentence};
use rescuer::{Rescuer, connections_of};
use stop_handshake::{Next, StopHandshakes};

/// How long rescuers may take to end when all is over.
const END_TIMEOUT: Duration = Duration::from_millis(500);

/// All that is going on with workers that retire.
#[derive(Debug)]
pub(super) struct Retirements {
    /// Wakes the loop when a thread has come to an end that stops others.
    waker: Arc<Waker>,
    measures: Measures,
    rescuers: BTreeMap<RetirementId, Rescuer>,
    handshakes: StopHandshakes,
    interruptions: Interruptions,
    stats: RescueStats,
    /// What has happened and the fleet has not heard of yet.
    events: Vec<Event>,
    life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    /// Rescuers were told to end: nobody is left to pass a request on to.
    Ending,
}

/// The parts of the supervisor that a retirement needs.
pub(super) struct Surroundings<'a> {
    pub(super) config: &'a Config,
    pub(super) sources: &'a mut Sources,
    pub(super) workers: &'a Workers,
    pub(super) listeners: &'a mut Listeners,
}

impl Retirements {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self {
            waker,
            measures: Measures::default(),
            rescuers: BTreeMap::new(),
            handshakes: StopHandshakes::default(),
            interruptions: Interruptions::default(),
            stats: RescueStats::default(),
            events: Vec::new(),
            life: Life::Running,
        }
    }

    /// What has happened since the last call.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// When [`Self::proceed`] is due at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.rescuers.values().filter_map(Rescuer::deadline).min()
    }

    pub(super) fn statuses(&self) -> Vec<RescueStatus> {
        self.stats.statuses()
    }

    pub(super) fn measure_backlogs(
        &self,
        around: &Surroundings<'_>,
        asked: &[(WorkerId, Vec<ListenerId>)],
    ) -> Event {
        Event::BacklogsMeasured {
            pending: measure::backlogs(around.workers, around.listeners, asked),
        }
    }

    pub(super) fn measure_connections(
        &mut self,
        around: &Surroundings<'_>,
        asked: &[WorkerId],
    ) -> Event {
        let quiet = self
            .measures
            .connections(around.workers, around.listeners, asked);
        Event::ConnectionsMeasured { quiet }
    }

    /// Has a rescuer adopt the connections of these workers. A worker that has none is idle.
    pub(super) fn adopt_connections(
        &mut self,
        around: &mut Surroundings<'_>,
        retirement: RetirementId,
        workers: &[WorkerId],
    ) {
        let open = measure::established(around.listeners);
        for worker in workers {
            let worker = *worker;
            let Some(pid) = around.workers.pid(worker) else {
                continue;
            };
            let found = connections_of(pid, &open);
            if found.is_empty() {
                self.events.push(Event::ConnectionsIdle { worker });
                continue;
            }
            match self.rescuer(around, retirement) {
                Ok(rescuer) => {
                    rescuer.include(worker);
                    if rescuer.take(worker, pid, found) == 0 {
                        self.events.push(Event::ConnectionsIdle { worker });
                    }
                }
                Err(error) => self.cannot_rescue(around, worker, &error),
            }
        }
        self.flush(around, retirement);
    }

    fn cannot_rescue(&mut self, around: &Surroundings<'_>, worker: WorkerId, error: &io::Error) {
        let name = around.workers.describe(worker);
        warn!("{name}: its connections cannot be rescued: {error}");
        self.events.push(Event::RescueLost { worker });
    }

    /// The rescuer of a retirement; started if there is none.
    fn rescuer(
        &mut self,
        around: &mut Surroundings<'_>,
        retirement: RetirementId,
    ) -> io::Result<&mut Rescuer> {
        if !self.rescuers.contains_key(&retirement) {
            let served = around.listeners.endpoints();
            let endpoints: Vec<Endpoint> = served.map(|(endpoint, _)| endpoint).collect();
            let rescuer = Rescuer::start(around.config, &endpoints, around.sources, retirement)?;
            debug!(
                "rescuer (pid {}) started for retirement {}",
                rescuer.pid, retirement.0
            );
            self.stats.begin(retirement, rescuer.pid);
            self.rescuers.insert(retirement, rescuer);
        }
        let found = self.rescuers.get_mut(&retirement);
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
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
            if measure::backlog_of(around.listeners, *listener) == 0 {
                continue;
            }
            match self.drain_one(around, retirement, worker, *listener) {
                Ok(address) => info!("{address}: a rescuer accepts what waits for worker {worker}"),
                Err(error) => warn!("what waits for worker {worker} cannot be rescued: {error}"),
            }
        }
        if around.workers.has_ended(worker) {
            self.worker_ended(worker);
        }
        self.flush(around, retirement);
    }

    fn drain_one(
        &mut self,
        around: &mut Surroundings<'_>,
        retirement: RetirementId,
        worker: WorkerId,
        listener: ListenerId,
    ) -> io::Result<SocketAddr> {
        let found = around.listeners.socket(listener);
        let found = found.zip(around.listeners.endpoint(listener));
        let (socket, endpoint) = found.ok_or(io::ErrorKind::NotFound)?;
        let (socket, address) = (socket.try_clone_to_owned()?, endpoint.address);
        let rescuer = self.rescuer(around, retirement)?;
        rescuer.include(worker);
        let worker = worker.0;
        rescuer.order(Order::Queue { worker, address }, vec![socket]);
        around.listeners.drained_by_rescuer(listener);
        Ok(address)
    }

    /// Gets a worker ready for its stop signal, if a rescuer has connections of the worker.
    pub(super) fn prepare_stop(&mut self, around: &mut Surroundings<'_>, worker: WorkerId) {
        let found = self.retirement_of(worker).zip(around.workers.pid(worker));
        let Some((retirement, pid)) = found else {
            return self.events.push(Event::StopPrepared { worker });
        };
        let open = measure::established(around.listeners);
        if let Some(rescuer) = self.rescuers.get_mut(&retirement) {
            rescuer.take(worker, pid, connections_of(pid, &open));
            rescuer.order(Order::Told { worker: worker.0 }, Vec::new());
        }
        self.handshakes.begin(worker);
        self.flush(around, retirement);
    }

    /// The stop signal of a worker has gone out: what stood still goes on. A rescuer that has not answered
    /// by then hangs.
    pub(super) fn stop_sent(&mut self, around: &mut Surroundings<'_>, worker: WorkerId) {
        if self.handshakes.end(worker) != Some(false) {
            return;
        }
        let Some(retirement) = self.retirement_of(worker) else {
            return;
        };
        let Some(pid) = self.rescuers.get(&retirement).map(|rescuer| rescuer.pid) else {
            return;
        };
        warn!("rescuer (pid {pid}) does not answer; killing it");
        if let Err(error) = process::kill_group(pid) {
            warn!("rescuer (pid {pid}): cannot kill it: {error}");
        }
        self.lose_rescuer(around, retirement);
    }

    /// The retirement whose rescuer has connections of this worker.
    fn retirement_of(&self, worker: WorkerId) -> Option<RetirementId> {
        let mut rescuers = self.rescuers.iter();
        rescuers
            .find(|(_, rescuer)| rescuer.workers.contains(&worker))
            .map(|(id, _)| *id)
    }

    /// To be called when a worker has ended.
    pub(super) fn worker_ended(&mut self, worker: WorkerId) {
        self.handshakes.end(worker);
        let found = self.retirement_of(worker);
        let Some(rescuer) = found.and_then(|retirement| self.rescuers.get_mut(&retirement)) else {
            return;
        };
        rescuer.order(Order::Gone { worker: worker.0 }, Vec::new());
        rescuer.workers.remove(&worker);
        // What cannot be sent now is sent when the channel is writable; what is wrong with it is found
        // out then, too.
        let _ = rescuer.flush();
    }

    /// Forgets a worker of which the log has told everything.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.measures.forget(worker);
    }

    /// A rescuer has said something, or takes something again.
    pub(super) fn rescuer_ready(
        &mut self,
        around: &mut Surroundings<'_>,
        retirement: RetirementId,
    ) {
        self.flush(around, retirement);
        while let Some(rescuer) = self.rescuers.get(&retirement) {
            match rescuer.receive() {
                Ok(Some(news)) => self.received(retirement, news),
                Ok(None) => break,
                Err(_) => return self.lose_rescuer(around, retirement),
            }
        }
        self.flush(around, retirement);
    }

    /// Goes on with what a rescuer did not take, and with what threads of ours have done.
    pub(super) fn proceed(&mut self, around: &mut Surroundings<'_>) {
        for (worker, next) in self.handshakes.stopped() {
            self.go_on(worker, next);
        }
        for (retirement, worker) in self.interruptions.ended() {
            let worker = worker.0;
            self.order(retirement, Order::Interrupted { worker });
        }
        for retirement in self.rescuers.keys().copied().collect::<Vec<_>>() {
            self.flush(around, retirement);
        }
    }

    fn received(&mut self, retirement: RetirementId, news: News) {
        match news {
            News::Holding { worker, held } => {
                debug!("worker {worker}: {held} of its connections are held");
            }
            News::Quiet { worker } => self.events.push(Event::ConnectionsIdle {
                worker: WorkerId(worker),
            }),
            News::Stuck { worker, threads } => {
                let wake = self.wake();
                let id = WorkerId(worker);
                if !self.interruptions.begin(retirement, id, threads, wake) {
                    self.order(retirement, Order::Interrupted { worker });
                }
            }
            News::Heard { worker, readers } => {
                let wake = self.wake();
                let next = self.handshakes.readers(WorkerId(worker), readers, wake);
                self.go_on(WorkerId(worker), next);
            }
            News::Checked { worker, is_still } => {
                let next = self.handshakes.checked(WorkerId(worker), is_still);
                self.go_on(WorkerId(worker), next);
            }
            News::Progress { worker, tally } => self.stats.note(retirement, worker, tally, false),
            News::Report { worker, tally } => {
                info!("worker {worker}: {}", sentence(&tally));
                self.stats.note(retirement, worker, tally, true);
                if let Some(rescuer) = self.rescuers.get_mut(&retirement) {
                    rescuer.unreported.remove(&WorkerId(worker));
                }
            }
        }
    }

    /// Does what a stop handshake asks for.
    fn go_on(&mut self, worker: WorkerId, next: Next) {
        let order = match next {
            Next::Wait => return,
            Next::Prepared => return self.events.push(Event::StopPrepared { worker }),
            Next::AskReaders => Order::Told { worker: worker.0 },
            Next::AskCheck => Order::Stopped { worker: worker.0 },
        };
        if let Some(retirement) = self.retirement_of(worker) {
            self.order(retirement, order);
        }
    }

    fn order(&mut self, retirement: RetirementId, order: Order) {
        if let Some(rescuer) = self.rescuers.get_mut(&retirement) {
            rescuer.order(order, Vec::new());
        }
    }

    fn wake(&self) -> impl FnOnce() + Send + 'static {
        let waker = Arc::clone(&self.waker);
        move || {
            if let Err(error) = waker.wake() {
                log::error!("cannot wake the event loop: {error}");
            }
        }
    }

    fn flush(&mut self, around: &mut Surroundings<'_>, retirement: RetirementId) {
        while let Some(rescuer) = self.rescuers.get_mut(&retirement) {
            match rescuer.flush() {
                Ok(()) => return,
                Err(outbox::Error::Unfetchable { worker, source }) => {
                    self.cannot_rescue(around, worker, &source);
                }
                Err(outbox::Error::Gone(error)) => {
                    debug!("rescuer (pid {}) takes nothing: {error}", rescuer.pid);
                    self.lose_rescuer(around, retirement);
                }
            }
        }
    }

    /// A rescuer has done its work, or it died.
    fn lose_rescuer(&mut self, around: &mut Surroundings<'_>, retirement: RetirementId) {
        let Some(rescuer) = self.rescuers.remove(&retirement) else {
            return;
        };
        rescuer.close(around.sources);
        self.stats.end(retirement);
        if !rescuer.unreported.is_empty() {
            warn!(
                "rescuer (pid {}) died before its time; what it held is closed or its worker's again, and requests \
                 that come there may be lost",
                rescuer.pid
            );
        }
        for worker in rescuer.workers.iter().copied() {
            if let Some(pid) = around.workers.pid(worker) {
                thaw(&rescuer, worker, pid);
            }
            self.events.push(Event::RescueLost { worker });
            if self.handshakes.end(worker).is_some() {
                self.events.push(Event::StopPrepared { worker });
            }
        }
        self.report_end();
    }

    /// Tells all rescuers to end: nobody is left to pass a request on to.
    pub(super) fn end_rescuers(&mut self, around: &mut Surroundings<'_>) {
        self.life = Life::Ending;
        let within_ms = u64::try_from(END_TIMEOUT.as_millis()).unwrap_or(0);
        for rescuer in self.rescuers.values_mut() {
            rescuer.order(Order::End { within_ms }, Vec::new());
        }
        self.proceed(around);
        self.report_end();
    }

    fn report_end(&mut self) {
        if self.life == Life::Ending && self.rescuers.is_empty() {
            self.events.push(Event::RescuersEnded);
        }
    }

    /// Kills the rescuers that have not ended when they were told to.
    pub(super) fn kill_rescuers(&mut self, around: &mut Surroundings<'_>) {
        for (_, rescuer) in std::mem::take(&mut self.rescuers) {
            rescuer.close(around.sources);
            if let Err(error) = process::kill_group(rescuer.pid) {
                warn!("rescuer (pid {}): cannot kill it: {error}", rescuer.pid);
            }
        }
    }
}

/// Gives a worker back what its dead rescuer had frozen.
fn thaw(rescuer: &Rescuer, worker: WorkerId, pid: i32) {
    let thawed = rescuer
        .thaw_for(pid)
        .and_then(|()| process::interrupt_group(pid));
    if let Err(error) = thawed {
        warn!("worker {worker}: cannot give its connections back to it: {error}");
    }
}

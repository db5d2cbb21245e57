//! The parts of the rescuer put together: what events and orders mean for each.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::adopted_connections::AdoptedConnections;
use super::adoption::Adoption;
use super::backlog::Backlogs;
use super::event_source::EventSource;
use super::lifetime::{Lifetime, Load};
use super::peer_names::PeerNames;
use super::retiring_worker::Finding;
use super::retiring_workers::RetiringWorkers;
use super::supervisor_channel::{Received, SupervisorChannel};
use super::tallies::{Outcome, Tallies};
use crate::wire::rescue::{Configuration, Order, Report};

#[derive(Debug)]
pub(super) struct Rescuer {
    drain_timeout: Duration,
    max_connections: usize,
    poll: Poll,
    supervisor: SupervisorChannel,
    pub(super) workers: RetiringWorkers,
    pub(super) adopted: AdoptedConnections,
    pub(super) backlogs: Backlogs,
    pub(super) tallies: Tallies,
    lifetime: Lifetime,
}

impl Rescuer {
    pub(super) fn new(
        channel: OwnedFd,
        configuration: &Configuration,
        names: Option<PeerNames>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        Ok(Self {
            drain_timeout: Duration::from_millis(configuration.drain_timeout_ms),
            max_connections: configuration.max_connections,
            supervisor: SupervisorChannel::open(channel, registry)?,
            workers: RetiringWorkers::default(),
            adopted: AdoptedConnections::new(configuration, names, registry.try_clone()?),
            backlogs: Backlogs::new(registry.try_clone()?),
            tallies: Tallies::new(Instant::now()),
            lifetime: Lifetime::New,
            poll,
        })
    }

    pub(super) fn run_to_end(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.is_over(Instant::now()) {
            match self.poll.poll(&mut events, self.time_to_wait()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            let now = Instant::now();
            for event in &events {
                match EventSource::of(event.token()) {
                    EventSource::Supervisor => self.receive_orders(now),
                    EventSource::Client(id) | EventSource::Server(id) => {
                        self.adopted.ready(id, now, &mut self.tallies);
                    }
                    EventSource::Backlog(id) => self.drain(id, now),
                }
            }
            self.adopted.proceed(now, &mut self.tallies);
            self.check_backlogs(now);
            self.look_at_workers(now);
            self.report_news(now);
            if self.lifetime.asks(now) {
                self.supervisor.report(&Report::Empty);
            }
            self.supervisor.flush();
        }
        self.abandon();
        Ok(())
    }

    fn is_over(&mut self, now: Instant) -> bool {
        let has_connections = !self.adopted.is_empty() || !self.backlogs.is_empty();
        let load = Load::of(has_connections, !self.workers.is_empty());
        self.lifetime.is_over(now, load)
    }

    /// How long to wait for readiness.
    fn time_to_wait(&self) -> Option<Duration> {
        let now = Instant::now();
        let wake_ups = [
            self.adopted.next_wake_up(now),
            self.backlogs.next_check(),
            self.workers.next_look(),
            self.tallies.next_report(),
            self.lifetime.next_check(),
        ];
        let next = wake_ups.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Carries out all orders that are there.
    fn receive_orders(&mut self, now: Instant) {
        while let Some(received) = self.supervisor.receive() {
            match received {
                Received::Order(order, descriptors) => self.carry_out(order, descriptors, now),
                Received::Closed => self.end(now, self.drain_timeout),
            }
        }
    }

    fn carry_out(&mut self, order: Order, descriptors: Vec<OwnedFd>, now: Instant) {
        match order {
            Order::Hold {
                worker,
                pid,
                connections,
            } => self.hold(worker, pid, connections, descriptors, now),
            Order::AllSent { worker } => {
                let held = self.workers.worker(worker).all_sent();
                self.supervisor.report(&Report::Holding { worker, held });
                self.report_if_idle(worker, now);
            }
            Order::ReadersInterrupted { worker } => {
                self.workers.worker(worker).readers_interrupted(now)
            }
            Order::PrepareStop { worker } => self.prepare_stop(worker, now),
            Order::ReadersStopped { worker } => {
                let may_stop = self.workers.worker(worker).may_stop(now);
                let checked = Report::StopChecked { worker, may_stop };
                self.supervisor.report(&checked);
            }
            Order::WorkerExited { worker } => self.account_for(worker, now),
            Order::DrainBacklog { worker, .. } => self.open_backlogs(worker, descriptors, now),
            Order::End { within_ms } => self.end(now, Duration::from_millis(within_ms)),
        }
        self.workers.look_soon(now);
    }

    fn prepare_stop(&mut self, worker: u64, now: Instant) {
        let (given_back, threads) = self.workers.worker(worker).prepare_stop(now);
        for _ in 0..given_back.left + given_back.finished {
            self.tallies.count(worker, Outcome::Finished);
        }
        let count = given_back.left as u64;
        self.supervisor.report(&Report::Left { worker, count });
        self.supervisor.report(&Report::Readers { worker, threads });
    }

    pub(super) fn is_full(&self) -> bool {
        self.workers.held() + self.adopted.len() >= self.max_connections
    }

    fn look_at_workers(&mut self, now: Instant) {
        let due = self.workers.due(now);
        if due.is_empty() {
            return;
        }
        for worker in due {
            self.look_at(worker, now);
            // After the adoptions: a request that waited in a connection of the worker's is in danger
            // until it is answered.
            self.report_if_idle(worker, now);
        }
        self.workers.looked(now, Instant::now());
    }

    fn look_at(&mut self, worker: u64, now: Instant) {
        let retiring = self.workers.worker(worker);
        for finding in retiring.look(now, self.adopted.protocols()) {
            self.deal_with(worker, finding, now);
        }
    }

    /// The worker has exited, and a client waits to hear what that has cost.
    fn account_for(&mut self, worker: u64, now: Instant) {
        self.workers.worker(worker).exited();
        self.look_at(worker, now);
        let tally = self.tallies.of(worker);
        self.supervisor.report(&Report::Accounted { worker, tally });
    }

    fn deal_with(&mut self, worker: u64, finding: Finding, now: Instant) {
        match finding {
            Finding::BlockedReaders(threads) => self
                .supervisor
                .report(&Report::BlockedReaders { worker, threads }),
            Finding::Learnt(endpoint) => self.adopted.learnt(endpoint, now, &mut self.tallies),
            Finding::LostRequest(socket, request) => {
                self.adopt(worker, socket, Adoption::WithRequest(request), now);
            }
            Finding::WaitingRequest(socket, request) => {
                self.adopt(worker, socket, Adoption::Shared(request), now);
            }
            Finding::Closed(socket, action) => {
                if let Some(outcome) = action.outcome() {
                    self.tallies.count(worker, outcome);
                }
                if let Some(adoption) = action.adoption() {
                    self.adopt(worker, socket, adoption, now);
                }
            }
        }
    }

    pub(super) fn give_up(&mut self, worker: u64, reason: &'static str) {
        self.tallies.count(worker, Outcome::GivenUp(reason));
    }

    fn adopt(&mut self, worker: u64, socket: OwnedFd, adoption: Adoption, now: Instant) {
        let tallies = &mut self.tallies;
        self.adopted.adopt(worker, socket, adoption, now, tallies);
    }

    fn report_if_idle(&mut self, worker: u64, now: Instant) {
        let retiring = self.workers.worker(worker);
        if retiring.has_become_idle(now, self.adopted.protocols())
            && !self.adopted.is_endangered_by(worker)
        {
            retiring.idle_reported();
            self.supervisor.report(&Report::Idle { worker });
        }
    }

    /// Reports what was learnt, and on workers of which nothing is left, and now and then on the others.
    fn report_news(&mut self, now: Instant) {
        for learnt in self.adopted.take_learnt() {
            self.supervisor.report(&Report::Protocol(learnt));
        }
        for worker in self.workers.take_over(&self.tallies) {
            self.report_finished(worker);
        }
        for (worker, tally) in self.tallies.take_progress(now) {
            self.supervisor.report(&Report::Progress { worker, tally });
        }
    }

    /// Begins to end: what workers have is theirs, what is idle is closed.
    fn end(&mut self, now: Instant, within: Duration) {
        self.lifetime.end_by(now + within);
        self.workers.release(now, &mut self.tallies);
        self.backlogs.close_all(&mut self.tallies);
        self.adopted.close_idle(now, &mut self.tallies);
    }

    fn abandon(&mut self) {
        self.backlogs.close_all(&mut self.tallies);
        self.adopted.abandon(&mut self.tallies);
        for worker in self.workers.take_all() {
            self.report_finished(worker);
        }
        self.supervisor.flush();
    }

    fn report_finished(&mut self, worker: u64) {
        let tally = self.tallies.remove(worker);
        self.supervisor.report(&Report::Finished { worker, tally });
    }
}

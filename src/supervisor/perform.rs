//! One arm an effect. What an effect brings about at once is returned as events.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;

use log::{error, warn};

use super::Supervisor;
use super::channels;
use super::listeners::port_conflict;
use super::retirement::measure;
use super::steering;
use super::workers::SpawnSpec;
use crate::fleet::{
    Effect, Endpoint, Event, ExitReason, ListenerId, ListenerSetId, RetirementId, Spawn, StopBy,
    Usage, WorkerId,
};
use crate::sys::listener;

impl Supervisor {
    pub(super) fn perform(&mut self, effect: Effect) -> Vec<Event> {
        match effect {
            Effect::ReadDeployment { deployment } => self.deployments.read(deployment),
            Effect::Apply { deployment } => self.config = self.deployments.apply(deployment),
            Effect::Spawn(spawn) => return self.spawn(&spawn),
            Effect::Steer { live } => self.steering.select(&mut self.listeners, &live),
            Effect::KeepOut => self.steering.keep_out(&mut self.listeners),
            Effect::Refuse => steering::refuse(&self.listeners),
            Effect::Fence => self.awaited_fence = Some(self.fences.request()),
            Effect::MeasureBacklogs { workers } => return vec![self.measure_backlogs(&workers)],
            Effect::MeasureConnections { workers } => {
                return vec![self.measure_connections(&workers)];
            }
            Effect::MeasureUsage { workers } => return vec![self.measure_usage(&workers)],
            Effect::AdoptConnections {
                retirement,
                workers,
            } => self.adopt_connections(retirement, &workers),
            Effect::EndConnections {
                retirement,
                workers,
            } => self.end_connections(retirement, &workers),
            Effect::DrainBacklog {
                retirement,
                worker,
                listeners,
            } => self.drain_backlog(retirement, worker, &listeners),
            Effect::Probe(probe) => return self.probe(&probe).into_iter().collect(),
            Effect::CheckHealth(probe) => return self.check_health(&probe).into_iter().collect(),
            Effect::ExplainLateCheck { worker } => return vec![self.explain_late_check(worker)],
            Effect::EndCheck { worker } => self.checks.end(&mut self.sources, worker),
            Effect::LookAtReady { workers } => return vec![self.look_at_ready(&workers)],
            Effect::GiveBack { retirement } => self.give_back(retirement),
            Effect::PrepareStop { worker } => self.prepare_stop(worker),
            Effect::SendStop {
                worker,
                listeners,
                by,
            } => self.send_stop(worker, &listeners, by),
            Effect::SendSignal { worker } => self.send_signal(worker),
            Effect::Kill { worker } => self.kill(worker),
            Effect::Close { listener } => self.close(listener),
            Effect::Log(event) => self.log(&event),
            Effect::Report(progress) => self.report(&progress),
            Effect::ReportWait {
                reply_to,
                asked,
                kind,
                milestone,
            } => self.report_wait(reply_to, asked, kind, milestone),
            Effect::ReportStop(progress) => self.report_stop(&progress),
            // A client that is told that the old workers are gone must find no listener of theirs.
            Effect::Reply { reply_to, result } => self.deferred_replies.push((reply_to, result)),
            Effect::EndRescuers => self.end_rescuers(),
            Effect::Finish { exit_reason } => self.finish(exit_reason),
        }
        self.retirements.take_events()
    }

    fn adopt_connections(&mut self, retirement: RetirementId, workers: &[WorkerId]) {
        let (retirements, mut around) = self.with_retirements();
        retirements.adopt_connections(&mut around, retirement, workers);
    }

    fn end_connections(&mut self, retirement: RetirementId, workers: &[WorkerId]) {
        let (retirements, mut around) = self.with_retirements();
        retirements.end_connections(&mut around, retirement, workers);
    }

    fn drain_backlog(
        &mut self,
        retirement: RetirementId,
        worker: WorkerId,
        listeners: &[ListenerId],
    ) {
        let (retirements, mut around) = self.with_retirements();
        retirements.drain_backlog(&mut around, retirement, worker, listeners);
    }

    fn prepare_stop(&mut self, worker: WorkerId) {
        let (retirements, around) = self.with_retirements();
        retirements.prepare_stop(&around, worker);
    }

    fn end_rescuers(&mut self) {
        let (retirements, mut around) = self.with_retirements();
        retirements.end_rescuers(&mut around);
    }

    fn give_back(&mut self, retirement: RetirementId) {
        let (retirements, mut around) = self.with_retirements();
        retirements.give_back(&mut around, retirement);
    }

    fn measure_backlogs(&self, workers: &[(WorkerId, Vec<ListenerId>)]) -> Event {
        Event::BacklogsMeasured {
            pending: measure::backlogs(&self.workers, &self.listeners, workers),
        }
    }

    fn measure_connections(&mut self, workers: &[WorkerId]) -> Event {
        let (all, listeners) = (&self.workers, &self.listeners);
        Event::ConnectionsMeasured {
            quiet: self.measures.connections(all, listeners, workers),
        }
    }

    fn measure_usage(&self, workers: &[(WorkerId, Vec<ListenerId>)]) -> Event {
        let ids: Vec<WorkerId> = workers.iter().map(|(id, _)| *id).collect();
        let mut processes = match self.config.limits.needs_processes() {
            true => self.workers.usage(&ids),
            false => BTreeMap::new(),
        };
        let count = |listeners: &[ListenerId]| {
            let counts = listeners
                .iter()
                .map(|id| self.steering.count(&self.listeners, *id));
            counts.reduce(|all, one| Some(all?.wrapping_add(one?)))?
        };
        let usage = workers.iter().map(|(id, listeners)| {
            let seen = processes.remove(id);
            let usage = Usage {
                rss: seen.map(|it| it.rss),
                cpu: seen.map(|it| it.cpu),
                connections: count(listeners),
            };
            (*id, usage)
        });
        Event::UsageMeasured {
            usage: usage.collect(),
        }
    }

    fn spawn(&mut self, spawn: &Spawn) -> Vec<Event> {
        let mut events = Vec::new();
        let worker = spawn.worker;
        let started = self
            .passed_listeners(spawn, &mut events)
            .and_then(|passed| {
                self.start(spawn, &passed)
                    .map_err(|error| cannot_start(&error))
            });
        match started {
            Ok(pid) => self.intercepts.begin(spawn, pid),
            Err(reason) => events.push(Event::SpawnFailed { worker, reason }),
        }
        events
    }

    fn start(&mut self, spawn: &Spawn, passed: &[ListenerId]) -> io::Result<i32> {
        let numbered = passed.iter().filter_map(|id| {
            let endpoint = self.listeners.endpoint(*id)?;
            Some((endpoint, self.listeners.socket(*id)?.as_raw_fd()))
        });
        let config = self.deployments.config(spawn.deployment);
        let channel = self
            .channels
            .open(&mut self.sources, spawn.worker, config.channel)?;
        let spec = SpawnSpec {
            worker: spawn.worker,
            slot: spawn.slot,
            generation: spawn.generation,
            workers: spawn.workers,
            passed: numbered.collect(),
            notify: self.notify.path(),
            channel: channels::end_of(&channel),
        };
        let started = self
            .workers
            .start(config, &mut self.sources, &mut self.output, &spec);
        if started.is_err() {
            self.channels.end(&mut self.sources, spawn.worker);
        }
        started
    }

    /// The listeners of `--listen` for a new worker, one an endpoint: its predecessor's, else one of its
    /// set, else a new one.
    fn passed_listeners(
        &mut self,
        spawn: &Spawn,
        events: &mut Vec<Event>,
    ) -> Result<Vec<ListenerId>, String> {
        let mut passed = Vec::new();
        for endpoint in self.config.listen.clone() {
            let is_here = |id: &&ListenerId| self.listeners.endpoint(**id) == Some(endpoint);
            let adopted = spawn.adopt.iter().find(is_here).copied();
            let present = adopted.or_else(|| self.listeners.of_set(spawn.set, &endpoint).next());
            let listener = match present {
                Some(listener) => listener,
                None => self.open_listener(&endpoint, spawn.set)?,
            };
            events.push(Event::Prepared {
                worker: spawn.worker,
                listener,
                endpoint,
            });
            passed.push(listener);
        }
        Ok(passed)
    }

    fn open_listener(
        &mut self,
        endpoint: &Endpoint,
        set: ListenerSetId,
    ) -> Result<ListenerId, String> {
        let opened = port_conflict::refuse(&self.listeners, endpoint)
            .and_then(|()| listener::open(endpoint))
            .and_then(|socket| self.listeners.add(socket, *endpoint, set));
        let id = opened.map_err(|error| port_conflict::cannot_listen(&endpoint.address, &error))?;
        self.steering.joined(&mut self.listeners, id);
        Ok(id)
    }

    fn kill(&mut self, worker: WorkerId) {
        if let Err(error) = self.workers.kill(worker) {
            let worker = self.workers.describe(worker);
            error!("{worker}: cannot kill its process group: {error}");
        }
    }

    fn finish(&mut self, exit_reason: ExitReason) {
        let (retirements, mut around) = self.with_retirements();
        retirements.kill_rescuers(&mut around);
        self.exit_reason = Some(exit_reason);
    }

    fn send_stop(&mut self, worker: WorkerId, listeners: &[ListenerId], by: StopBy) {
        // Before the signal: what leaves a group by itself must not move anybody.
        self.steering
            .expect_departures(&mut self.listeners, listeners);
        match by {
            StopBy::Signal => self.send_signal(worker),
            StopBy::Message => self.send_stop_message(worker),
        }
        // After the signal: a reader that goes on before could take a request along.
        self.retirements.stop_sent(worker);
    }

    pub(super) fn send_signal(&mut self, worker: WorkerId) {
        if let Err(error) = self.workers.tell(worker) {
            let worker = self.workers.describe(worker);
            error!("{worker}: cannot tell it to stop: {error}");
        }
    }

    fn close(&mut self, listener: ListenerId) {
        let queue = self
            .listeners
            .socket(listener)
            .and_then(|socket| listener::accept_queue_len(&socket).ok());
        let (pending, _) = queue.unwrap_or_default();
        if pending > 0 && self.config.steering.is_steered() && !self.config.rescue {
            let endpoint = self.listeners.endpoint(listener);
            let endpoint = endpoint.map_or_else(String::new, |endpoint| endpoint.to_string());
            warn!(
                "{endpoint}: {pending} connections that nobody accepted are reset with their listener"
            );
        }
        self.steering.remove(&mut self.listeners, listener);
    }
}

fn cannot_start(error: &io::Error) -> String {
    let advice = match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => {
            "; raise the limit on open files (ulimit -n) or run fewer workers"
        }
        Some(libc::EAGAIN) => {
            "; raise the limit on processes (ulimit -u, pids.max) or run fewer workers"
        }
        Some(libc::ENOMEM) => "; there is not enough memory for another process",
        Some(libc::E2BIG) => "; the arguments and the environment are too long",
        _ => "",
    };
    format!("cannot start a process: {error}{advice}")
}

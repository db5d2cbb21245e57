//! What effects do to processes and to the kernel.

use super::*;
use crate::fleet::StopBy;

impl World {
    pub(super) fn perform(&mut self, effect: &Effect) -> Vec<Event> {
        match effect {
            Effect::ReadDeployment { deployment } => self.read(*deployment),
            Effect::Apply { deployment } => self.in_effect = *deployment,
            Effect::Spawn(spawn) => return self.spawn(spawn),
            Effect::Steer { live } => self.steer(live.keys().copied().collect()),
            Effect::KeepOut => self.keep_out(),
            Effect::Refuse => {}
            Effect::Fence => self.fence(),
            Effect::MeasureBacklogs { workers } => return vec![self.measure_backlogs(workers)],
            Effect::MeasureConnections { workers } => {
                return vec![self.measure_connections(workers)];
            }
            Effect::MeasureUsage { workers } => return vec![self.measure_usage(workers)],
            Effect::LookAtReady { workers } => return vec![self.look_at_ready(workers)],
            Effect::GiveBack { retirement } => self.give_back(*retirement),
            Effect::AdoptConnections {
                workers,
                retirement,
            }
            | Effect::EndConnections {
                workers,
                retirement,
            } => {
                let adopted = self.adopted.entry(*retirement).or_default();
                adopted.extend(workers);
                return self.adopt_connections(workers);
            }
            Effect::DrainBacklog {
                worker, listeners, ..
            } => {
                self.note_drained(*worker);
                for listener in listeners {
                    if let Some(socket) = self.kernel.open.get_mut(listener) {
                        socket.is_rescued = true;
                    }
                }
            }
            Effect::Probe(probe) => return self.probe(probe),
            Effect::CheckHealth(probe) => return self.check_health(probe),
            Effect::ExplainLateCheck { worker } => return self.explain_late(*worker),
            Effect::EndCheck { worker } => self.end_check(*worker),
            Effect::PrepareStop { worker } => self.prepare_stop(*worker),
            Effect::SendStop { worker, by, .. } => self.send_stop(*worker, *by),
            Effect::SendSignal { worker } => self.send_signal(*worker),
            Effect::Kill { worker } => self.kill(*worker),
            Effect::Close { listener } => {
                self.kernel.close(*listener);
            }
            Effect::Log(note) => self.log(note),
            Effect::Report(_)
            | Effect::ReportWait { .. }
            | Effect::ReportStop(_)
            | Effect::Reply { .. } => {}
            Effect::EndRescuers => match self.plan.rescuers_end_after {
                Some(0) => return vec![Event::RescuersEnded],
                Some(after) => {
                    let ended = Happening::RescuersEnd;
                    self.schedule(Duration::from_millis(after), ended);
                }
                None => {}
            },
            Effect::Finish { .. } => self.is_finished = true,
        }
        Vec::new()
    }

    /// The endpoints whose sockets are passed to workers at their start.
    pub(super) fn passed(&self) -> Vec<Endpoint> {
        let all = [80, 443].map(endpoint);
        let count = match (self.plan.passed, self.plan.two_endpoints) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        };
        all[..count].to_vec()
    }

    pub(super) fn spawn(&mut self, spawn: &Spawn) -> Vec<Event> {
        let script = self.plan.scripts[self.processes.len() % self.plan.scripts.len()].clone();
        let (id, set) = (spawn.worker, spawn.set);
        let mut process = Process::new(spawn.slot, set, spawn.generation, script.clone(), self.now);
        process.ready = self.policies[&spawn.deployment].ready;
        let ready = process.ready;
        process.given.extend(&spawn.adopt);
        process.is_successor = !spawn.adopt.is_empty();
        let mut events = Vec::new();
        for endpoint in self.passed() {
            let shared = self.kernel.of_set(set, endpoint);
            let listener = shared.unwrap_or_else(|| self.kernel.open(endpoint, set));
            process.given.insert(listener);
            events.push(Event::Prepared {
                worker: id,
                listener,
                endpoint,
            });
        }
        self.processes.insert(id, process);
        match script.start {
            Start::SpawnFails => events.push(Event::SpawnFailed {
                worker: id,
                reason: "no process".to_owned(),
            }),
            _ => {
                self.schedule_life(id, &script, ready);
                self.schedule_health(id);
            }
        }
        events
    }

    pub(super) fn schedule_life(&mut self, id: WorkerId, script: &Script, ready: ReadyWhen) {
        let first = match script.start {
            Start::ExecFails => Happening::Exits(id, Exit::NotStarted("no such file".to_owned())),
            Start::ExitsEarly => Happening::Exits(id, Exit::Code(1)),
            _ => Happening::Binds(id),
        };
        let declares = script.ready_after.filter(|_| ready == ReadyWhen::Notified);
        let crash = Happening::Exits(id, Exit::Signal(6));
        let life = [
            (Some(script.binds_after), first),
            (declares, Happening::Declares(id)),
            (script.extra_after, Happening::ListensExtra(id)),
            (
                script.lets_go.map(|(after, _)| after),
                Happening::LetsGo(id),
            ),
            (script.crashes_after, crash),
        ];
        for (after, happening) in life {
            if let Some(after) = after {
                self.schedule(Duration::from_millis(after), happening);
            }
        }
    }

    pub(super) fn steer(&mut self, live: BTreeSet<ListenerId>) {
        for process in self.processes.values_mut() {
            process.was_live |= !process.listens_on.is_disjoint(&live);
        }
        self.kernel.steer(live);
        for id in self.kernel.unfenced.clone() {
            self.schedule(STRAGGLER_DELAY, Happening::Straggles(id));
        }
    }

    pub(super) fn keep_out(&mut self) {
        // Without steering they may be accepted still.
        if self.plan.policy.steering {
            self.kernel.keep_out();
            for id in self.kernel.unfenced.clone() {
                self.schedule(STRAGGLER_DELAY, Happening::Straggles(id));
            }
        }
    }

    pub(super) fn fence(&mut self) {
        self.fences += 1;
        let fenced = self.kernel.unfenced.clone();
        self.schedule(
            self.plan.fence_takes,
            Happening::Fences(self.fences, fenced),
        );
    }

    /// A fence passes. Of several that were asked for, the last stands for all.
    pub(super) fn fences(&mut self, nth: u64, fenced: BTreeSet<ListenerId>) -> Result<(), String> {
        if nth != self.fences {
            return Ok(());
        }
        if self.plan.fence_refused {
            return self.feed(Event::FenceRefused);
        }
        for id in fenced {
            if self.kernel.unfenced.remove(&id) {
                self.straggles(id);
            }
        }
        self.feed(Event::Fenced)
    }

    pub(super) fn measure_backlogs(&mut self, workers: &[(WorkerId, Vec<ListenerId>)]) -> Event {
        let mut pending = Vec::new();
        for (id, listeners) in workers {
            let sockets = listeners.iter().filter_map(|id| self.kernel.open.get(id));
            let count = sockets.map(|socket| socket.pending).sum();
            if let Some(process) = self.processes.get_mut(id) {
                process.measured.0 = count == 0;
            }
            pending.push((*id, count));
        }
        Event::BacklogsMeasured { pending }
    }

    pub(super) fn measure_connections(&mut self, workers: &[WorkerId]) -> Event {
        let mut quiet = Vec::new();
        for id in workers {
            if let Some(process) = self.processes.get_mut(id) {
                process.measured.1 = process.connections == 0;
                quiet.push((*id, process.measured.1));
            }
        }
        Event::ConnectionsMeasured { quiet }
    }

    /// What grows, grows with time; how busy one is, its number tells.
    pub(super) fn measure_usage(&self, workers: &[(WorkerId, Vec<ListenerId>)]) -> Event {
        let usage = |(id, listeners): &(WorkerId, Vec<ListenerId>)| {
            let Some(process) = self.alive(*id) else {
                return (*id, Usage::default());
            };
            let age = self.now.since(process.started);
            let (at_first, more) = process.script.memory;
            let steps = u64::try_from(age.as_millis() / 10).unwrap_or(u64::MAX);
            let counts = listeners.iter().filter_map(|id| self.kernel.open.get(id));
            let usage = Usage {
                rss: Some(at_first + more * steps),
                cpu: Some(age * u32::try_from(id.0 % 2).unwrap_or(0)),
                connections: Some(counts.map(|socket| socket.given).sum()),
            };
            (*id, usage)
        };
        Event::UsageMeasured {
            usage: workers.iter().map(usage).collect(),
        }
    }

    pub(super) fn look_at_ready(&self, workers: &[(WorkerId, Vec<ListenerId>)]) -> Event {
        let look = |(id, listeners): &(WorkerId, Vec<ListenerId>)| {
            let Some(process) = self.alive(*id) else {
                return (*id, Seen::Ended);
            };
            let gone = listeners
                .iter()
                .filter(|it| !process.listens_on.contains(it));
            // What is passed is used by whom nobody has heard of.
            let gone: Vec<ListenerId> = gone
                .filter(|it| !process.given.contains(it))
                .copied()
                .collect();
            match gone.is_empty() {
                true => (*id, Seen::Serves),
                false => (*id, Seen::LetGo(gone)),
            }
        };
        let seen = workers.iter().map(look).collect();
        Event::ReadySeen { seen }
    }

    pub(super) fn give_back(&mut self, retirement: RetirementId) {
        for id in self.adopted.remove(&retirement).unwrap_or_default() {
            if let Some(process) = self.processes.get_mut(&id) {
                process.is_busy = None;
                process.is_rescue_lost = false;
                process.quiet_timed_out = false;
                process.measured = (false, false);
            }
        }
    }

    /// Connections without a request in flight are idle at once.
    pub(super) fn adopt_connections(&mut self, workers: &[WorkerId]) -> Vec<Event> {
        let mut events = Vec::new();
        for id in workers {
            let Some(process) = self.processes.get_mut(id) else {
                continue;
            };
            let quiets_after = process.script.quiets_after;
            let rescuer_dies_after = process.script.rescuer_dies_after;
            process.is_busy = Some(quiets_after != Some(0));
            match quiets_after {
                Some(0) => events.push(Event::ConnectionsIdle { worker: *id }),
                Some(after) => {
                    self.schedule(Duration::from_millis(after), Happening::Quiets(*id));
                }
                // A rescuer that fails says so; one that waits for ever does not. It fails after these
                // effects: with no quiet time-out the fleet orders the preparation with them.
                None if id.0 % 2 == 0 => {
                    self.schedule(Duration::ZERO, Happening::RescuerDies(*id));
                }
                None => {}
            }
            if let Some(after) = rescuer_dies_after {
                self.schedule(Duration::from_millis(after), Happening::RescuerDies(*id));
            }
        }
        events
    }

    /// The rescuer answers at once, after a while, or never.
    pub(super) fn prepare_stop(&mut self, id: WorkerId) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.is_prepared = true;
            if let Some(after) = process.script.prepared_after {
                self.schedule(Duration::from_millis(after), Happening::IsPrepared(id));
            }
        }
    }

    pub(super) fn probe(&mut self, probe: &Probe) -> Vec<Event> {
        let Probe {
            worker: id,
            listener,
            kind,
            ..
        } = *probe;
        let Some(process) = self.alive(id) else {
            return Vec::new();
        };
        let age = self.now.since(process.started);
        if kind == ProbeKind::Http {
            let ready_after = process.script.ready_after.map(Duration::from_millis);
            if ready_after.is_some_and(|after| after <= age) && !process.listens_on.is_empty() {
                self.schedule(Duration::from_millis(1), Happening::AnswersProbe(id));
            }
            return Vec::new();
        }
        if !process.listens_on.contains(&listener) || process.script.accepts_after.is_none() {
            return vec![Event::ProbeFailed { worker: id }];
        }
        vec![Event::Listened {
            worker: id,
            listener,
            endpoint: self.kernel.open[&listener].endpoint,
        }]
    }

    pub(super) fn send_stop(&mut self, id: WorkerId, by: StopBy) {
        let Some(process) = self.processes.get_mut(&id).filter(|it| it.is_alive()) else {
            return;
        };
        process.stop_sent_at = Some(self.now);
        process.signal_due = None;
        if by == StopBy::Message {
            let after = self.policies[&self.made_by[&process.generation]].stop_message;
            process.signal_due = after.map(|after| self.now.plus(after));
        }
        if by == StopBy::Signal || process.script.heeds_message {
            self.begin_to_stop(id);
        }
    }

    /// Who has heeded the message goes on with that.
    fn send_signal(&mut self, id: WorkerId) {
        let process = self.processes.get_mut(&id);
        if let Some(process) = process.filter(|it| it.is_alive()) {
            process.signal_due = None;
            if !process.script.heeds_message {
                self.begin_to_stop(id);
            }
        }
    }

    fn begin_to_stop(&mut self, id: WorkerId) {
        let script = self.processes.get(&id).map(|it| &it.script);
        if let Some(after) = script.and_then(|it| it.stops_after) {
            let exits = Happening::Exits(id, Exit::Code(0));
            self.schedule(Duration::from_millis(after), exits);
        }
    }

    pub(super) fn kill(&mut self, id: WorkerId) {
        let Some(process) = self.processes.get_mut(&id).filter(|it| it.is_alive()) else {
            return;
        };
        process.is_killed = true;
        let exits = Happening::Exits(id, Exit::Signal(9));
        let after = Duration::from_millis(process.script.dies_after);
        self.schedule(after, exits);
    }

    pub(super) fn log(&mut self, event: &WorkerEvent) {
        if let WorkerEvent::ListensOnLess { worker, endpoints } = event {
            // It does without them, and who has none may lose them.
            let open = &self.kernel.open;
            let is_missing = |id: &ListenerId| {
                open.get(id)
                    .is_some_and(|socket| endpoints.contains(&socket.endpoint))
            };
            if let Some(process) = self.processes.get_mut(worker) {
                process.given.retain(|id| !is_missing(id));
            }
        }
        let (id, what): (_, fn(&mut Process)) = match event {
            WorkerEvent::Ready { worker } => {
                let now = self.now;
                if let Some(process) = self.processes.get_mut(worker) {
                    process.ready_at = Some(now);
                }
                (worker, |it| it.is_ready = true)
            }
            WorkerEvent::Unready { worker, .. } => (worker, |it| it.ready_at = None),
            WorkerEvent::Serving { worker, .. } => return self.note_serves(*worker),
            WorkerEvent::SettleTimedOut { worker, .. } => {
                self.note_left(*worker);
                (worker, |it| it.settle_timed_out = true)
            }
            WorkerEvent::QuietTimedOut { worker } => (worker, |it| it.quiet_timed_out = true),
            WorkerEvent::DrainTimedOut { worker } => (worker, |it| it.drain_timed_out = true),
            WorkerEvent::StartTimedOut { worker } => (worker, |it| it.start_timed_out = true),
            WorkerEvent::StopNotPrepared { worker } => (worker, |it| it.stop_not_prepared = true),
            WorkerEvent::LetGo { .. }
            | WorkerEvent::ListensOnLess { .. }
            | WorkerEvent::Health { .. }
            | WorkerEvent::Crashed { .. }
            | WorkerEvent::GivenUp { .. }
            | WorkerEvent::ToBeRecycled { .. }
            | WorkerEvent::RecyclingFailed { .. }
            | WorkerEvent::Gone { .. } => return,
        };
        if let Some(process) = self.processes.get_mut(id) {
            what(process);
        }
    }
}

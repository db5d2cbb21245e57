//! What happens by itself: what workers do, and what becomes of connections.

use super::*;

impl World {
    pub(super) fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Binds(id) => self.binds(id),
            Happening::Listens(id) => self.listens(id),
            Happening::ListensExtra(id) => self.listens_on(id, extra()),
            Happening::LetsGo(id) => {
                self.lets_go(id);
                Ok(())
            }
            Happening::Declares(id) => self.declares(id, Event::Notified { worker: id }),
            Happening::AnswersProbe(id) => self.declares(id, Event::Probed { worker: id }),
            Happening::Exits(id, exit) => self.exits(id, exit),
            Happening::Fences(nth, fenced) => self.fences(nth, fenced),
            Happening::Arrives => {
                self.arrives();
                Ok(())
            }
            Happening::Straggles(id) => {
                if self.kernel.unfenced.remove(&id) {
                    self.straggles(id);
                }
                Ok(())
            }
            Happening::Accepts(id) => {
                self.accepts(id);
                Ok(())
            }
            Happening::Ends(id) => {
                if let Some(process) = self.processes.get_mut(&id) {
                    process.connections = process.connections.saturating_sub(1);
                }
                Ok(())
            }
            Happening::Quiets(id) => self.quiets(id),
            Happening::IsPrepared(id) => self.is_prepared(id),
            Happening::RescuerDies(id) => self.rescuer_dies(id),
            Happening::FallsSick(id) => {
                self.falls_sick(id);
                Ok(())
            }
            Happening::Recovers(id) => {
                self.recovers(id);
                Ok(())
            }
            Happening::SaysWell(id) => self.says_well(id),
            Happening::Passes(id) => self.passes(id),
            Happening::RescuersEnd => self.feed(Event::RescuersEnded),
            Happening::Comes(wish) => self.comes(wish),
            Happening::IsRead(deployment, policy) => {
                self.feed(Event::DeploymentRead { deployment, policy })
            }
            Happening::FinalCheck => {
                self.check_final()?;
                self.comes(Wish::Stop { signal: false })
            }
        }
    }

    pub(super) fn declares(&mut self, id: WorkerId, event: Event) -> Result<(), String> {
        let Some(process) = self.processes.get_mut(&id).filter(|it| it.is_alive()) else {
            return Ok(());
        };
        process.has_declared = true;
        self.feed(event)
    }

    pub(super) fn alive(&self, id: WorkerId) -> Option<&Process> {
        self.processes.get(&id).filter(|process| process.is_alive())
    }

    pub(super) fn quiets(&mut self, id: WorkerId) -> Result<(), String> {
        let Some(process) = self.processes.get_mut(&id).filter(|it| it.is_alive()) else {
            return Ok(());
        };
        // A rescuer that was told to give back says nothing any more.
        if process.is_busy.is_none() {
            return Ok(());
        }
        process.is_busy = Some(false);
        self.feed(Event::ConnectionsIdle { worker: id })
    }

    pub(super) fn is_prepared(&mut self, id: WorkerId) -> Result<(), String> {
        if self.alive(id).is_none() {
            return Ok(());
        }
        self.feed(Event::StopPrepared { worker: id })
    }

    pub(super) fn rescuer_dies(&mut self, id: WorkerId) -> Result<(), String> {
        let Some(process) = self.processes.get_mut(&id).filter(|it| it.is_alive()) else {
            return Ok(());
        };
        if process.is_busy.is_none() {
            return Ok(());
        }
        process.is_rescue_lost = true;
        self.feed(Event::RescueLost { worker: id })
    }

    /// It binds, and listens a while later.
    pub(super) fn binds(&mut self, id: WorkerId) -> Result<(), String> {
        let Some(process) = self.alive(id) else {
            return Ok(());
        };
        let pause = Duration::from_millis(process.script.listens_after);
        for endpoint in process.endpoints(self.plan.two_endpoints, self.plan.slot_ports) {
            self.binds_on(id, endpoint)?;
        }
        if pause.is_zero() {
            return self.listens(id);
        }
        self.schedule(pause, Happening::Listens(id));
        Ok(())
    }

    /// The worker gets the listener that its set has, unless it has that already.
    pub(super) fn binds_on(&mut self, id: WorkerId, endpoint: Endpoint) -> Result<(), String> {
        let Some(process) = self.processes.get_mut(&id).filter(|it| it.is_alive()) else {
            return Ok(());
        };
        let Some(listener) = self.kernel.of_set(process.set, endpoint) else {
            return Ok(());
        };
        if process.listens_on.contains(&listener) || !process.given.insert(listener) {
            return Ok(());
        }
        if process.is_ready {
            process.given_late.insert(listener);
        }
        self.feed(Event::Shared {
            worker: id,
            listener,
            endpoint,
        })
    }

    pub(super) fn listens(&mut self, id: WorkerId) -> Result<(), String> {
        let Some(process) = self.alive(id) else {
            return Ok(());
        };
        let times = if process.script.start == Start::Twice {
            2
        } else {
            1
        };
        let endpoints = process.endpoints(self.plan.two_endpoints, self.plan.slot_ports);
        for _ in 0..times {
            for endpoint in &endpoints {
                self.listens_on(id, *endpoint)?;
            }
        }
        Ok(())
    }

    pub(super) fn listens_on(&mut self, id: WorkerId, endpoint: Endpoint) -> Result<(), String> {
        let Some(process) = self.alive(id) else {
            return Ok(());
        };
        // At the latest now: who binds before its sibling listens has a socket of its own so far.
        let found = self.kernel.of_set(process.set, endpoint);
        let set = process.set;
        // Most that are passed a socket just accept from it: nobody hears of that.
        let is_silent = self.passed().contains(&endpoint) && process.script.start != Start::Twice;
        let listener = match found {
            Some(listener) => listener,
            None => self.kernel.open(endpoint, set),
        };
        self.uses(id, listener);
        self.note_opened(id, listener);
        if is_silent {
            return Ok(());
        }
        self.feed(Event::Listened {
            worker: id,
            listener,
            endpoint,
        })
    }

    /// An incoming worker of a reload closes its listeners, and nobody hears of that. What one does that serves is not of
    /// this world.
    pub(super) fn lets_go(&mut self, id: WorkerId) {
        let is_reload = self.open_change == Some(ChangeKind::Reload);
        let newest = self.processes.values().map(|it| it.generation).max();
        let is_passed = !self.passed().is_empty();
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let is_incoming = is_reload && Some(process.generation) == newest;
        let is_over = process.stop_sent_at.is_some() || !process.is_alive();
        if !is_incoming || process.was_live || is_over || is_passed {
            return;
        }
        let again = process.script.lets_go.and_then(|(_, again)| again);
        for listener in std::mem::take(&mut process.listens_on) {
            if let Some(socket) = self.kernel.open.get_mut(&listener) {
                socket.listeners.remove(&id);
            }
        }
        if let Some(after) = again {
            self.schedule(Duration::from_millis(after), Happening::Listens(id));
        }
    }

    pub(super) fn note_opened(&mut self, id: WorkerId, listener: ListenerId) {
        let view = self.fleet.view(self.now);
        let mut starting = view.iter().filter(|line| line.phase == "starting");
        // One that another was given has been opened late before it came to that one.
        let mut others = self.processes.iter().filter(|(other, _)| **other != id);
        let is_given = others.any(|(_, it)| it.given.contains(&listener));
        if starting.any(|line| line.worker == id) {
            if !is_given {
                self.opened_late.remove(&listener);
            }
        } else {
            self.opened_late.insert(listener);
        }
    }

    pub(super) fn uses(&mut self, id: WorkerId, listener: ListenerId) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.given.remove(&listener);
            process.listens_on.insert(listener);
        }
        if let Some(socket) = self.kernel.open.get_mut(&listener) {
            socket.listeners.insert(id);
        }
        let waiting = self.kernel.open.get(&listener).map_or(0, |it| it.pending);
        for _ in 0..waiting {
            self.will_be_accepted(listener);
        }
    }

    pub(super) fn exits(&mut self, id: WorkerId, exit: Exit) -> Result<(), String> {
        let Some(process) = self.processes.get_mut(&id).filter(|it| it.is_alive()) else {
            return Ok(());
        };
        process.state = State::Dead;
        process.connections = 0;
        for socket in self.kernel.open.values_mut() {
            socket.listeners.remove(&id);
        }
        self.feed(Event::Exited { worker: id, exit })
    }

    pub(super) fn arrives(&mut self) {
        for endpoint in self.kernel.endpoints() {
            if let Some(listener) = self.kernel.connect(endpoint) {
                self.will_be_accepted(listener);
            }
        }
        if let Some(pause) = self.plan.traffic.filter(|_| self.now < self.traffic_ends) {
            self.schedule(Duration::from_millis(pause), Happening::Arrives);
        }
    }

    pub(super) fn straggles(&mut self, listener: ListenerId) {
        if self.plan.traffic.is_some() {
            self.kernel.straggle(listener);
            self.will_be_accepted(listener);
        }
    }

    pub(super) fn will_be_accepted(&mut self, listener: ListenerId) {
        let accepts_after = |id| self.alive(id).and_then(|it| it.script.accepts_after);
        if let Some(after) = self.acceptor(listener).and_then(accepts_after) {
            self.schedule(Duration::from_millis(after), Happening::Accepts(listener));
        }
    }

    /// The worker that accepts the next connection of a listener, if any does.
    pub(super) fn acceptor(&self, listener: ListenerId) -> Option<WorkerId> {
        let mut workers = self.kernel.open.get(&listener)?.listeners.iter().copied();
        let accepts = |id| {
            self.alive(id)
                .is_some_and(|it| it.script.accepts_after.is_some() && !it.does_not_accept())
        };
        workers.find(|id| accepts(*id))
    }

    pub(super) fn accepts(&mut self, listener: ListenerId) {
        let Some(id) = self.acceptor(listener) else {
            return;
        };
        let Some(socket) = self
            .kernel
            .open
            .get_mut(&listener)
            .filter(|it| it.pending > 0)
        else {
            return;
        };
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        socket.pending -= 1;
        process.connections += 1;
        if let Some(after) = process.script.connection_lasts {
            let ends = Happening::Ends(id);
            self.schedule(Duration::from_millis(after), ends);
        }
    }
}

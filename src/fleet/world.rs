//! A simulated world: the fleet runs fake workers under a fake kernel, in virtual time, and after
//! every step everything that must always hold is checked.
//!
//! ```text
//!  plan ──► agenda ──► event ──► Fleet::step ──► effects ──► performed: processes, kernel
//!             ▲                                                │
//!             └──── what a process does later ◄────────────────┴──► consequences, fed back first
//! ```
//! What must hold is said of processes, sockets and connections ([`check`]), not of what the fleet
//! thinks of them. A world that fails is made as small as can be and its history is printed.

mod check;
mod health;
mod history;
mod kernel;
mod plan;
mod process;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError};

use super::{
    Addresses, Canary, ChangeKind, ClientId, DeploymentId, Effect, Endpoint, Event, Exit, Fleet,
    Generation, IfBusy, ListenerId, Milestone, Policy, Probe, ProbeKind, ReadyWhen, Reload,
    RetirementId, ScaleTo, Seen, Spawn, StopHow, Time, Usage, WorkerEvent, WorkerId,
};
use history::History;
use kernel::Kernel;
use plan::{Plan, Read, Script, Start, Wish, plans};
use process::{Process, State, endpoint, extra};

/// When connections cease, after the last wish.
const TRAFFIC_ENDS_AFTER: Duration = Duration::from_millis(1500);
/// When a trial is ended that goes on, after the last wish.
const TRIALS_END_AFTER: Duration = Duration::from_secs(1);
/// When everything must be in order, after the last wish.
const FINAL_CHECK_AFTER: Duration = Duration::from_secs(6);
/// When everything must be over, after the last wish.
const END_AFTER: Duration = Duration::from_secs(9);
/// A straggler arrives this much after the steering changed.
const STRAGGLER_DELAY: Duration = Duration::from_millis(80);

/// What will happen.
#[derive(Clone, Debug)]
enum Happening {
    Binds(WorkerId),
    Listens(WorkerId),
    ListensExtra(WorkerId),
    LetsGo(WorkerId),
    Declares(WorkerId),
    AnswersProbe(WorkerId),
    Exits(WorkerId, Exit),
    Arrives,
    Straggles(ListenerId),
    /// The fence passes that was asked for as the nth.
    Fences(u64, BTreeSet<ListenerId>),
    Accepts(ListenerId),
    Ends(WorkerId),
    Quiets(WorkerId),
    IsPrepared(WorkerId),
    RescuerDies(WorkerId),
    FallsSick(WorkerId),
    Recovers(WorkerId),
    /// It says `WATCHDOG=1`, or that it is not well.
    SaysWell(WorkerId),
    /// It answers a health check well.
    Passes(WorkerId),
    RescuersEnd,
    Comes(Wish),
    IsRead(DeploymentId, Result<Box<Policy>, String>),
    FinalCheck,
}

/// A request and what was heard of it.
#[derive(Clone, Debug)]
struct Request {
    at: Time,
    heard: Option<Milestone>,
    is_answered: bool,
    /// It accepts that the new generation serves other addresses.
    accepts_changes: bool,
    /// Who ceased to serve when it flipped.
    leaving: BTreeSet<WorkerId>,
}

struct World {
    plan: Plan,
    now: Time,
    fleet: Fleet,
    kernel: Kernel,
    processes: BTreeMap<WorkerId, Process>,
    agenda: BTreeMap<(Time, u64), Happening>,
    scheduled: u64,
    /// How many fences were asked for.
    fences: u64,
    /// The workers whose connections the rescuer of a retirement has.
    adopted: BTreeMap<RetirementId, Vec<WorkerId>>,
    requests: BTreeMap<ClientId, Request>,
    /// What was read, and which of it is in effect.
    policies: BTreeMap<DeploymentId, Policy>,
    in_effect: DeploymentId,
    reloads: u64,
    reads: usize,
    /// What each generation is made by.
    made_by: BTreeMap<Generation, DeploymentId>,
    open_change: Option<ChangeKind>,
    /// The generation of which some workers serve before its flip.
    on_trial: Option<Generation>,
    /// Who listened where when the last change began.
    listened_before: BTreeSet<(WorkerId, Endpoint)>,
    /// Listeners whose worker was ready already when it opened them.
    opened_late: BTreeSet<ListenerId>,
    /// Generations that may serve other addresses than the one before.
    may_change: BTreeSet<Generation>,
    /// Replacements of workers that were replaced meanwhile: they only drain the backlog.
    drain_only: BTreeSet<WorkerId>,
    has_started: bool,
    was_told_to_stop_now: bool,
    is_finished: bool,
    traffic_ends: Time,
    end: Time,
    steps_now: usize,
    history: History,
}

impl World {
    fn new(plan: Plan) -> Self {
        let mut world = Self {
            now: Time::default(),
            fleet: Fleet::new(plan.policy.clone()),
            kernel: Kernel::default(),
            processes: BTreeMap::new(),
            agenda: BTreeMap::new(),
            scheduled: 0,
            fences: 0,
            adopted: BTreeMap::new(),
            requests: BTreeMap::new(),
            policies: BTreeMap::from([(DeploymentId(0), plan.policy.clone())]),
            in_effect: DeploymentId(0),
            reloads: 0,
            reads: 0,
            made_by: BTreeMap::new(),
            open_change: None,
            on_trial: None,
            listened_before: BTreeSet::new(),
            opened_late: BTreeSet::new(),
            may_change: BTreeSet::new(),
            drain_only: BTreeSet::new(),
            has_started: false,
            was_told_to_stop_now: false,
            is_finished: false,
            traffic_ends: Time::default(),
            end: Time::default(),
            steps_now: 0,
            history: History::default(),
            plan,
        };
        world.schedule_wishes();
        world
    }

    fn schedule_wishes(&mut self) {
        let mut at = Duration::ZERO;
        for (pause, wish) in self.plan.wishes.clone() {
            at += Duration::from_millis(pause);
            self.schedule(at, Happening::Comes(wish));
        }
        self.traffic_ends = Time(at + TRAFFIC_ENDS_AFTER);
        self.end = Time(at + END_AFTER);
        self.schedule(at + FINAL_CHECK_AFTER, Happening::FinalCheck);
        // A trial may have no end of its own.
        self.schedule(at + TRIALS_END_AFTER, Happening::Comes(Wish::Promote));
        if self.plan.traffic.is_some() {
            self.schedule(Duration::ZERO, Happening::Arrives);
        }
    }

    /// Goes on with a copy that was made of what is saved.
    fn save_and_restore(&mut self) -> Result<(), String> {
        let saved = serde_json::to_vec(&self.fleet).map_err(|error| error.to_string())?;
        let restored: Fleet = serde_json::from_slice(&saved).map_err(|error| error.to_string())?;
        if restored != self.fleet {
            return Err(format!(
                "restored is {restored:?}, and it was {:?}",
                self.fleet
            ));
        }
        self.fleet = restored;
        Ok(())
    }

    fn schedule(&mut self, after: Duration, happening: Happening) {
        self.scheduled += 1;
        self.agenda
            .insert((self.now.plus(after), self.scheduled), happening);
    }

    /// Lives the world to its end. An error is what must not be, with all that led to it.
    fn run(mut self) -> Result<History, String> {
        match self.live() {
            Ok(()) => Ok(self.history),
            Err(wrong) => Err(format!("{wrong}\n{}", self.history)),
        }
    }

    fn live(&mut self) -> Result<(), String> {
        self.feed(Event::Opened)?;
        while !self.is_finished {
            let next = self.agenda.keys().next().map(|(at, _)| *at);
            let due = self.fleet.next_deadline();
            let at = next.into_iter().chain(due).min().unwrap_or(self.end);
            if at >= self.end {
                return Err("it never ends".to_owned());
            }
            if at > self.now {
                self.steps_now = 0;
            }
            self.now = at;
            match self.agenda.first_entry().filter(|_| next == Some(at)) {
                Some(entry) => {
                    let happening = entry.remove();
                    self.happen(happening)?;
                }
                None => self.feed(Event::TimePassed)?,
            }
        }
        Ok(())
    }

    /// Hands an event to the fleet and does what it says. What that brings about comes first.
    fn feed(&mut self, event: Event) -> Result<(), String> {
        let mut inbox = VecDeque::from([event]);
        while let Some(event) = inbox.pop_front() {
            self.steps_now += 1;
            let before = self.snapshot(&event);
            let due = self.note_check(&event);
            if self.steps_now.is_multiple_of(3) {
                self.save_and_restore()?;
            }
            let effects = self.fleet.step(self.now, event.clone());
            self.history.push(self.now, event, effects.clone());
            let mut consequences = Vec::new();
            for effect in &effects {
                self.check_effect(effect, &effects, &before)?;
                consequences.extend(self.perform(effect));
            }
            for consequence in consequences.into_iter().rev() {
                inbox.push_front(consequence);
            }
            self.check_state(&before, &effects, inbox.is_empty())?;
            self.check_turned_away(due)?;
        }
        Ok(())
    }

    // ---- what happens by itself ----------------------------------------------------------------

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
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

    fn declares(&mut self, id: WorkerId, event: Event) -> Result<(), String> {
        let Some(process) = self.processes.get_mut(&id).filter(|it| it.is_alive()) else {
            return Ok(());
        };
        process.has_declared = true;
        self.feed(event)
    }

    fn alive(&self, id: WorkerId) -> Option<&Process> {
        self.processes.get(&id).filter(|process| process.is_alive())
    }

    fn quiets(&mut self, id: WorkerId) -> Result<(), String> {
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

    fn is_prepared(&mut self, id: WorkerId) -> Result<(), String> {
        if self.alive(id).is_none() {
            return Ok(());
        }
        self.feed(Event::StopPrepared { worker: id })
    }

    fn rescuer_dies(&mut self, id: WorkerId) -> Result<(), String> {
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
    fn binds(&mut self, id: WorkerId) -> Result<(), String> {
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
    fn binds_on(&mut self, id: WorkerId, endpoint: Endpoint) -> Result<(), String> {
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

    fn listens(&mut self, id: WorkerId) -> Result<(), String> {
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

    fn listens_on(&mut self, id: WorkerId, endpoint: Endpoint) -> Result<(), String> {
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
    fn lets_go(&mut self, id: WorkerId) {
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

    fn note_opened(&mut self, id: WorkerId, listener: ListenerId) {
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

    fn uses(&mut self, id: WorkerId, listener: ListenerId) {
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

    fn exits(&mut self, id: WorkerId, exit: Exit) -> Result<(), String> {
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

    // ---- connections ---------------------------------------------------------------------------

    fn arrives(&mut self) {
        for endpoint in self.kernel.endpoints() {
            if let Some(listener) = self.kernel.connect(endpoint) {
                self.will_be_accepted(listener);
            }
        }
        if let Some(pause) = self.plan.traffic.filter(|_| self.now < self.traffic_ends) {
            self.schedule(Duration::from_millis(pause), Happening::Arrives);
        }
    }

    fn straggles(&mut self, listener: ListenerId) {
        if self.plan.traffic.is_some() {
            self.kernel.straggle(listener);
            self.will_be_accepted(listener);
        }
    }

    fn will_be_accepted(&mut self, listener: ListenerId) {
        let accepts_after = |id| self.alive(id).and_then(|it| it.script.accepts_after);
        if let Some(after) = self.acceptor(listener).and_then(accepts_after) {
            self.schedule(Duration::from_millis(after), Happening::Accepts(listener));
        }
    }

    /// The worker that accepts the next connection of a listener, if any does.
    fn acceptor(&self, listener: ListenerId) -> Option<WorkerId> {
        let mut workers = self.kernel.open.get(&listener)?.listeners.iter().copied();
        let accepts = |id| {
            self.alive(id)
                .is_some_and(|it| it.script.accepts_after.is_some() && !it.is_deaf())
        };
        workers.find(|id| accepts(*id))
    }

    fn accepts(&mut self, listener: ListenerId) {
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

    // ---- what comes from outside ---------------------------------------------------------------

    fn comes(&mut self, wish: Wish) -> Result<(), String> {
        let event = match wish {
            Wish::Reload {
                signal,
                waits,
                accepts_changes,
                canary,
            } => Event::ReloadRequested {
                reply_to: self.reply_to(signal),
                if_busy: match signal || waits {
                    true => IfBusy::Wait,
                    false => IfBusy::Deny,
                },
                reload: Reload {
                    deployment: self.next_deployment(),
                    addresses: match accepts_changes && !signal {
                        true => Addresses::MayChange,
                        false => Addresses::Owed,
                    },
                    canary: canary.map(|(workers, percent, hold)| Canary {
                        workers,
                        percent,
                        hold: hold.map(Duration::from_millis),
                    }),
                },
            },
            Wish::ScaleTo(count) => Event::ScaleRequested {
                reply_to: self.reply_to(false),
                to: ScaleTo::Exactly(count),
            },
            Wish::ScaleBy { by, signal } => Event::ScaleRequested {
                reply_to: self.reply_to(signal),
                to: ScaleTo::By(by),
            },
            Wish::Restart(nth) => Event::RestartRequested {
                reply_to: self.reply_to(false),
                worker: self.nth_shown(nth),
            },
            Wish::RestartUnknown => Event::RestartRequested {
                reply_to: self.reply_to(false),
                worker: WorkerId(1 << 40),
            },
            Wish::Pause => Event::PauseRequested {
                reply_to: self.reply_to(false),
            },
            Wish::Promote => Event::PromoteRequested {
                reply_to: self.reply_to(false),
            },
            Wish::Rollback => Event::RollbackRequested {
                reply_to: self.reply_to(false),
            },
            Wish::Stop { signal } => Event::StopRequested {
                reply_to: self.reply_to(signal),
                how: StopHow::Drain,
            },
            Wish::Interrupt => {
                self.was_told_to_stop_now |= self.is_stopping();
                Event::StopRequested {
                    reply_to: None,
                    how: StopHow::Interrupt,
                }
            }
            Wish::StopNow => {
                self.was_told_to_stop_now = true;
                Event::StopRequested {
                    reply_to: self.reply_to(false),
                    how: StopHow::Now,
                }
            }
            Wish::Crash(nth) => return self.crash(Some(nth)),
            Wish::CrashAll => return self.crash(None),
            Wish::Nothing => Event::TimePassed,
        };
        if let Event::ReloadRequested {
            reply_to: Some(client),
            reload,
            ..
        } = event
            && reload.addresses == Addresses::MayChange
            && let Some(request) = self.requests.get_mut(&client)
        {
            request.accepts_changes = true;
        }
        self.feed(event)
    }

    fn next_deployment(&mut self) -> DeploymentId {
        self.reloads += 1;
        DeploymentId(self.reloads)
    }

    /// The numbers that the rules go by now.
    fn policy(&self) -> &Policy {
        &self.policies[&self.in_effect]
    }

    fn read(&mut self, deployment: DeploymentId) {
        let (after, read) = self.plan.reads[self.reads % self.plan.reads.len()].clone();
        self.reads += 1;
        let policy = match read {
            Read::Same => Ok(self.policy().clone()),
            Read::Nonsense => Err("it makes no sense".to_owned()),
            Read::Other(numbers) => Ok(numbers.of(self.policy())),
        };
        if let Ok(policy) = &policy {
            self.policies.insert(deployment, policy.clone());
        }
        let is_read = Happening::IsRead(deployment, policy.map(Box::new));
        self.schedule(Duration::from_millis(after), is_read);
    }

    fn reply_to(&mut self, is_signal: bool) -> Option<ClientId> {
        if is_signal {
            return None;
        }
        let reply_to = ClientId(self.requests.len() as u64);
        let request = Request {
            at: self.now,
            heard: None,
            is_answered: false,
            accepts_changes: false,
            leaving: BTreeSet::new(),
        };
        self.requests.insert(reply_to, request);
        Some(reply_to)
    }

    fn nth_shown(&self, nth: usize) -> WorkerId {
        let view = self.fleet.view(self.now);
        view.get(nth % view.len().max(1))
            .map_or(WorkerId(0), |line| line.worker)
    }

    /// The nth process dies; all do, if none.
    fn crash(&mut self, nth: Option<usize>) -> Result<(), String> {
        let processes = self.processes.iter();
        let alive: Vec<WorkerId> = processes
            .filter(|(_, process)| process.is_alive())
            .map(|(id, _)| *id)
            .collect();
        let chosen = nth.map(|nth| nth % alive.len().max(1));
        for (at, id) in alive.into_iter().enumerate() {
            if !self.is_finished && chosen.is_none_or(|chosen| chosen == at) {
                self.exits(id, Exit::Signal(11))?;
            }
        }
        Ok(())
    }

    // ---- performing ----------------------------------------------------------------------------

    fn perform(&mut self, effect: &Effect) -> Vec<Event> {
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
            Effect::SendStop { worker, .. } => self.send_stop(*worker),
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
    fn passed(&self) -> Vec<Endpoint> {
        let all = [80, 443].map(endpoint);
        let count = match (self.plan.passed, self.plan.two_endpoints) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        };
        all[..count].to_vec()
    }

    fn spawn(&mut self, spawn: &Spawn) -> Vec<Event> {
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

    fn schedule_life(&mut self, id: WorkerId, script: &Script, ready: ReadyWhen) {
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

    fn steer(&mut self, live: BTreeSet<ListenerId>) {
        for process in self.processes.values_mut() {
            process.was_live |= !process.listens_on.is_disjoint(&live);
        }
        self.kernel.steer(live);
        for id in self.kernel.unfenced.clone() {
            self.schedule(STRAGGLER_DELAY, Happening::Straggles(id));
        }
    }

    fn keep_out(&mut self) {
        // Without steering they may be accepted still.
        if self.plan.policy.steering {
            self.kernel.keep_out();
            for id in self.kernel.unfenced.clone() {
                self.schedule(STRAGGLER_DELAY, Happening::Straggles(id));
            }
        }
    }

    fn fence(&mut self) {
        self.fences += 1;
        let fenced = self.kernel.unfenced.clone();
        self.schedule(
            self.plan.fence_takes,
            Happening::Fences(self.fences, fenced),
        );
    }

    /// A fence passes. Of several that were asked for, the last stands for all.
    fn fences(&mut self, nth: u64, fenced: BTreeSet<ListenerId>) -> Result<(), String> {
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

    fn measure_backlogs(&mut self, workers: &[(WorkerId, Vec<ListenerId>)]) -> Event {
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

    fn measure_connections(&mut self, workers: &[WorkerId]) -> Event {
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
    fn measure_usage(&self, workers: &[(WorkerId, Vec<ListenerId>)]) -> Event {
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

    fn look_at_ready(&self, workers: &[(WorkerId, Vec<ListenerId>)]) -> Event {
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

    fn give_back(&mut self, retirement: RetirementId) {
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
    fn adopt_connections(&mut self, workers: &[WorkerId]) -> Vec<Event> {
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
    fn prepare_stop(&mut self, id: WorkerId) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.is_prepared = true;
            if let Some(after) = process.script.prepared_after {
                self.schedule(Duration::from_millis(after), Happening::IsPrepared(id));
            }
        }
    }

    fn probe(&mut self, probe: &Probe) -> Vec<Event> {
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

    fn send_stop(&mut self, id: WorkerId) {
        let Some(process) = self.processes.get_mut(&id).filter(|it| it.is_alive()) else {
            return;
        };
        process.stop_sent_at = Some(self.now);
        if let Some(after) = process.script.stops_after {
            let exits = Happening::Exits(id, Exit::Code(0));
            self.schedule(Duration::from_millis(after), exits);
        }
    }

    fn kill(&mut self, id: WorkerId) {
        let Some(process) = self.processes.get_mut(&id).filter(|it| it.is_alive()) else {
            return;
        };
        process.is_killed = true;
        let exits = Happening::Exits(id, Exit::Signal(9));
        let after = Duration::from_millis(process.script.dies_after);
        self.schedule(after, exits);
    }

    fn log(&mut self, event: &WorkerEvent) {
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
            WorkerEvent::SettleTimedOut { worker, .. } => (worker, |it| it.settle_timed_out = true),
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

/// How many worlds are tried; `WORLDS` asks for more.
fn worlds(usual: u32) -> Config {
    let asked = std::env::var("WORLDS").ok();
    Config {
        cases: asked.and_then(|count| count.parse().ok()).unwrap_or(usual),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(worlds(128))]

    #[test]
    fn no_world_breaks_an_invariant(plan in plans()) {
        World::new(plan).run().map_err(TestCaseError::fail)?;
    }
}

proptest! {
    #![proptest_config(worlds(16))]

    #[test]
    fn the_same_world_has_the_same_history(plan in plans()) {
        let once = World::new(plan.clone()).run().map_err(TestCaseError::fail)?;
        let again = World::new(plan).run().map_err(TestCaseError::fail)?;
        prop_assert_eq!(once.to_string(), again.to_string());
    }
}

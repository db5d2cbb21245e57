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

mod behaviour;
mod check;
mod health;
mod history;
mod kernel;
mod performing;
mod plan;
mod process;
mod wishes;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError};

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
    /// What a change had replaced could not be replaced again: some of it serves on, until a reload succeeds.
    is_mixed: bool,
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
            is_mixed: false,
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
        // A trial may have no end of its own, nor the next one, which has waited for that.
        for nth in 0..5 {
            let ends = TRIALS_END_AFTER + (FINAL_CHECK_AFTER - TRIALS_END_AFTER) * nth / 6;
            self.schedule(at + ends, Happening::Comes(Wish::Promote));
        }
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
}

/// How many worlds are tried: the same ones each time, so that a test that fails does so because of what was changed.
/// `WORLDS` asks for others, and for more of them.
fn worlds(usual: u32) -> Config {
    let asked = std::env::var("WORLDS").ok();
    let asked: Option<u32> = asked.and_then(|count| count.parse().ok());
    Config {
        cases: asked.unwrap_or(usual),
        rng_seed: match asked {
            Some(_) => RngSeed::Random,
            None => RngSeed::Fixed(0),
        },
        failure_persistence: None,
        max_shrink_iters: 20_000,
        // What has been found by then is small enough to be read, and the other tests have to be run, too.
        max_shrink_time: 60_000,
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

//! Workers that become sick and recover; and what must hold of whoever is checked.
//!
//! The world counts for itself which checks each worker has failed, and who has just passed one. Of the fleet it knows
//! only what is logged and done.

use core::time::Duration;
use std::collections::BTreeSet;

use super::process::Process;
use super::{Happening, World};
use crate::fleet::{
    ChangeKind, CheckBy, CheckFailure, Effect, Event, HealthChecks, HealthNews, ListenerId,
    Milestone, Probe, ProbeKind, Progress, RecycleReason, WorkerEvent, WorkerId,
};

/// How a worker is not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sickness {
    /// It answers badly, or says so.
    Bad,
    /// It accepts, and does not answer.
    Mute,
    /// It does nothing at all.
    Deaf,
}

/// What the checks of a worker have come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Checked {
    pub(super) sickness: Option<Sickness>,
    /// A check is under way, or held.
    is_asked: bool,
    failures: u32,
    /// How the last one went.
    has_passed: bool,
    is_unhealthy: bool,
    /// It was decided that it gets no new connections, and that stands.
    turned_away: TurnedAway,
    /// A rescuer has accepted what waited for it.
    pub(super) is_drained: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TurnedAway {
    #[default]
    No,
    Yes,
    /// It has passed a check meanwhile: that counts, or comes too late.
    Perhaps,
}

impl Process {
    pub(super) fn does_not_accept(&self) -> bool {
        self.checked.sickness == Some(Sickness::Deaf)
    }

    pub(super) fn is_unhealthy(&self) -> bool {
        self.checked.is_unhealthy
    }

    /// Whether nobody need count on it: it is unhealthy, or was when its replacement began.
    pub(super) fn may_not_accept(&self) -> bool {
        self.is_unhealthy() || self.checked.turned_away != TurnedAway::No
    }
}

impl World {
    // ---- what happens ---------------------------------------------------------------------------

    pub(super) fn schedule_health(&mut self, id: WorkerId) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        let sickness = process.script.sickness;
        if let Some((_, after, lasts)) = sickness {
            self.schedule(Duration::from_millis(after), Happening::FallsSick(id));
            if let Some(lasts) = lasts {
                let recovers = Duration::from_millis(after + lasts);
                self.schedule(recovers, Happening::Recovers(id));
            }
        }
        if self.checks().is_some_and(|it| it.by == CheckBy::Watchdog) {
            self.schedule(Duration::ZERO, Happening::SaysWell(id));
        }
    }

    fn checks(&self) -> Option<HealthChecks> {
        self.plan.policy.health
    }

    pub(super) fn falls_sick(&mut self, id: WorkerId) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.checked.sickness = process.script.sickness.map(|(kind, _, _)| kind);
        }
    }

    /// What waits for it is accepted after all.
    pub(super) fn recovers(&mut self, id: WorkerId) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        process.checked.sickness = None;
        for listener in process.listens_on.clone() {
            let waiting = self.kernel.open.get(&listener).map_or(0, |it| it.pending);
            for _ in 0..waiting {
                self.will_be_accepted(listener);
            }
        }
    }

    /// It says that it is well twice in the time that it has, or that it is not.
    pub(super) fn says_well(&mut self, id: WorkerId) -> Result<(), String> {
        let (Some(checks), Some(process)) = (self.checks(), self.alive(id)) else {
            return Ok(());
        };
        let said = process.checked.sickness;
        self.schedule(checks.watchdog() / 2, Happening::SaysWell(id));
        match said {
            None => self.feed(Event::HealthPassed { worker: id }),
            Some(Sickness::Bad) => self.feed(Event::HealthFailed {
                worker: id,
                failure: CheckFailure::Said,
            }),
            Some(Sickness::Mute | Sickness::Deaf) => Ok(()),
        }
    }

    pub(super) fn passes(&mut self, id: WorkerId) -> Result<(), String> {
        let is_alive = self.alive(id).is_some();
        let process = self.processes.get_mut(&id).filter(|_| is_alive);
        let Some(process) = process.filter(|it| it.checked.sickness.is_none()) else {
            return Ok(());
        };
        if !core::mem::take(&mut process.checked.is_asked) {
            return Ok(());
        }
        self.feed(Event::HealthPassed { worker: id })
    }

    // ---- what is done ---------------------------------------------------------------------------

    pub(super) fn check_health(&mut self, probe: &Probe) -> Vec<Event> {
        let id = probe.worker;
        let nth = self.scheduled;
        let is_alive = self.alive(id).is_some();
        let Some(process) = self.processes.get_mut(&id).filter(|_| is_alive) else {
            return Vec::new();
        };
        if nth.is_multiple_of(13) {
            return vec![Event::CheckNotMade { worker: id }];
        }
        let passed = vec![Event::HealthPassed { worker: id }];
        let failure = CheckFailure::BadAnswer("answered with status 503".to_owned());
        match (probe.kind, process.checked.sickness) {
            (ProbeKind::Accept, None | Some(Sickness::Bad | Sickness::Mute)) => return passed,
            (ProbeKind::Http, None) => {
                process.checked.is_asked = true;
                self.schedule(Duration::from_millis(1), Happening::Passes(id));
            }
            (ProbeKind::Http, Some(Sickness::Bad)) => {
                return vec![Event::HealthFailed {
                    worker: id,
                    failure,
                }];
            }
            (ProbeKind::Http, Some(Sickness::Mute)) | (_, Some(Sickness::Deaf)) => {
                process.checked.is_asked = true;
            }
        }
        Vec::new()
    }

    pub(super) fn explain_late(&mut self, id: WorkerId) -> Vec<Event> {
        let by = self.checks().map(|it| it.by);
        let Some(process) = self.processes.get_mut(&id).filter(|it| it.is_alive()) else {
            return Vec::new();
        };
        process.checked.is_asked &= process.does_not_accept();
        let failure = match (by, process.checked.sickness) {
            (_, Some(Sickness::Deaf)) if id.0.is_multiple_of(2) => CheckFailure::Stopped,
            (Some(CheckBy::Watchdog), _) => CheckFailure::Silent,
            (_, Some(Sickness::Deaf)) => CheckFailure::NotAccepted,
            (_, Some(Sickness::Bad | Sickness::Mute) | None) => CheckFailure::NoAnswer,
        };
        vec![Event::HealthFailed {
            worker: id,
            failure,
        }]
    }

    pub(super) fn end_check(&mut self, id: WorkerId) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.checked.is_asked = false;
        }
    }

    pub(super) fn note_drained(&mut self, id: WorkerId) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.checked.is_drained |=
                process.stop_sent_at.is_none() && !process.settle_timed_out;
        }
    }

    // ---- what must hold -------------------------------------------------------------------------

    /// Counts what the fleet is about to hear. The worker that must be turned away for it, if one must.
    pub(super) fn note_check(&mut self, event: &Event) -> Option<WorkerId> {
        let checks = self.checks()?;
        let (id, failure) = match event {
            Event::HealthPassed { worker } => (*worker, None),
            Event::HealthFailed { worker, failure } => (*worker, Some(failure)),
            _ => return None,
        };
        let serving = self.serving();
        let others = serving.iter().filter(|it| **it != id);
        let mut others = others.filter_map(|it| self.processes.get(it));
        let is_shown = others.any(|it| it.checked.has_passed);
        let now = self.now;
        let process = self.processes.get_mut(&id)?;
        if !serving.contains(&id) {
            return None;
        }
        let is_warm = process
            .ready_at
            .is_some_and(|at| now.since(at) >= checks.start_period);
        let it = &mut process.checked;
        match failure {
            None => {
                (it.failures, it.has_passed, it.is_unhealthy) = (0, true, false);
                if it.turned_away == TurnedAway::Yes {
                    it.turned_away = TurnedAway::Perhaps;
                }
            }
            Some(failure) if is_warm => {
                it.failures += 1;
                it.has_passed = false;
                let is_certain = matches!(failure, CheckFailure::Stopped | CheckFailure::Said);
                it.is_unhealthy |= it.failures >= checks.failures || is_certain;
            }
            Some(_) => {}
        }
        let is_due = is_warm && failure.is_some() && it.is_unhealthy && is_shown;
        is_due.then_some(id)
    }

    pub(super) fn note_serves(&mut self, id: WorkerId) {
        let now = self.now;
        if let Some(process) = self.processes.get_mut(&id) {
            process.ready_at.get_or_insert(now);
            process.checked.failures = 0;
        }
    }

    /// Nobody is turned away but who has failed, while somebody shows that it can be done; and "all fail" is said when
    /// all do.
    pub(super) fn check_health_log(
        &mut self,
        event: &WorkerEvent,
        before: &BTreeSet<WorkerId>,
    ) -> Result<(), String> {
        let serving = self.serving();
        let checked = |id: &WorkerId| self.processes.get(id).map(|it| &it.checked);
        let WorkerEvent::Health { worker, news } = event else {
            return Ok(());
        };
        match news {
            HealthNews::TurnedAwayFrom => {
                let is_unhealthy = checked(worker).is_some_and(|it| it.is_unhealthy);
                // Also one of its set, which leaves with it.
                let mut all = before.union(&serving).filter_map(checked);
                if !is_unhealthy || !all.any(|it| it.has_passed) {
                    return Err(format!("worker {worker} is turned away for no reason"));
                }
                self.turn(*worker, TurnedAway::Yes);
            }
            HealthNews::LastUnhealthy => {
                let mut all = serving.iter().filter_map(checked);
                if all.any(|it| !it.is_unhealthy && it.turned_away != TurnedAway::Perhaps) {
                    return Err(format!(
                        "all are said to be unhealthy with worker {worker}, and are not"
                    ));
                }
                serving.iter().for_each(|id| self.turn(*id, TurnedAway::No));
            }
            HealthNews::Recovered => self.turn(*worker, TurnedAway::No),
            HealthNews::Unhealthy(_) => {
                if !checked(worker).is_some_and(|it| it.is_unhealthy) {
                    return Err(format!("worker {worker} is said to be unhealthy too soon"));
                }
            }
        }
        Ok(())
    }

    fn turn(&mut self, id: WorkerId, turned_away: TurnedAway) {
        if let Some(process) = self.processes.get_mut(&id)
            && !process.checked.is_drained
        {
            process.checked.turned_away = turned_away;
        }
    }

    /// Nobody is replaced for its health when nobody is healthy, if it was not turned away while somebody was.
    pub(super) fn check_replacement(&self, effect: &Effect) -> Result<(), String> {
        let Effect::Report(Progress {
            milestone: Milestone::Starting,
            kind: ChangeKind::Recycling,
            ..
        }) = effect
        else {
            return Ok(());
        };
        let why = self.fleet.recyclings().last;
        let is_trusted = |id: &WorkerId| {
            let process = self.processes.get(id);
            process.is_some_and(|it| it.checked.turned_away == TurnedAway::No)
        };
        let is_for_health = match &why {
            Some((id, RecycleReason::Unhealthy)) => is_trusted(id),
            _ => false,
        };
        let serving = self.serving();
        let mut all = serving.iter().filter_map(|id| self.processes.get(id));
        match is_for_health && all.all(Process::is_unhealthy) {
            true => Err(format!("{why:?} is replaced, and nobody is healthy")),
            false => Ok(()),
        }
    }

    /// Who was turned away gets no new connections while somebody who was not serves the same.
    pub(super) fn check_turned_away(&self, due: Option<WorkerId>) -> Result<(), String> {
        if !self.plan.policy.steering {
            return Ok(());
        }
        for id in self.serving() {
            let away = self.processes[&id].checked.turned_away == TurnedAway::Yes;
            if !away && due != Some(id) {
                continue;
            }
            let others = self.trusted_listeners(Some(id));
            let endpoints: BTreeSet<_> = others
                .iter()
                .filter_map(|it| self.kernel.open.get(it))
                .map(|it| it.endpoint)
                .collect();
            let alone = self.processes[&id].listens_on.difference(&others);
            let served_by_others = |it: &&ListenerId| {
                let socket = self.kernel.open.get(it);
                socket.is_some_and(|socket| endpoints.contains(&socket.endpoint))
            };
            let mut wrong = alone.filter(served_by_others);
            let wrong = wrong.find(|it| self.kernel.live.contains(it));
            if let Some(wrong) = wrong {
                return Err(format!(
                    "worker {id} is unhealthy, others are not, and {wrong:?} gets new connections"
                ));
            }
        }
        Ok(())
    }

    /// Whether what waited in a listener was taken while its worker served.
    pub(super) fn is_drained_alive(&self, listener: ListenerId) -> bool {
        let mut all = self.processes.values();
        all.any(|it| {
            let has = it.listens_on.contains(&listener) || it.given.contains(&listener);
            it.checked.is_drained && has
        })
    }

    /// The listeners of those that serve and were not turned away.
    fn trusted_listeners(&self, but: Option<WorkerId>) -> BTreeSet<ListenerId> {
        let serving = self.serving().into_iter().filter(|id| Some(*id) != but);
        let trusted = serving.filter(|id| {
            let process = self.processes.get(id);
            process.is_some_and(|it| it.checked.turned_away == TurnedAway::No)
        });
        trusted
            .filter_map(|id| self.processes.get(&id))
            .flat_map(|it| {
                // What a worker was given and does not use is no place for a client.
                let used = it.given.intersection(&self.kernel.live);
                it.listens_on.iter().chain(used).copied()
            })
            .collect()
    }

    /// Whether new connections may be kept from this worker.
    pub(super) fn may_get_none(&self, id: WorkerId) -> bool {
        let process = self.processes.get(&id);
        process.is_some_and(|it| it.checked.turned_away != TurnedAway::No)
    }

    pub(super) fn is_anybody_turned_away(&self) -> bool {
        self.serving().iter().any(|id| self.may_get_none(*id))
    }

    /// What waits for a worker that does nothing at all has been taken.
    pub(super) fn check_taken(&self) -> Result<(), String> {
        let policy = &self.plan.policy;
        if !policy.rescue || self.checks().is_none() {
            return Ok(());
        }
        let others = self.trusted_listeners(None);
        let endpoints: BTreeSet<_> = others
            .iter()
            .filter_map(|it| self.kernel.open.get(it))
            .map(|it| it.endpoint)
            .collect();
        for id in self.serving() {
            let process = &self.processes[&id];
            if process.checked.turned_away != TurnedAway::Yes || !process.does_not_accept() {
                continue;
            }
            let alone = process.listens_on.difference(&others);
            let sockets = alone.filter_map(|it| self.kernel.open.get(it));
            let mut left = sockets.filter(|it| {
                it.listeners.len() == 1 && it.pending > 0 && endpoints.contains(&it.endpoint)
            });
            if left.any(|it| !it.is_rescued) {
                return Err(format!("what waits for worker {id} is taken by nobody"));
            }
        }
        Ok(())
    }
}

//! What must always hold: of each effect before it is performed, and (`state`) of all there is after each step.
//! What an effect is about has a file of its own: listeners (`queues`), changes (`changes`), ends (`stops`).

mod changes;
mod queues;
mod state;
mod stops;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::kernel::Socket;
use super::process::Process;
use super::{State, World};
use crate::fleet::{
    ChangeKind, ChangeResult, ClientId, Denial, Effect, Endpoint, Event, Failure, Generation,
    ListenerId, ListenerSetId, Milestone, Progress, Slot, Spawn, Strategy, WorkerEvent, WorkerId,
};

/// A request that was not answered after this long is forgotten. The longest way: a change that
/// starts late, behind whose flip a replacement is awaited that has to accept what was left.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

type Checked = Result<(), String>;

/// How things were before a step.
pub(super) struct Before {
    serving: BTreeSet<WorkerId>,
    /// Endpoints that the new workers of a change owe: where all of those that serve listened when it
    /// began. What these open later is not owed.
    owed: BTreeSet<Endpoint>,
    /// Endpoints that all of those that serve listen on.
    common: BTreeSet<Endpoint>,
    phases: BTreeMap<WorkerId, (&'static str, u32)>,
    is_stopping: bool,
    /// Those that serve on trial.
    tried: BTreeSet<WorkerId>,
    /// Who has ended, if that is the event.
    ended: Option<WorkerId>,
}

fn ensure(holds: bool, wrong: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(wrong()) }
}

impl World {
    pub(super) fn snapshot(&self, event: &Event) -> Before {
        let ended = match event {
            Event::Exited { worker, .. } | Event::SpawnFailed { worker, .. } => Some(*worker),
            _ => None,
        };
        let view = self.fleet.view(self.now);
        Before {
            serving: self.serving(),
            owed: self.owed(),
            common: self.common(&self.kernel.listeners()),
            phases: view
                .iter()
                .map(|line| (line.worker, (line.phase, line.slot.0)))
                .collect(),
            is_stopping: self.is_stopping(),
            tried: self.tried(),
            ended,
        }
    }

    pub(super) fn serving(&self) -> BTreeSet<WorkerId> {
        let view = self.fleet.view(self.now);
        let serving = view.iter().filter(|line| line.phase == "serving");
        serving.map(|line| line.worker).collect()
    }

    /// Those that serve on trial.
    fn tried(&self) -> BTreeSet<WorkerId> {
        let mut tried = self.serving();
        tried.retain(|id| {
            let process = self.processes.get(id);
            self.on_trial.is_some() && process.map(|it| it.generation) == self.on_trial
        });
        tried
    }

    fn owed(&self) -> BTreeSet<Endpoint> {
        let mut owed = &self.live_endpoints() & &self.common(&self.listened_before);
        // Not the port that a slot alone has, nor what is opened later; nor what one had alone who is left of many.
        let before = &self.listened_before;
        let had_all = |it: &Endpoint| before.iter().all(|(id, _)| before.contains(&(*id, *it)));
        owed.retain(|endpoint| endpoint.address.port() < 9000 && had_all(endpoint));
        owed
    }

    /// Where all of those that serve listen.
    fn common(&self, listeners: &BTreeSet<(WorkerId, Endpoint)>) -> BTreeSet<Endpoint> {
        let mut serving = self.serving();
        serving.retain(|id| self.processes.get(id).is_some_and(Process::is_alive));
        let mut endpoints: BTreeSet<Endpoint> = listeners.iter().map(|(_, it)| *it).collect();
        endpoints.retain(|it| serving.iter().all(|id| listeners.contains(&(*id, *it))));
        endpoints
    }

    /// Endpoints that new connections are steered to.
    fn live_endpoints(&self) -> BTreeSet<Endpoint> {
        let live = self.kernel.live.iter();
        live.filter_map(|id| self.kernel.open.get(id))
            .map(|socket| socket.endpoint)
            .collect()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.fleet.phase_name() == "stopping"
    }

    pub(super) fn check_effect(
        &mut self,
        effect: &Effect,
        batch: &[Effect],
        before: &Before,
    ) -> Checked {
        match effect {
            Effect::ReadDeployment { deployment } => {
                ensure(!self.policies.contains_key(deployment), || {
                    format!("{deployment:?} is read twice")
                })
            }
            Effect::Apply { deployment } => ensure(self.policies.contains_key(deployment), || {
                format!("{deployment:?} is in effect, and was not read")
            }),
            Effect::Spawn(Spawn {
                worker,
                generation,
                deployment,
                slot,
                set,
                adopt,
                ..
            }) => {
                ensure(!before.is_stopping, || {
                    format!("worker {worker} is started while stopping")
                })?;
                ensure(!self.processes.contains_key(worker), || {
                    format!("the id of worker {worker} is used again")
                })?;
                // One that comes after the flip of its slot, too.
                if !adopt.is_empty() && self.is_served(*slot) {
                    self.drain_only.insert(*worker);
                }
                let made_by = *self.made_by.entry(*generation).or_insert(*deployment);
                ensure(made_by == *deployment, || {
                    format!(
                        "worker {worker} is made by {deployment:?}, and its generation by {made_by:?}"
                    )
                })?;
                self.check_room(*worker, before)?;
                ensure(slot.0 < self.policy().most_workers, || {
                    format!("slot {slot} is beyond the most workers")
                })?;
                self.check_adopted_listeners(*set, adopt)
            }
            Effect::Steer { live } => live.keys().try_for_each(|id| {
                ensure(self.kernel.open.contains_key(id), || {
                    format!("new connections go to {id:?}, which is closed")
                })
            }),
            Effect::SendStop { worker, .. } => self.check_send_stop(*worker, batch),
            Effect::SendSignal { worker } => self.check_send_signal(*worker),
            Effect::Kill { worker } => self.check_kill(*worker),
            Effect::Close { listener } => self.check_close(*listener, batch, before),
            Effect::Report(Progress {
                reply_to,
                milestone,
                kind,
                generation,
                ..
            }) => {
                self.check_replacement(effect)?;
                let flips = batch.iter().filter(|effect| is_flip(effect)).count();
                let begins = batch.iter().any(is_beginning);
                // Of two in one step nobody can tell who left with which.
                let leaving = match (milestone, flips) {
                    (Milestone::Serving, 1) if !begins => &before.serving - &self.serving(),
                    _ => BTreeSet::new(),
                };
                self.check_report(*reply_to, *milestone, *kind, *generation, leaving)
            }
            Effect::Reply { reply_to, result } => {
                if is_taken_back(effect) {
                    self.note_taken_back();
                }
                self.check_result(*reply_to, result, batch, before)
            }
            Effect::Finish { .. } => self.check_finish(),
            Effect::Probe(probe) | Effect::CheckHealth(probe) => {
                self.process_of(probe.worker).map(drop)
            }
            Effect::ExplainLateCheck { worker } => self.process_of(*worker).map(drop),
            Effect::PrepareStop { worker } => self.check_prepare_stop(*worker),
            Effect::Log(note) => {
                if let WorkerEvent::Serving { worker, .. } = note {
                    // It may retire again in the same step.
                    if let Some(process) = self.processes.get_mut(worker) {
                        process.phase = ("serving", self.now);
                    }
                    self.note_drain_only();
                }
                self.check_health_log(note, &before.serving)?;
                self.check_log(note)
            }
            Effect::DrainBacklog { listeners, .. } => listeners
                .iter()
                .try_for_each(|id| self.check_drain_backlog(*id, batch)),
            Effect::Refuse => self.check_refuse(),
            Effect::AdoptConnections { workers, .. } | Effect::EndConnections { workers, .. } => {
                workers.iter().try_for_each(|id| {
                    let process = self.process_of(*id)?;
                    ensure(process.is_busy.is_none(), || {
                        format!("worker {id} is adopted twice")
                    })
                })
            }
            Effect::MeasureUsage { workers } | Effect::LookAtReady { workers } => workers
                .iter()
                .try_for_each(|(id, _)| self.process_of(*id).map(drop)),
            Effect::GiveBack { .. }
            | Effect::EndCheck { .. }
            | Effect::Fence
            | Effect::KeepOut
            | Effect::ReportWait { .. }
            | Effect::ReportStop(_)
            | Effect::MeasureBacklogs { .. }
            | Effect::MeasureConnections { .. } => Ok(()),
            Effect::EndRescuers => {
                let mut alive = self.processes.values().filter(|it| it.is_alive());
                ensure(alive.next().is_none(), || {
                    "rescuers are told to end while workers are alive".to_owned()
                })
            }
        }
    }

    /// A worker that an effect is for: it has a process, or never had one.
    fn process_of(&self, id: WorkerId) -> Result<&Process, String> {
        let process = self.processes.get(&id);
        process
            .filter(|process| process.state != State::Dead)
            .ok_or_else(|| format!("worker {id} has ended, and something is done to it"))
    }
}

fn is_flip(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Report(Progress {
            milestone: Milestone::Serving,
            ..
        })
    )
}

fn is_beginning(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Report(Progress {
            milestone: Milestone::Starting,
            ..
        })
    )
}

/// Whether a flip is taken back.
fn is_taken_back(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Reply {
            result: ChangeResult::Failed {
                failure: Failure::Died { .. } | Failure::Unhealthy { .. } | Failure::RolledBack,
                ..
            },
            ..
        }
    )
}

fn is_failure(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Reply {
            result: ChangeResult::Failed { .. },
            ..
        }
    )
}

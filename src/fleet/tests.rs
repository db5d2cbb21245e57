//! The rules, one by one. What is done is written in short: `spawn 2`, `steer 0 1`, `signal 0`.

mod addresses;
mod batches;
mod canary;
mod crashes;
mod deployments;
mod health;
mod limits;
mod listener_sets;
mod many;
mod ready_is_a_state;
mod recycling;
mod reload;
mod rescuers;
mod rolling;
mod scale;
mod soak;
mod start;
mod stop;
mod turns;

use core::time::Duration;

use super::*;

const ME: Option<ClientId> = Some(ClientId(7));

fn policy() -> Policy {
    Policy {
        workers: 2,
        most_workers: 8,
        queues: None,
        ready: ReadyWhen::Listening,
        steering: true,
        rescue: false,
        min_uptime: Duration::ZERO,
        strategy: Strategy::AllAtOnce,
        soak: Duration::ZERO,
        soak_restarts: 0,
        health: None,
        limits: Limits::default(),
        look_interval: Duration::from_secs(1),
        start_timeout: Duration::from_secs(60),
        settle_timeout: Duration::from_secs(10),
        quiet_timeout: Duration::from_secs(2),
        drain_timeout: Duration::from_secs(30),
        stop_message: None,
        prepare_timeout: Duration::from_secs(2),
        rescuers_end_timeout: Duration::from_secs(1),
        pre_stop: Duration::ZERO,
        max_restarts: 2,
        restart_window: Duration::from_secs(60),
        crash_loop_ends_all: false,
    }
}

/// A fleet and a clock.
struct Stage {
    fleet: Fleet,
    now: Time,
    /// What the next reload reads.
    policy: Policy,
}

impl Stage {
    fn new(policy: Policy) -> Self {
        let mut stage = Self {
            fleet: Fleet::new(policy.clone()),
            now: Time::default(),
            policy,
        };
        stage.on(Event::Opened);
        stage
    }

    /// Two workers serve, each on the listener that has its number.
    fn serving(policy: Policy) -> Self {
        let mut stage = Self::new(policy);
        stage.on(listened(0));
        stage.on(listened(1));
        assert_eq!(stage.phases(), ["0 serving", "1 serving"]);
        stage
    }

    fn generation_of(&self, worker: u64) -> u32 {
        let view = self.fleet.view(self.now);
        let mut lines = view.iter().filter(|line| line.worker == WorkerId(worker));
        lines.next().unwrap().generation.0
    }

    /// What is done about an event. Rescuers answer at once.
    fn on(&mut self, event: Event) -> Vec<String> {
        let mut done = Vec::new();
        for effect in self.fleet.step(self.now, event) {
            match effect {
                Effect::PrepareStop { worker } => {
                    done.extend(self.on(Event::StopPrepared { worker }));
                }
                Effect::LookAtReady { workers } => {
                    let seen = workers.into_iter().map(|(id, _)| (id, Seen::Serves));
                    let seen = seen.collect();
                    done.extend(self.on(Event::ReadySeen { seen }));
                }
                Effect::ReadDeployment { deployment } => {
                    let policy = Ok(Box::new(self.policy.clone()));
                    done.extend(self.on(Event::DeploymentRead { deployment, policy }));
                }
                Effect::EndRescuers => done.extend(self.on(Event::RescuersEnded)),
                effect => done.extend(brief(&effect)),
            }
        }
        done
    }

    /// The same with rescuers that do not answer.
    fn on_unanswered(&mut self, event: Event) -> Vec<String> {
        let effects = self.fleet.step(self.now, event);
        effects.iter().filter_map(brief).collect()
    }

    fn after(&mut self, millis: u64) -> Vec<String> {
        self.now = self.now.plus(Duration::from_millis(millis));
        self.on(Event::TimePassed)
    }

    /// The client of the reload that is under way.
    fn reload_of(&self) -> Option<Option<ClientId>> {
        self.fleet.reload_under_way()
    }

    fn phases(&self) -> Vec<String> {
        let view = self.fleet.view(self.now);
        view.iter()
            .map(|line| format!("{} {}", line.worker, line.phase))
            .collect()
    }

    /// The backlogs of the old workers are empty, and the old workers are quiet.
    fn retire(&mut self, workers: &[u64]) {
        self.on(Event::Fenced);
        for id in workers {
            self.on(backlog(*id, 0));
            self.on(quiet(*id, true));
        }
    }
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        address: ([127, 0, 0, 1], port).into(),
        v6_only: false,
    }
}

fn listened_on(worker: u64, listener: u64, port: u16) -> Event {
    Event::Listened {
        worker: WorkerId(worker),
        listener: ListenerId(listener),
        endpoint: endpoint(port),
    }
}

fn listened(worker: u64) -> Event {
    listened_on(worker, worker, 80)
}

fn exited(worker: u64) -> Event {
    Event::Exited {
        worker: WorkerId(worker),
        exit: Exit::Code(1),
    }
}

fn backlog(worker: u64, pending: u64) -> Event {
    Event::BacklogsMeasured {
        pending: vec![(WorkerId(worker), pending)],
    }
}

fn quiet(worker: u64, is_quiet: bool) -> Event {
    Event::ConnectionsMeasured {
        quiet: vec![(WorkerId(worker), is_quiet)],
    }
}

const RELOAD: Event = reload(ME, IfBusy::Deny, Addresses::Owed, None);

const fn reload(
    reply_to: Option<ClientId>,
    if_busy: IfBusy,
    addresses: Addresses,
    canary: Option<Canary>,
) -> Event {
    Event::ReloadRequested {
        reply_to,
        if_busy,
        reload: Reload {
            deployment: DeploymentId(1),
            addresses,
            canary,
        },
    }
}

/// A reload, some of whose workers are tried first, for so many seconds or until it is asked for.
fn canary(workers: u32, percent: u32, hold: Option<u64>) -> Event {
    let canary = Canary {
        workers,
        percent,
        hold: hold.map(Duration::from_secs),
    };
    reload(ME, IfBusy::Deny, Addresses::Owed, Some(canary))
}

/// As a signal asks for it, or a client that waits its turn.
fn patient_reload(reply_to: Option<ClientId>) -> Event {
    reload(reply_to, IfBusy::Wait, Addresses::Owed, None)
}

fn scale(to: u32) -> Event {
    Event::ScaleRequested {
        reply_to: ME,
        to: ScaleTo::Exactly(to),
    }
}

fn restart(worker: u64) -> Event {
    Event::RestartRequested {
        reply_to: ME,
        worker: WorkerId(worker),
    }
}

fn stop(now: bool) -> Event {
    let how = if now { StopHow::Now } else { StopHow::Drain };
    Event::StopRequested { reply_to: ME, how }
}

fn interrupt() -> Event {
    Event::StopRequested {
        reply_to: None,
        how: StopHow::Interrupt,
    }
}

fn numbers(ids: impl IntoIterator<Item = u64>) -> String {
    ids.into_iter().map(|id| format!(" {id}")).collect()
}

/// An effect in short; none for what only the log gets.
fn brief(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Spawn(Spawn { worker, adopt, .. }) if adopt.is_empty() => format!("spawn {worker}"),
        Effect::Spawn(Spawn { worker, adopt, .. }) => {
            format!("spawn {worker} on{}", numbers(adopt.iter().map(|id| id.0)))
        }
        Effect::Steer { live } => {
            let weighted = live.iter().map(|(id, weight)| match weight {
                1 => format!(" {}", id.0),
                _ => format!(" {}*{weight}", id.0),
            });
            format!("steer{}", weighted.collect::<String>())
        }
        Effect::KeepOut => "keep out".to_owned(),
        Effect::Refuse => "refuse".to_owned(),
        Effect::Fence => "fence".to_owned(),
        Effect::MeasureBacklogs { workers } => {
            format!("backlogs{}", numbers(workers.iter().map(|(id, _)| id.0)))
        }
        Effect::MeasureUsage { workers } => {
            format!("usage{}", numbers(workers.iter().map(|(id, _)| id.0)))
        }
        Effect::MeasureConnections { workers } => {
            format!("connections{}", numbers(workers.iter().map(|id| id.0)))
        }
        Effect::AdoptConnections { workers, .. } => {
            format!("adopt{}", numbers(workers.iter().map(|id| id.0)))
        }
        Effect::EndConnections { workers, .. } => {
            format!("end connections{}", numbers(workers.iter().map(|id| id.0)))
        }
        Effect::DrainBacklog {
            worker, listeners, ..
        } if listeners.is_empty() => format!("drain nothing of {worker}"),
        Effect::DrainBacklog { worker, .. } => format!("drain {worker}"),
        Effect::Probe(probe) => format!("probe {}", probe.worker),
        Effect::LookAtReady { workers } => {
            format!("look at{}", numbers(workers.iter().map(|(id, _)| id.0)))
        }
        Effect::CheckHealth(probe) => format!("check {}", probe.worker),
        Effect::ExplainLateCheck { worker } => format!("explain {worker}"),
        Effect::EndCheck { worker } => format!("end check {worker}"),
        Effect::GiveBack { .. } => "give back".to_owned(),
        Effect::PrepareStop { worker } => format!("prepare {worker}"),
        Effect::SendStop { worker, by, .. } => match by {
            StopBy::Signal => format!("signal {worker}"),
            StopBy::Message => format!("message {worker}"),
        },
        Effect::SendSignal { worker } => format!("signal {worker}"),
        Effect::EndRescuers => "end rescuers".to_owned(),
        Effect::Kill { worker } => format!("kill {worker}"),
        Effect::Close { listener } => format!("close {}", listener.0),
        Effect::ReportWait { asked, kind, .. } => format!("{asked} waits: {kind}"),
        Effect::ReadDeployment { deployment } => format!("read {}", deployment.0),
        Effect::Apply { .. } | Effect::Log(_) | Effect::Report(_) | Effect::ReportStop(_) => {
            return None;
        }
        Effect::Reply { result, .. } => match result {
            ChangeResult::Done { kind, .. } => format!("{kind} done"),
            ChangeResult::Denied(Denial::Busy { kind, .. }) => format!("denied: {kind}"),
            ChangeResult::Failed { kind, .. } => format!("{kind} failed"),
            ChangeResult::Promoted { .. } => "promoted".to_owned(),
            ChangeResult::Paused { .. } => "paused".to_owned(),
            ChangeResult::Denied(Denial::NothingToPause) => "denied: nothing to pause".to_owned(),
            ChangeResult::Denied(Denial::NotSteered) => "denied: not steered".to_owned(),
            ChangeResult::Denied(Denial::NothingToPromote) => {
                "denied: nothing to promote".to_owned()
            }
            ChangeResult::Denied(Denial::NothingToRollBack) => {
                "denied: nothing to roll back".to_owned()
            }
            ChangeResult::Denied(Denial::Stopping) => "denied: stopping".to_owned(),
            ChangeResult::Denied(Denial::NoSuchWorker(id)) => format!("denied: no worker {id}"),
            ChangeResult::Denied(Denial::NoRoom { together }) => {
                format!("denied: {together} together")
            }
            ChangeResult::Denied(Denial::NobodyLeft { count }) => {
                format!("denied: none of {count}")
            }
            ChangeResult::Denied(Denial::BadCount { asked, .. }) => {
                format!("denied: {asked} workers")
            }
            ChangeResult::Stopped => "stopped".to_owned(),
        },
        Effect::Finish { exit_reason } => format!("finish: {exit_reason:?}"),
    })
}

//! The rules, one by one. What is done is written in short: `spawn 2`, `steer 0 1`, `signal 0`.

mod addresses;
mod batches;
mod canary;
mod deployments;
mod health;
mod limits;
mod listener_sets;
mod many;
mod ready_is_a_state;
mod recycling;
mod rolling;
mod soak;

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
        Effect::SendStop { worker, .. } => format!("signal {worker}"),
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

// ---- rescuers that answer late or never --------------------------------------------------------

/// Worker 0 is replaced, and its connections are idle: its rescuer is to get it ready.
fn preparing() -> Stage {
    let mut stage = Stage::serving(Policy {
        rescue: true,
        ..policy()
    });
    stage.on(restart(0));
    stage.on(listened(2));
    stage.on(Event::Fenced);
    assert_eq!(stage.on(backlog(0, 0)), ["adopt 0"]);
    let idle = Event::ConnectionsIdle {
        worker: WorkerId(0),
    };
    assert_eq!(stage.on_unanswered(idle), ["prepare 0"]);
    assert_eq!(stage.phases()[0], "0 quiescing");
    stage
}

#[test]
fn a_worker_gets_the_stop_signal_when_its_rescuer_is_ready() {
    let mut stage = preparing();
    assert!(stage.after(1_999).is_empty());
    let prepared = Event::StopPrepared {
        worker: WorkerId(0),
    };
    assert_eq!(stage.on(prepared.clone()), ["signal 0"]);
    assert!(stage.on(prepared).is_empty(), "the signal is sent once");
}

#[test]
fn a_worker_gets_the_stop_signal_at_the_prepare_timeout() {
    let mut stage = preparing();
    assert_eq!(stage.after(2_000), ["signal 0"]);
}

#[test]
fn a_stop_sends_no_second_signal_to_a_worker_that_is_being_prepared() {
    let mut stage = preparing();
    let steered = ["keep out", "steer", "fence"];
    assert_eq!(stage.on_unanswered(stop(false)), steered);
    assert_eq!(stage.after(2_000), ["signal 0"]);
}

#[test]
fn a_worker_that_dies_while_it_is_being_prepared_is_gone() {
    let mut stage = preparing();
    assert_eq!(stage.on(exited(0)), ["drain 0", "close 0", "restart done"]);
    let prepared = Event::StopPrepared {
        worker: WorkerId(0),
    };
    assert!(stage.on(prepared).is_empty());
    assert!(stage.after(2_000).is_empty());
}

#[test]
fn the_end_waits_for_rescuers_but_not_for_ever() {
    let mut stage = Stage::serving(policy());
    stage.on(stop(false));
    stage.retire(&[0, 1]);
    assert_eq!(stage.on(exited(0)), ["close 0"]);
    assert_eq!(stage.on_unanswered(exited(1)), ["close 1", "end rescuers"]);
    assert!(stage.after(999).is_empty());
    assert_eq!(stage.after(1), ["stopped", "finish: Stopped"]);
}

// ---- start -------------------------------------------------------------------------------------

#[test]
fn each_worker_of_the_start_serves_as_soon_as_it_listens() {
    let mut stage = Stage::new(policy());
    assert_eq!(stage.on(listened(1)), ["steer 1"]);
    assert_eq!(stage.on(listened(0)), ["steer 0 1", "start done"]);
}

#[test]
fn a_start_with_one_bad_worker_fails_and_ends_everything() {
    let mut stage = Stage::new(policy());
    let failed = ["signal 1", "start failed", "keep out", "refuse"];
    assert_eq!(stage.on(exited(0)), failed);
    assert_eq!(stage.on(exited(1)), ["finish: StartFailed"]);
}

#[test]
fn a_worker_that_crashes_while_its_siblings_start_is_replaced_and_the_start_goes_on() {
    let mut stage = Stage::new(policy());
    stage.on(listened(0));
    assert_eq!(stage.on(exited(0)), ["steer", "spawn 2 on 0"]);
    assert_eq!(stage.on(listened(1)), ["steer 1", "start done"]);
    assert_eq!(stage.on(listened_on(2, 0, 80)), ["steer 0 1"]);
}

#[test]
fn a_worker_may_have_to_say_that_it_is_ready() {
    let mut stage = Stage::new(Policy {
        ready: ReadyWhen::Notified,
        workers: 1,
        ..policy()
    });
    assert!(stage.on(listened(0)).is_empty());
    let ready = Event::Notified {
        worker: WorkerId(0),
    };
    assert_eq!(stage.on(ready), ["steer 0", "start done"]);
}

#[test]
fn a_worker_that_says_it_is_ready_does_not_serve_before_it_listens() {
    let mut stage = Stage::new(Policy {
        ready: ReadyWhen::Notified,
        workers: 1,
        ..policy()
    });
    let ready = Event::Notified {
        worker: WorkerId(0),
    };
    assert!(stage.on(ready).is_empty());
    assert_eq!(stage.on(listened(0)), ["steer 0", "start done"]);
}

#[test]
fn a_probe_is_repeated_ever_more_slowly() {
    let mut stage = Stage::new(Policy {
        ready: ReadyWhen::Probed,
        workers: 1,
        ..policy()
    });
    stage.after(5);
    assert_eq!(stage.on(listened(0)), ["probe 0"]);
    assert_eq!(stage.after(2), ["probe 0"]);
    stage.after(1000);
    assert!(stage.after(49).is_empty());
    assert_eq!(stage.after(1), ["probe 0"]);
}

#[test]
fn a_passed_listener_serves_when_a_probe_has_seen_it_used() {
    let mut stage = Stage::new(Policy {
        workers: 1,
        ..policy()
    });
    stage.on(Event::Prepared {
        worker: WorkerId(0),
        listener: ListenerId(0),
        endpoint: endpoint(80),
    });
    assert_eq!(stage.after(1), ["probe 0"]);
    assert_eq!(stage.on(listened(0)), ["steer 0", "start done"]);
}

// ---- reload ------------------------------------------------------------------------------------

#[test]
fn a_reload_starts_flips_settles_quiesces_and_drains_in_this_order() {
    let mut stage = Stage::serving(policy());
    assert_eq!(stage.on(RELOAD), ["spawn 2", "spawn 3"]);
    assert!(stage.on(listened(2)).is_empty(), "it waits for the other");
    assert_eq!(stage.on(listened(3)), ["steer 2 3", "fence"]);
    assert_eq!(stage.on(Event::Fenced), ["backlogs 0 1"]);
    assert!(stage.on(backlog(0, 1)).is_empty());
    assert_eq!(stage.on(backlog(1, 0)), ["connections 1"]);
    assert_eq!(stage.after(1), ["backlogs 0", "connections 1"]);
    assert_eq!(stage.on(quiet(1, true)), ["signal 1"]);
    assert_eq!(stage.on(backlog(0, 0)), ["connections 0"]);
    assert_eq!(stage.on(quiet(0, true)), ["signal 0"]);
    assert_eq!(stage.on(exited(0)), ["close 0"]);
    assert_eq!(stage.on(exited(1)), ["close 1", "reload done"]);
}

/// Two old workers that have been steered away from, where connections can be rescued.
fn retiring() -> Stage {
    let mut stage = Stage::serving(Policy {
        rescue: true,
        ..policy()
    });
    stage.on(RELOAD);
    stage.on(listened(2));
    stage.on(listened(3));
    assert_eq!(stage.on(Event::Fenced), ["backlogs 0 1"]);
    stage
}

fn connections_idle(worker: u64) -> Event {
    Event::ConnectionsIdle {
        worker: WorkerId(worker),
    }
}

#[test]
fn a_worker_whose_connections_are_adopted_gets_the_stop_signal_when_none_has_a_request_in_flight() {
    let mut stage = retiring();
    assert_eq!(stage.on(backlog(0, 0)), ["adopt 0"]);
    assert_eq!(stage.on(connections_idle(0)), ["signal 0"]);
    assert!(stage.on(connections_idle(0)).is_empty(), "once is enough");
    assert!(
        stage.on(connections_idle(1)).is_empty(),
        "it has not settled yet"
    );
}

#[test]
fn a_worker_that_is_never_quiet_gets_the_stop_signal_at_the_quiet_timeout() {
    let mut stage = retiring();
    stage.on(backlog(0, 0));
    assert!(!stage.after(1999).contains(&"signal 0".to_owned()));
    assert!(stage.after(1).contains(&"signal 0".to_owned()));
}

#[test]
fn a_worker_whose_rescue_is_lost_gets_the_stop_signal_when_it_has_no_connections() {
    let mut stage = retiring();
    stage.on(backlog(0, 0));
    stage.after(500);
    let rescue_lost = |worker| Event::RescueLost {
        worker: WorkerId(worker),
    };
    assert_eq!(stage.on(rescue_lost(0)), ["connections 0"]);
    assert!(
        stage.on(connections_idle(0)).is_empty(),
        "nobody can know any more"
    );
    assert!(
        stage.on(rescue_lost(1)).is_empty(),
        "it has not settled yet"
    );
    let measured = |quiet| Event::ConnectionsMeasured {
        quiet: vec![(WorkerId(0), quiet)],
    };
    assert!(stage.on(measured(false)).is_empty());
    assert_eq!(stage.on(measured(true)), ["signal 0"]);
}

#[test]
fn a_worker_whose_rescue_is_lost_has_no_more_time_than_others() {
    let mut stage = retiring();
    stage.on(backlog(0, 0));
    stage.after(1500);
    stage.on(Event::RescueLost {
        worker: WorkerId(0),
    });
    stage.after(500);
    let busy = Event::ConnectionsMeasured {
        quiet: vec![(WorkerId(0), false)],
    };
    assert!(stage.on(busy).contains(&"signal 0".to_owned()));
}

#[test]
fn a_backlog_that_the_worker_does_not_empty_is_drained_at_the_settle_timeout() {
    let mut stage = retiring();
    stage.on(backlog(0, 3));
    stage.after(10_000);
    assert_eq!(stage.on(backlog(0, 3)), ["drain 0", "adopt 0"]);
}

#[test]
fn a_reload_that_fails_leaves_the_old_generation_serving() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    stage.on(listened(3));
    assert_eq!(stage.on(exited(2)), ["signal 3", "reload failed"]);
    assert_eq!(stage.on(exited(3)), ["close 3"]);
    assert_eq!(stage.phases(), ["0 serving", "1 serving"]);
    assert_eq!(stage.fleet.reloads(), (0, 1));
}

#[test]
fn a_new_worker_has_to_listen_where_its_predecessor_does_and_in_time() {
    let mut stage = Stage::serving(policy());
    stage.on(listened_on(0, 4, 443));
    stage.on(listened_on(1, 5, 443));
    stage.on(RELOAD);
    stage.on(listened(2));
    stage.on(listened(3));
    let effects = stage
        .fleet
        .step(Time(Duration::from_secs(60)), Event::TimePassed);
    let missing = effects.iter().find_map(|effect| match effect {
        Effect::Reply {
            result:
                ChangeResult::Failed {
                    failure: Failure::NotReady { missing, .. },
                    ..
                },
            ..
        } => Some(missing.clone()),
        _ => None,
    });
    assert_eq!(missing, Some(vec![endpoint(443)]));
}

#[test]
fn a_refused_fence_is_waited_out() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    stage.on(listened(2));
    stage.on(listened(3));
    assert!(stage.on(Event::FenceRefused).is_empty());
    assert!(stage.after(99).is_empty());
    assert_eq!(stage.after(1), ["backlogs 0 1"]);
}

#[test]
fn a_worker_that_does_not_settle_become_quiet_or_exit_is_waited_for_until_each_timeout() {
    let mut stage = Stage::serving(policy());
    stage.on(scale(1));
    assert_eq!(stage.on(Event::Fenced), ["backlogs 1"]);
    stage.after(9_999);
    assert!(stage.on(backlog(1, 1)).is_empty());
    stage.after(1);
    assert_eq!(stage.on(backlog(1, 1)), ["connections 1"]);
    stage.after(1_999);
    assert!(stage.on(quiet(1, false)).is_empty());
    stage.after(1);
    assert_eq!(stage.on(quiet(1, false)), ["signal 1"]);
    assert!(stage.after(29_999).is_empty());
    assert_eq!(stage.after(1), ["kill 1"]);
    assert_eq!(stage.on(exited(1)), ["close 1", "scale done"]);
}

#[test]
fn without_steering_new_workers_share_the_sockets_and_the_old_get_the_stop_signal_at_the_flip() {
    let mut stage = Stage::serving(Policy {
        steering: false,
        ..policy()
    });
    assert_eq!(stage.on(RELOAD), ["spawn 2 on 0", "spawn 3 on 1"]);
    stage.on(listened_on(2, 0, 80));
    let flip = stage.on(listened_on(3, 1, 80));
    assert_eq!(flip, ["signal 0", "signal 1"]);
    assert!(stage.on(exited(0)).is_empty(), "its socket is in use");
    assert_eq!(stage.on(exited(1)), ["reload done"]);
}

// ---- one at a time -----------------------------------------------------------------------------

#[test]
fn a_client_is_denied_while_a_change_is_under_way() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    assert_eq!(stage.on(RELOAD), ["denied: reload"]);
    assert_eq!(stage.on(scale(3)), ["denied: reload"]);
    assert_eq!(stage.on(restart(0)), ["denied: reload"]);
}

#[test]
fn a_new_request_is_accepted_once_the_old_workers_have_the_stop_signal() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    stage.on(listened(2));
    stage.on(listened(3));
    stage.retire(&[0, 1]);
    assert_eq!(stage.on(RELOAD), ["spawn 4", "spawn 5"]);
}

#[test]
fn pending_signals_are_obeyed_after_the_change_and_the_scale_first() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    assert_eq!(stage.on(patient_reload(None)), ["reload waits: reload"]);
    let fewer = Event::ScaleRequested {
        reply_to: None,
        to: ScaleTo::By(-1),
    };
    stage.on(fewer);
    assert_eq!(
        stage.on(exited(2)),
        ["signal 3", "reload failed", "steer 0", "fence"]
    );
    stage.on(Event::Fenced);
    stage.on(backlog(1, 0));
    assert_eq!(stage.on(quiet(1, true)), ["signal 1", "spawn 4"]);
}

#[test]
fn clients_that_wait_their_turn_have_a_reload_each_in_their_order() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    let others = [Some(ClientId(8)), Some(ClientId(9))];
    for client in others {
        assert_eq!(stage.on(patient_reload(client)), ["reload waits: reload"]);
    }
    // A signal's reload is one of theirs.
    stage.on(patient_reload(None));
    for (number, client) in (2..).step_by(2).zip([ME].into_iter().chain(others)) {
        let began = stage.reload_of();
        assert_eq!(began, Some(client));
        let failed = stage.on(exited(number));
        assert!(failed.contains(&"reload failed".to_owned()), "{failed:?}");
    }
    assert_eq!(stage.reload_of(), None);
}

#[test]
fn who_waits_for_a_turn_hears_that_none_comes() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    stage.on(patient_reload(Some(ClientId(8))));
    let stopped = stage.on(stop(false));
    assert!(
        stopped.contains(&"denied: stopping".to_owned()),
        "{stopped:?}"
    );
}

#[test]
fn a_pending_reload_runs_at_once_after_a_pending_scale_that_is_denied() {
    let mut stage = Stage::serving(Policy {
        most_workers: 2,
        ..policy()
    });
    stage.on(RELOAD);
    stage.on(patient_reload(None));
    stage.on(Event::ScaleRequested {
        reply_to: None,
        to: ScaleTo::By(1),
    });
    let after = stage.on(exited(2));
    assert_eq!(
        after,
        [
            "signal 3",
            "reload failed",
            "denied: 3 workers",
            "spawn 4",
            "spawn 5"
        ]
    );
}

// ---- scale and restart -------------------------------------------------------------------------

#[test]
fn more_workers_serve_when_all_of_them_are_ready() {
    let mut stage = Stage::serving(policy());
    assert_eq!(stage.on(scale(4)), ["spawn 2", "spawn 3"]);
    assert!(stage.on(listened(2)).is_empty());
    assert_eq!(stage.on(listened(3)), ["steer 0 1 2 3", "scale done"]);
    assert_eq!(stage.fleet.workers_wanted(), 4);
}

#[test]
fn a_further_worker_must_listen_on_the_common_endpoints() {
    let mut stage = Stage::serving(policy());
    stage.on(listened_on(0, 4, 443));
    stage.on(listened_on(1, 5, 443));
    stage.on(listened_on(1, 6, 9001));
    stage.on(scale(3));
    assert!(stage.on(listened(2)).is_empty());
    assert!(!stage.on(listened_on(2, 7, 443)).is_empty());
}

#[test]
fn fewer_workers_means_that_the_last_slots_retire() {
    let mut stage = Stage::serving(policy());
    assert_eq!(stage.on(scale(1)), ["steer 0", "fence"]);
    assert_eq!(stage.phases(), ["0 serving", "1 settling"]);
}

#[test]
fn no_workers_and_too_many_are_denied() {
    let mut stage = Stage::serving(policy());
    assert_eq!(stage.on(scale(0)), ["denied: 0 workers"]);
    assert_eq!(stage.on(scale(9)), ["denied: 9 workers"]);
}

#[test]
fn a_restart_replaces_one_worker_as_a_reload_does_all() {
    let mut stage = Stage::serving(policy());
    assert_eq!(stage.on(restart(5)), ["denied: no worker 5"]);
    assert_eq!(stage.on(restart(1)), ["spawn 2"]);
    assert_eq!(stage.on(listened(2)), ["steer 0 2", "fence"]);
    stage.retire(&[1]);
    assert_eq!(stage.on(exited(1)), ["close 1", "restart done"]);
}

// ---- crashes -----------------------------------------------------------------------------------

#[test]
fn a_crashed_worker_is_steered_away_from_and_its_replacement_gets_its_listener() {
    let mut stage = Stage::serving(policy());
    assert_eq!(stage.on(exited(0)), ["steer 1", "spawn 2 on 0"]);
    assert_eq!(stage.on(listened_on(2, 0, 80)), ["steer 0 1"]);
}

#[test]
fn a_second_crash_waits_before_the_next_start() {
    let mut stage = Stage::serving(policy());
    stage.on(exited(0));
    assert!(stage.on(exited(2)).is_empty());
    assert_eq!(stage.phases(), ["2 waiting", "1 serving"]);
    assert!(stage.after(99).is_empty());
    assert_eq!(stage.after(1), ["spawn 3 on 0"]);
}

#[test]
fn a_replacement_that_is_not_ready_in_time_is_killed_and_serves_no_more() {
    let mut stage = Stage::serving(policy());
    stage.on(exited(0));
    assert_eq!(stage.after(60_000), ["kill 2"]);
    assert!(stage.on(listened_on(2, 0, 80)).is_empty());
    // The first crash is a whole window ago.
    assert_eq!(stage.on(exited(2)), ["spawn 3 on 0"]);
}

fn crash_loop(stage: &mut Stage) -> Vec<String> {
    stage.on(exited(0));
    stage.on(exited(2));
    stage.after(100);
    stage.on(exited(3))
}

#[test]
fn a_slot_whose_workers_die_too_often_is_given_up_and_the_others_serve_on() {
    let mut stage = Stage::serving(policy());
    assert_eq!(crash_loop(&mut stage), ["close 0"]);
    assert_eq!(stage.phases(), ["3 given-up", "1 serving"]);
    assert_eq!(stage.fleet.next_deadline(), None);
}

#[test]
fn the_last_worker_that_serves_is_not_scaled_away() {
    let mut stage = Stage::serving(policy());
    crash_loop(&mut stage);
    let fewer = Event::ScaleRequested {
        reply_to: None,
        to: ScaleTo::Exactly(1),
    };
    assert_eq!(stage.on(fewer), ["denied: none of 1"]);
    assert_eq!(stage.phases(), ["3 given-up", "1 serving"]);
}

#[test]
fn a_crash_loop_can_be_made_to_end_everything() {
    let mut stage = Stage::serving(Policy {
        crash_loop_ends_all: true,
        ..policy()
    });
    let ends = ["close 0", "keep out", "steer", "fence"];
    assert_eq!(crash_loop(&mut stage), ends);
    stage.retire(&[1]);
    assert_eq!(stage.on(exited(1)), ["close 1", "finish: CrashLoop"]);
}

#[test]
fn when_the_last_slot_is_given_up_everything_ends() {
    let mut stage = Stage::serving(Policy {
        max_restarts: 0,
        ..policy()
    });
    assert_eq!(stage.on(exited(0)), ["steer 1", "close 0"]);
    assert_eq!(
        stage.on(exited(1)),
        [
            "steer",
            "close 1",
            "keep out",
            "refuse",
            "finish: CrashLoop"
        ]
    );
}

#[test]
fn a_reload_that_fails_when_every_slot_is_given_up_ends_everything() {
    let mut stage = Stage::serving(Policy {
        max_restarts: 0,
        ..policy()
    });
    stage.on(RELOAD);
    stage.on(exited(0));
    stage.on(exited(1));
    stage.on(exited(2));
    assert_eq!(stage.on(exited(3)), ["finish: CrashLoop"]);
}

#[test]
fn a_slot_that_was_given_up_can_be_restarted() {
    let mut stage = Stage::serving(policy());
    crash_loop(&mut stage);
    assert_eq!(stage.on(restart(3)), ["spawn 4"]);
    assert_eq!(stage.on(listened(4)), ["steer 1 4", "restart done"]);
    assert_eq!(stage.phases(), ["4 serving", "1 serving"]);
}

#[test]
fn a_restart_of_an_empty_slot_that_fails_leaves_it_as_it_was() {
    let mut stage = Stage::serving(policy());
    stage.on(exited(0));
    stage.on(exited(2));
    assert_eq!(stage.on(restart(2)), ["spawn 3 on 0"]);
    assert_eq!(stage.on(exited(3)), ["restart failed"]);
    assert_eq!(stage.phases(), ["2 waiting", "1 serving"]);
    assert_eq!(stage.after(100), ["spawn 4 on 0"], "with what was kept");
}

#[test]
fn a_replacement_of_a_worker_that_crashed_before_the_flip_only_drains_the_backlog() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    stage.on(exited(0));
    stage.on(listened(2));
    assert_eq!(stage.on(listened(3)), ["steer 2 3", "fence"]);
    assert_eq!(stage.on(listened_on(4, 0, 80)), ["fence"]);
    assert_eq!(
        stage.phases(),
        ["2 serving", "4 settling", "1 settling", "3 serving"]
    );
}

#[test]
fn the_backlog_of_a_drain_only_worker_that_dies_is_drained_by_a_rescuer() {
    let mut stage = Stage::serving(Policy {
        rescue: true,
        ..policy()
    });
    stage.on(RELOAD);
    stage.on(exited(0));
    stage.on(listened(2));
    stage.on(listened(3));
    assert_eq!(stage.on(exited(4)), ["drain 4", "close 0"]);
}

#[test]
fn a_drain_only_worker_stays_in_the_retirement_of_the_reload_that_left_it() {
    let mut stage = Stage::serving(Policy {
        steering: false,
        ..policy()
    });
    stage.on(exited(0));
    stage.on(RELOAD);
    stage.on(listened_on(3, 0, 80));
    assert_eq!(stage.on(listened_on(4, 1, 80)), ["signal 1"]);
    stage.on(exited(1));
    assert_eq!(stage.after(60_000), ["kill 2"]);
    // It is still here when the next reload flips.
    assert_eq!(stage.on(RELOAD), ["spawn 5 on 0", "spawn 6 on 1"]);
    stage.on(listened_on(5, 0, 80));
    assert_eq!(stage.on(listened_on(6, 1, 80)), ["signal 3", "signal 4"]);
    assert_eq!(stage.on(exited(2)), ["reload done"], "the first one");
    stage.on(exited(3));
    assert_eq!(stage.on(exited(4)), ["reload done"], "the second one");
}

#[test]
fn a_drain_only_worker_needs_no_other_endpoint() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    stage.on(exited(0));
    for new in [2, 3] {
        stage.on(listened_on(new, new + 10, 443));
        stage.on(listened(new));
    }
    // The new generation serves 443 too; the replacement of the old one does not.
    assert_eq!(stage.on(listened_on(4, 0, 80)), ["fence"]);
}

#[test]
fn a_new_worker_must_also_listen_on_what_was_kept_for_a_replacement() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    stage.on(exited(0));
    stage.on(exited(1));
    assert!(stage.on(listened_on(2, 8, 81)).is_empty());
    assert!(!stage.phases().contains(&"2 ready".to_owned()));
}

#[test]
fn a_reload_of_a_given_up_slot_must_listen_on_the_common_endpoints() {
    let mut stage = Stage::serving(Policy {
        max_restarts: 0,
        ..policy()
    });
    stage.on(scale(3));
    stage.on(listened(2));
    for old in [1, 2] {
        stage.on(listened_on(old, old + 10, 443));
    }
    stage.on(exited(0));
    stage.on(RELOAD);
    stage.on(listened(3));
    assert!(!stage.phases().contains(&"3 ready".to_owned()));
    stage.on(listened_on(3, 13, 443));
    assert!(stage.phases().contains(&"3 ready".to_owned()));
}

// ---- stop --------------------------------------------------------------------------------------

#[test]
fn a_stop_keeps_out_settles_refuses_quiesces_and_drains_in_this_order() {
    let mut stage = Stage::serving(policy());
    assert_eq!(stage.on(stop(false)), ["keep out", "steer", "fence"]);
    assert_eq!(stage.on(RELOAD), ["denied: stopping"]);
    assert_eq!(stage.on(Event::Fenced), ["backlogs 0 1"]);
    assert!(
        stage
            .on(backlog(0, 0))
            .contains(&"connections 0".to_owned()),
        "the other may have a handshake"
    );
    assert!(stage.on(quiet(0, false)).is_empty());
    assert_eq!(stage.on(backlog(1, 0)), ["refuse", "connections 1"]);
    assert_eq!(stage.on(quiet(0, true)), ["signal 0"]);
    assert_eq!(stage.on(quiet(1, true)), ["signal 1"]);
    assert_eq!(stage.on(exited(0)), ["close 0"]);
    assert_eq!(
        stage.on(exited(1)),
        ["close 1", "stopped", "finish: Stopped"]
    );
    assert!(stage.on(Event::TimePassed).is_empty());
}

#[test]
fn a_stop_serves_on_for_a_while_if_that_is_wanted_and_a_second_stop_changes_nothing() {
    let mut stage = Stage::serving(Policy {
        pre_stop: Duration::from_secs(5),
        ..policy()
    });
    assert_eq!(stage.on(stop(false)), [""; 0]);
    assert_eq!(stage.after(4999), [""; 0]);
    assert_eq!(stage.on(stop(false)), [""; 0]);
    assert_eq!(stage.after(1), ["keep out", "steer", "fence"]);
}

#[test]
fn an_interrupt_kills_where_the_end_was_asked_for_before() {
    let killed = ["signal 0", "signal 1", "kill 0", "kill 1"];
    let mut waiting = Stage::serving(Policy {
        pre_stop: Duration::from_secs(5),
        ..policy()
    });
    assert_eq!(waiting.on(interrupt()), [""; 0]);
    assert_eq!(waiting.on(interrupt()), killed);
    let mut draining = Stage::serving(policy());
    draining.on(interrupt());
    draining.retire(&[0]);
    assert_eq!(
        draining.on(interrupt()),
        ["signal 1", "kill 0", "kill 1"],
        "one was told already"
    );
}

#[test]
fn an_empty_slot_wakes_nobody_once_the_stop_is_asked_for() {
    let mut stage = Stage::serving(Policy {
        pre_stop: Duration::from_secs(5),
        ..policy()
    });
    stage.on(exited(0));
    stage.on(exited(2));
    stage.on(stop(false));
    assert_eq!(
        stage.fleet.next_deadline(),
        Some(Time(Duration::from_secs(5)))
    );
    assert_eq!(
        stage.after(5_000),
        ["close 0", "keep out", "steer", "fence"]
    );
}

#[test]
fn a_stop_now_kills() {
    let mut stage = Stage::serving(policy());
    assert_eq!(
        stage.on(stop(true)),
        ["signal 0", "signal 1", "kill 0", "kill 1"]
    );
}

#[test]
fn a_stop_during_a_reload_fails_it() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    assert_eq!(
        stage.on(stop(false)),
        [
            "signal 2",
            "signal 3",
            "reload failed",
            "keep out",
            "steer",
            "fence"
        ]
    );
}

#[test]
fn without_a_drain_timeout_a_worker_is_killed_at_once_after_the_stop_signal() {
    let mut stage = Stage::serving(Policy {
        drain_timeout: Duration::ZERO,
        pre_stop: Duration::from_secs(1),
        ..policy()
    });
    stage.on(stop(false));
    stage.after(1_000);
    stage.on(Event::Fenced);
    stage.on(backlog(0, 0));
    assert_eq!(stage.on(quiet(0, true)), ["signal 0", "kill 0"]);
}

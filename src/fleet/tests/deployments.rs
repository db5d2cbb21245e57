//! What a reload reads, and what is in effect when it has succeeded, failed, or was taken back.

use super::*;

/// What is in effect, by what was done: the last that was applied.
fn applied(effects: &[Effect]) -> Option<u64> {
    effects.iter().rev().find_map(|effect| match effect {
        Effect::Apply { deployment } => Some(deployment.0),
        _ => None,
    })
}

/// What each started worker is made by.
fn made_by(effects: &[Effect]) -> Vec<(u64, u64)> {
    let spawned = effects.iter().filter_map(|effect| match effect {
        Effect::Spawn(spawn) => Some((spawn.worker.0, spawn.deployment.0)),
        _ => None,
    });
    spawned.collect()
}

/// The same event for several workers.
fn each(stage: &mut Stage, workers: &[u64], event: fn(u64) -> Event) {
    for worker in workers {
        stage.on(event(*worker));
    }
}

fn asked(deployment: u64, if_busy: IfBusy) -> Event {
    Event::ReloadRequested {
        reply_to: ME,
        if_busy,
        reload: Reload {
            deployment: DeploymentId(deployment),
            addresses: Addresses::Owed,
            canary: None,
        },
    }
}

fn read(deployment: u64, policy: Policy) -> Event {
    Event::DeploymentRead {
        deployment: DeploymentId(deployment),
        policy: Ok(Box::new(policy)),
    }
}

/// Asks for a reload and reads this for it.
fn reloads(stage: &mut Stage, deployment: u64, policy: Policy) -> Vec<Effect> {
    stage.fleet.step(stage.now, asked(deployment, IfBusy::Deny));
    stage.fleet.step(stage.now, read(deployment, policy))
}

#[test]
fn nothing_begins_before_it_is_read() {
    let mut stage = Stage::serving(policy());
    assert_eq!(stage.on_unanswered(RELOAD), ["read 1"]);
    assert_eq!(stage.on_unanswered(RELOAD), ["denied: reload"]);
    assert_eq!(stage.on(restart(0)), ["denied: reload"]);
    assert_eq!(stage.fleet.phase_name(), "reloading");
    // A crash is what it always is.
    assert_eq!(stage.on(exited(0)), ["steer 1", "spawn 2 on 0"]);
    stage.on(listened(0));
    assert_eq!(
        stage.on_unanswered(read(1, policy())),
        ["spawn 3", "spawn 4"]
    );
    // It is read once.
    assert!(stage.on_unanswered(read(1, policy())).is_empty());
}

#[test]
fn what_makes_no_sense_changes_nothing() {
    let mut stage = Stage::serving(policy());
    stage.on_unanswered(RELOAD);
    let nonsense = Event::DeploymentRead {
        deployment: DeploymentId(1),
        policy: Err("line 1".to_owned()),
    };
    assert_eq!(stage.on(nonsense), ["reload failed"]);
    assert_eq!(stage.fleet.reloads(), (0, 1));
    assert_eq!(stage.phases(), ["0 serving", "1 serving"]);
    assert_eq!(stage.on(RELOAD), ["spawn 2", "spawn 3"]);
}

#[test]
fn a_stop_denies_a_reload_that_is_being_read() {
    let mut stage = Stage::serving(policy());
    stage.on_unanswered(RELOAD);
    let stop = Event::StopRequested {
        reply_to: None,
        how: StopHow::Drain,
    };
    assert!(stage.on(stop).contains(&"denied: stopping".to_owned()));
    assert!(stage.on_unanswered(read(1, policy())).is_empty());
}

#[test]
fn what_waits_its_turn_is_read_when_it_begins() {
    let mut stage = Stage::serving(policy());
    stage.on_unanswered(asked(1, IfBusy::Wait));
    let waits = stage.on_unanswered(asked(2, IfBusy::Wait));
    assert_eq!(waits, ["reload waits: reload"]);
    assert!(stage.fleet.deployments().contains(&DeploymentId(2)));
    stage.on_unanswered(read(1, policy()));
    assert!(
        stage
            .on_unanswered(exited(2))
            .contains(&"read 2".to_owned())
    );
    let ids: Vec<u64> = stage.fleet.deployments().iter().map(|id| id.0).collect();
    assert_eq!(ids, [0, 1, 2]);
}

#[test]
fn a_worker_is_made_by_what_its_generation_is_made_by() {
    let mut stage = Stage::serving(policy());
    let effects = reloads(&mut stage, 1, policy());
    assert_eq!(made_by(&effects), [(2, 1), (3, 1)]);
    // A replacement in the old generation.
    let effects = stage.fleet.step(stage.now, exited(0));
    assert_eq!(made_by(&effects), [(4, 0)]);
    stage.on(listened(0));
    stage.on(listened_on(2, 2, 80));
    stage.on(listened_on(3, 3, 80));
    let effects = stage.fleet.step(stage.now, exited(2));
    assert!(made_by(&effects).iter().all(|(_, by)| *by == 1));
}

#[test]
fn after_a_failure_what_was_in_effect_is_so_again() {
    let mut stage = Stage::serving(policy());
    let slow = Policy {
        max_restarts: 7,
        ..policy()
    };
    let effects = reloads(&mut stage, 1, slow);
    assert_eq!(applied(&effects), Some(1));
    let effects = stage.fleet.step(stage.now, exited(2));
    assert_eq!(applied(&effects), Some(0));
    assert_eq!(stage.on(ROLLBACK), ["denied: nothing to roll back"]);
}

#[test]
fn after_a_flip_back_what_was_in_effect_is_so_again() {
    let soaks = Policy {
        soak: Duration::from_secs(10),
        ..policy()
    };
    let mut stage = Stage::serving(policy());
    reloads(&mut stage, 1, soaks);
    stage.on(listened(2));
    stage.on(listened(3));
    assert_eq!(stage.fleet.phase_name(), "soaking");
    let effects = stage.fleet.step(stage.now, exited(2));
    assert_eq!(applied(&effects), Some(0));
}

const ROLLBACK: Event = Event::RollbackRequested { reply_to: ME };

/// Both new workers serve, and both old ones have gone.
fn done(stage: &mut Stage, old: [u64; 2], new: [u64; 2]) {
    each(stage, &new, listened);
    stage.retire(&old);
    each(stage, &old, exited);
    assert_eq!(stage.fleet.phase_name(), "serving");
}

#[test]
fn a_roll_back_starts_what_served_before_and_another_one_goes_forth_again() {
    let mut stage = Stage::serving(policy());
    assert_eq!(stage.on(ROLLBACK), ["denied: nothing to roll back"]);
    reloads(&mut stage, 1, policy());
    done(&mut stage, [0, 1], [2, 3]);
    let effects = stage.fleet.step(stage.now, ROLLBACK);
    assert_eq!(made_by(&effects), [(4, 0), (5, 0)]);
    assert_eq!(stage.generation_of(4), 3);
    done(&mut stage, [2, 3], [4, 5]);
    let effects = stage.fleet.step(stage.now, ROLLBACK);
    assert_eq!(made_by(&effects), [(6, 1), (7, 1)]);
}

#[test]
fn a_reload_may_change_the_number_of_workers() {
    let with = |workers| Policy {
        workers,
        ..policy()
    };
    let mut stage = Stage::serving(policy());
    let effects = reloads(&mut stage, 1, with(3));
    assert_eq!(made_by(&effects).len(), 3);
    assert_eq!(stage.fleet.workers_wanted(), 2);
    each(&mut stage, &[2, 3, 4], listened);
    assert_eq!(stage.fleet.workers_wanted(), 3);
    stage.retire(&[0, 1]);
    each(&mut stage, &[0, 1], exited);

    // Who has asked for another number is not overruled by the same file.
    stage.on(scale(4));
    stage.on(listened(5));
    let effects = reloads(&mut stage, 2, with(3));
    assert_eq!(made_by(&effects).len(), 4);
    each(&mut stage, &[6, 7, 8, 9], listened);
    stage.retire(&[2, 3, 4, 5]);
    each(&mut stage, &[2, 3, 4, 5], exited);

    let effects = reloads(&mut stage, 3, with(1));
    assert_eq!(made_by(&effects).len(), 1);
    assert_eq!(stage.on(listened(10)), ["steer 10", "fence"]);
    assert_eq!(stage.fleet.workers_wanted(), 1);
}

#[test]
fn a_rolling_reload_to_fewer_workers_keeps_to_the_bounds_around_both_numbers() {
    let rolling = |workers| Policy {
        workers,
        strategy: Strategy::Rolling(Bounds {
            surge: Share::Count(1),
            unavailable: Share::Count(0),
        }),
        ..policy()
    };
    let mut stage = Stage::new(rolling(3));
    each(&mut stage, &[0, 1, 2], listened);
    let effects = reloads(&mut stage, 1, rolling(1));
    assert_eq!(made_by(&effects), [(3, 1)]);
    stage.on(listened(3));
    for old in 0..3 {
        stage.retire(&[old]);
        stage.on(exited(old));
    }
    assert_eq!(stage.phases(), ["3 serving"]);
    assert_eq!(stage.fleet.phase_name(), "serving");
}

#[test]
fn what_is_denied_is_not_in_effect() {
    let unsteered = Policy {
        steering: false,
        ..policy()
    };
    let mut stage = Stage::serving(unsteered.clone());
    stage.on_unanswered(canary(1, 10, None));
    let effects = stage.fleet.step(stage.now, read(1, unsteered));
    let done: Vec<String> = effects.iter().filter_map(brief).collect();
    assert_eq!(done, ["denied: not steered"]);
    assert_eq!(applied(&effects), Some(0));
}

#[test]
fn a_worker_is_ready_by_what_its_generation_is_ready_by() {
    let ready = |ready| Policy { ready, ..policy() };
    let mut stage = Stage::new(ready(ReadyWhen::Notified));
    let notified = |worker| Event::Notified {
        worker: WorkerId(worker),
    };
    for worker in [0, 1] {
        stage.on(listened(worker));
        stage.on(notified(worker));
    }
    reloads(&mut stage, 1, ready(ReadyWhen::Listening));
    // A replacement in the old generation has to say so, and is heard.
    stage.on(exited(0));
    stage.on(listened_on(4, 0, 80));
    assert!(stage.phases().contains(&"4 starting".to_owned()));
    stage.on(notified(4));
    assert!(stage.phases().contains(&"4 serving".to_owned()));
    each(&mut stage, &[2, 3], listened);
    assert!(stage.phases().contains(&"2 serving".to_owned()));
}

#[test]
fn an_old_worker_is_probed_as_its_generation_is() {
    let ready = |ready| Policy { ready, ..policy() };
    let mut stage = Stage::new(ready(ReadyWhen::Probed));
    let probed = |worker| Event::Probed {
        worker: WorkerId(worker),
    };
    for worker in [0, 1] {
        stage.on(listened(worker));
        stage.on(probed(worker));
    }
    reloads(&mut stage, 1, ready(ReadyWhen::Listening));
    stage.on(exited(0));
    stage.on(listened_on(4, 0, 80));
    stage.now = stage.now.plus(Duration::from_secs(1));
    let effects = stage.fleet.step(stage.now, Event::TimePassed);
    let kinds: Vec<ProbeKind> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Probe(probe) => Some(probe.kind),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, [ProbeKind::Http]);
}

#[test]
fn a_crash_counts_for_as_long_as_is_in_effect() {
    let short = Policy {
        restart_window: Duration::from_secs(1),
        ..policy()
    };
    let mut stage = Stage::serving(policy());
    reloads(&mut stage, 1, short);
    done(&mut stage, [0, 1], [2, 3]);
    let restarts = |stage: &Stage| stage.fleet.view(stage.now)[0].restarts;
    stage.on(exited(2));
    assert_eq!(restarts(&stage), 1);
    stage.after(1_001);
    assert_eq!(restarts(&stage), 0);
}

#[test]
fn what_is_not_read_in_time_is_not_waited_for() {
    let mut stage = Stage::serving(policy());
    stage.on_unanswered(RELOAD);
    assert!(stage.after(59_999).is_empty());
    assert_eq!(stage.after(1), ["reload failed"]);
    assert_eq!(stage.fleet.phase_name(), "serving");
    // It comes after all, and nobody waits for it.
    assert!(stage.on_unanswered(read(1, policy())).is_empty());
    assert_eq!(stage.on(scale(3)), ["spawn 2"]);
}

/// What has failed cannot be undone: the worker that it has brought serves on, and its successor is ready as it was.
#[test]
fn who_serves_on_after_a_failed_undoing_is_replaced_by_its_like() {
    let rolling = |ready| Policy {
        ready,
        max_restarts: 8,
        strategy: Strategy::Rolling(Bounds {
            surge: Share::Count(1),
            unavailable: Share::Count(0),
        }),
        ..policy()
    };
    let mut stage = Stage::serving(rolling(ReadyWhen::Listening));
    reloads(&mut stage, 1, rolling(ReadyWhen::Notified));
    let notified = |worker| Event::Notified {
        worker: WorkerId(worker),
    };
    stage.on(listened(2));
    stage.on(notified(2));
    stage.retire(&[0]);
    assert_eq!(stage.on(exited(0)), ["close 0", "spawn 3"]);
    assert_eq!(stage.on(exited(3)), ["reload failed", "spawn 4"]);
    assert_eq!(stage.on(exited(4)), ["rollback failed"]);
    assert_eq!(stage.on(exited(2)), ["steer 1", "spawn 5 on 2"]);
    assert_eq!(stage.generation_of(5), 2);
    assert!(stage.on(listened_on(5, 2, 80)).is_empty());
    assert_eq!(stage.on(notified(5)), ["steer 1 2"]);
}

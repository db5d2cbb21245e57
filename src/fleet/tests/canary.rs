//! Some new workers serve first, for a share of the new connections.

use super::*;

const PROMOTE: Event = Event::PromoteRequested { reply_to: ME };
const PAUSE: Event = Event::PauseRequested { reply_to: ME };
const ROLLBACK: Event = Event::RollbackRequested { reply_to: ME };

/// Worker 2 is on trial beside 0 and 1, for 30 seconds.
fn on_trial() -> Stage {
    let mut stage = Stage::serving(policy());
    assert_eq!(stage.on(canary(1, 10, Some(30))), ["spawn 2"]);
    // Two others have 90 of a hundred, so each has 45.
    assert_eq!(stage.on(listened(2)), ["steer 0*90 1*90 2*20"]);
    assert_eq!(stage.phases(), ["0 serving", "2 serving", "1 serving"]);
    stage
}

#[test]
fn the_rest_follows_when_the_trial_is_over() {
    let mut stage = on_trial();
    assert_eq!(stage.after(30_000), ["spawn 3"]);
    assert_eq!(stage.on(listened(3)), ["steer 2 3", "fence"]);
    stage.retire(&[0, 1]);
    stage.on(exited(0));
    assert_eq!(stage.on(exited(1)), ["close 1", "reload done"]);
}

#[test]
fn a_trial_without_an_end_waits_to_be_promoted() {
    let mut stage = Stage::serving(policy());
    stage.on(canary(1, 10, None));
    stage.on(listened(2));
    assert!(stage.after(86_400_000).is_empty());
    assert_eq!(stage.on(PROMOTE), ["spawn 3", "promoted"]);
    assert_eq!(stage.on(PROMOTE), ["denied: nothing to promote"]);
}

#[test]
fn a_pause_takes_its_end_away() {
    let mut stage = on_trial();
    assert_eq!(stage.on(PAUSE), ["paused"]);
    assert!(stage.after(60_000).is_empty());
    assert_eq!(stage.on(PROMOTE), ["spawn 3", "promoted"]);
    assert_eq!(stage.on(PAUSE), ["denied: nothing to pause"]);
}

#[test]
fn its_end_withdraws_it() {
    let mut stage = on_trial();
    assert_eq!(
        stage.on(exited(2)),
        ["steer 0 1", "reload failed", "close 2"]
    );
    assert_eq!(stage.phases(), ["0 serving", "1 serving"]);
    assert!(stage.after(60_000).is_empty());
    assert_eq!(stage.on(RELOAD), ["spawn 3", "spawn 4"]);
}

#[test]
fn the_others_on_trial_retire_like_any_other() {
    let mut stage = Stage::serving(policy());
    stage.on(canary(2, 50, None));
    stage.on(listened(2));
    stage.on(listened(3));
    assert_eq!(
        stage.on(exited(2)),
        ["steer 0 1", "fence", "reload failed", "close 2"]
    );
    let phases = ["0 serving", "1 serving", "3 settling"];
    assert_eq!(stage.phases(), phases);
}

#[test]
fn a_rollback_withdraws_it_and_is_told_when_it_is_gone() {
    let mut stage = on_trial();
    assert_eq!(stage.on(ROLLBACK), ["steer 0 1", "fence", "reload failed"]);
    stage.retire(&[2]);
    assert_eq!(stage.on(exited(2)), ["close 2", "rollback done"]);
}

#[test]
fn a_rollback_before_the_trial_stops_who_starts() {
    let mut stage = Stage::serving(policy());
    stage.on(canary(1, 10, None));
    assert_eq!(
        stage.on(ROLLBACK),
        ["signal 2", "reload failed", "rollback done"]
    );
}

#[test]
fn one_of_the_rest_that_fails_withdraws_those_that_were_tried() {
    let mut stage = on_trial();
    stage.on(PROMOTE);
    assert_eq!(stage.on(exited(3)), ["steer 0 1", "fence", "reload failed"]);
    assert_eq!(stage.phases(), ["0 serving", "2 settling", "1 serving"]);
}

#[test]
fn an_old_worker_that_crashes_meanwhile_is_replaced_by_an_old_one() {
    let mut stage = on_trial();
    assert_eq!(stage.on(exited(0)), ["steer 1*90 2*10", "spawn 3 on 0"]);
    assert_eq!(stage.generation_of(3), 1);
    assert_eq!(stage.on(listened(3).clone()), Vec::<String>::new());
}

#[test]
fn a_stop_meanwhile_ends_it_as_gently_as_the_others() {
    let mut stage = on_trial();
    let done = stage.on(stop(false));
    assert_eq!(done, ["reload failed", "keep out", "steer", "fence"]);
    let phases = ["0 settling", "2 settling", "1 settling"];
    assert_eq!(stage.phases(), phases);
}

#[test]
fn without_steering_there_is_no_share() {
    let mut stage = Stage::serving(Policy {
        steering: false,
        ..policy()
    });
    assert_eq!(stage.on(canary(1, 10, None)), ["denied: not steered"]);
}

#[test]
fn while_rolling_it_is_one_of_the_surge() {
    let rolling = |surge| Policy {
        strategy: crate::fleet::Strategy::Rolling(Bounds {
            surge: Share::Count(surge),
            unavailable: Share::Count(1),
        }),
        ..policy()
    };
    let mut stage = Stage::serving(rolling(0));
    assert_eq!(stage.on(canary(1, 10, None)), ["denied: 1 together"]);
    let mut stage = Stage::serving(rolling(1));
    assert_eq!(stage.on(canary(1, 10, None)), ["spawn 2"]);
    stage.on(listened(2));
    // Its slot is the first that is replaced.
    assert_eq!(stage.on(PROMOTE)[0], "steer 1 2");
}

/// Slot 1 is empty, and not wanted any more: nothing is tried there.
#[test]
fn a_worker_that_is_wanted_is_tried() {
    let mut stage = Stage::serving(Policy {
        max_restarts: 0,
        ..policy()
    });
    stage.on(exited(1));
    stage.policy.workers = 1;
    assert_eq!(stage.on(canary(1, 10, None)), ["spawn 2"]);
    assert_eq!(stage.phases(), ["0 serving", "2 starting", "1 given-up"]);
}

/// Nor does such a slot take up room.
#[test]
fn a_slot_that_is_not_wanted_does_not_hold_up_a_trial() {
    let mut stage = Stage::new(Policy {
        workers: 3,
        strategy: crate::fleet::Strategy::Rolling(Bounds {
            surge: Share::Count(1),
            unavailable: Share::Count(0),
        }),
        ..policy()
    });
    (0..3).for_each(|id| drop(stage.on(listened(id))));
    stage.on(exited(2));
    // It waits for its next worker.
    stage.on(exited(3));
    stage.policy.workers = 2;
    assert_eq!(stage.on(canary(1, 10, None)), ["spawn 4"]);
}

//! Replaced workers stand by while the new ones prove themselves.

use super::*;

const PROMOTE: Event = Event::PromoteRequested { reply_to: ME };
const ROLLBACK: Event = Event::RollbackRequested { reply_to: ME };

fn soaking_with(policy: Policy) -> Stage {
    let mut stage = Stage::serving(Policy {
        soak: Duration::from_secs(10),
        ..policy
    });
    stage.on(RELOAD);
    stage.on(listened(2));
    assert_eq!(stage.on(listened(3)), ["steer 2 3"]);
    assert_eq!(stage.phases(), STANDING_BY);
    stage
}

const STANDING_BY: [&str; 4] = ["0 standing-by", "2 serving", "1 standing-by", "3 serving"];

/// Workers 2 and 3 have replaced 0 and 1, which stand by.
fn soaking() -> Stage {
    soaking_with(policy())
}

#[test]
fn replaced_workers_are_settled_when_the_soak_is_over() {
    let mut stage = soaking();
    assert!(stage.after(9_999).is_empty());
    assert_eq!(stage.after(1), ["fence"]);
    stage.retire(&[0, 1]);
    stage.on(exited(0));
    assert_eq!(stage.on(exited(1)), ["close 1", "reload done"]);
    assert_eq!(stage.fleet.reloads(), (1, 0));
}

#[test]
fn the_end_of_a_new_worker_takes_the_flip_back_at_once() {
    let mut stage = soaking();
    stage.after(3_000);
    assert_eq!(
        stage.on(exited(2)),
        ["steer 0 1", "fence", "close 2", "reload failed"]
    );
    assert_eq!(stage.fleet.reloads(), (0, 1));
    assert_eq!(stage.phases(), ["0 serving", "1 serving", "3 settling"]);
    stage.retire(&[3]);
    assert_eq!(stage.on(exited(3)), ["close 3"]);
    // Nothing of the soak is left.
    assert!(stage.after(60_000).is_empty());
    assert_eq!(stage.on(RELOAD), ["spawn 4", "spawn 5"]);
}

#[test]
fn some_crashes_are_let_pass() {
    let mut stage = soaking_with(Policy {
        soak_restarts: 1,
        ..policy()
    });
    assert_eq!(stage.on(exited(2)), ["steer 3", "spawn 4 on 2"]);
    // Its replacement is one too many, whether it served or not.
    assert_eq!(
        stage.on(exited(4)),
        ["steer 0 1", "fence", "close 2", "reload failed"]
    );
    assert_eq!(stage.phases(), ["0 serving", "1 serving", "3 settling"]);
}

#[test]
fn a_replacement_that_is_starting_ends_with_its_generation() {
    let mut stage = soaking_with(Policy {
        soak_restarts: 1,
        ..policy()
    });
    stage.on(exited(2));
    let done = stage.on(exited(3));
    assert_eq!(
        done,
        ["steer 0 1", "signal 4", "close 3", "reload failed"],
        "nobody of the new ones serves, so nothing settles"
    );
    assert_eq!(stage.on(exited(4)), ["close 2"]);
}

#[test]
fn a_slot_whose_next_worker_waits_is_the_old_ones_again() {
    let mut stage = soaking_with(Policy {
        soak_restarts: 3,
        max_restarts: 8,
        ..policy()
    });
    stage.on(exited(2));
    // The second restart of a slot comes after a pause.
    assert!(stage.on(exited(4)).is_empty());
    assert_eq!(
        stage.on(ROLLBACK),
        ["steer 0 1", "fence", "close 2", "reload failed"]
    );
    assert!(stage.after(9_000).iter().all(|it| !it.starts_with("spawn")));
}

#[test]
fn a_worker_that_stood_by_and_died_is_replaced_when_the_flip_is_taken_back() {
    let mut stage = soaking();
    assert_eq!(stage.on(exited(0)), ["close 0"]);
    assert_eq!(
        stage.on(exited(2)),
        ["steer 1", "fence", "close 2", "reload failed", "spawn 4"]
    );
    stage.on(listened(4));
    let phases = ["4 serving", "1 serving", "3 settling"];
    assert_eq!(stage.phases(), phases);
}

#[test]
fn where_nobody_stands_by_any_more_a_crash_is_a_crash() {
    let mut stage = soaking();
    stage.on(exited(0));
    stage.on(exited(1));
    assert_eq!(stage.on(exited(2)), ["steer 3", "spawn 4 on 2"]);
    assert_eq!(stage.on(ROLLBACK), ["denied: reload"]);
    assert_eq!(stage.after(10_000), ["reload done"]);
}

#[test]
fn a_promotion_ends_the_soak() {
    let mut stage = soaking();
    assert_eq!(stage.on(PROMOTE), ["fence", "promoted"]);
    assert_eq!(stage.on(PROMOTE), ["denied: nothing to promote"]);
    // As after any flip: until the old ones are told to stop.
    assert_eq!(
        stage.on(exited(2)),
        ["steer 0 1", "fence", "close 2", "reload failed"]
    );
}

#[test]
fn a_rollback_is_told_when_the_new_workers_are_gone() {
    let mut stage = soaking();
    assert_eq!(stage.on(ROLLBACK), ["steer 0 1", "fence", "reload failed"]);
    stage.retire(&[2, 3]);
    stage.on(exited(2));
    assert_eq!(stage.on(exited(3)), ["close 3", "rollback done"]);
    assert_eq!(stage.on(ROLLBACK), ["denied: nothing to roll back"]);
}

#[test]
fn nothing_else_begins_in_a_soak() {
    let mut stage = soaking();
    assert_eq!(stage.on(RELOAD), ["denied: reload"]);
    assert_eq!(stage.on(restart(2)), ["denied: reload"]);
    assert_eq!(stage.fleet.phase_name(), "soaking");
}

#[test]
fn a_restart_does_not_soak() {
    let mut stage = Stage::serving(Policy {
        soak: Duration::from_secs(10),
        ..policy()
    });
    stage.on(restart(0));
    assert_eq!(stage.on(listened(2)), ["steer 1 2", "fence"]);
}

#[test]
fn a_stop_ends_the_soak_and_loses_nobody() {
    let mut stage = soaking();
    let done = stage.on(stop(false));
    assert_eq!(done, ["fence", "keep out", "steer", "fence"]);
    let phases = ["0 settling", "2 settling", "1 settling", "3 settling"];
    assert_eq!(stage.phases(), phases);
}

#[test]
fn the_old_workers_do_not_pay_for_the_crashes_of_the_new_ones() {
    let mut stage = soaking_with(Policy {
        soak_restarts: 2,
        max_restarts: 1,
        ..policy()
    });
    stage.on(exited(2));
    // A crash loop would be next.
    assert_eq!(stage.on(exited(4))[0], "steer 0 1");
    assert_eq!(stage.on(exited(0)), ["steer 1", "spawn 5 on 0"]);
}

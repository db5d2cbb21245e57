//! Crashes.

use super::*;

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

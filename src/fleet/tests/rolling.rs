//! Workers are replaced some after the others, within bounds.

use super::*;

fn rolling(surge: u32, unavailable: u32) -> Policy {
    Policy {
        strategy: Strategy::Rolling(Bounds {
            surge: Share::Count(surge),
            unavailable: Share::Count(unavailable),
        }),
        ..policy()
    }
}

#[test]
fn the_next_worker_starts_when_the_one_before_is_gone() {
    let mut stage = Stage::serving(rolling(1, 0));
    assert_eq!(stage.on(RELOAD), ["spawn 2"]);
    assert_eq!(stage.on(listened(2)), ["steer 1 2", "fence"]);
    stage.retire(&[0]);
    assert_eq!(stage.on(exited(0)), ["close 0", "spawn 3"]);
    assert_eq!(stage.on(listened(3)), ["steer 2 3", "fence"]);
    stage.retire(&[1]);
    assert_eq!(stage.on(exited(1)), ["close 1", "reload done"]);
    assert_eq!(stage.fleet.reloads(), (1, 0));
}

#[test]
fn without_a_surge_a_worker_leaves_before_the_next_starts() {
    let mut stage = Stage::serving(rolling(0, 1));
    assert_eq!(stage.on(RELOAD), ["steer 1", "fence"]);
    stage.retire(&[0]);
    assert_eq!(stage.on(exited(0)), ["close 0", "spawn 2"]);
    // The next one leaves when this one serves, and not before.
    assert_eq!(stage.on(listened(2)), ["steer 1 2", "steer 2", "fence"]);
    stage.retire(&[1]);
    assert_eq!(stage.on(exited(1)), ["close 1", "spawn 3"]);
    assert_eq!(stage.on(listened(3)), ["steer 2 3", "reload done"]);
}

#[test]
fn both_bounds_are_used_at_once() {
    let mut stage = Stage::serving(rolling(1, 1));
    assert_eq!(stage.on(RELOAD), ["spawn 2", "steer 0", "fence"]);
    let phases = ["0 serving", "2 starting", "1 settling"];
    assert_eq!(stage.phases(), phases);
}

#[test]
fn one_worker_serves_at_all_times() {
    let mut stage = Stage::serving(rolling(0, 5));
    assert_eq!(stage.on(RELOAD), ["steer 1", "fence"]);
}

#[test]
fn a_crash_makes_no_room() {
    let mut stage = Stage::serving(rolling(1, 0));
    stage.on(RELOAD);
    stage.on(listened(2));
    assert_eq!(stage.on(exited(1)), ["steer 2", "spawn 3 on 1"]);
    stage.retire(&[0]);
    // Worker 3 has taken the place of the dead one, and is one of the two that are wanted.
    assert_eq!(stage.on(exited(0)), ["close 0", "spawn 4"]);
}

#[test]
fn a_worker_that_fails_brings_back_what_was_replaced_so_far() {
    let mut stage = Stage::serving(rolling(1, 0));
    stage.on(RELOAD);
    stage.on(listened(2));
    stage.retire(&[0]);
    assert_eq!(stage.on(exited(0)), ["close 0", "spawn 3"]);
    let done = stage.on(exited(3));
    assert_eq!(done, ["reload failed", "spawn 4"]);
    assert_eq!(stage.generation_of(4), 1);
    assert_eq!(stage.on(listened(4)), ["steer 1 4", "fence"]);
    stage.retire(&[2]);
    assert_eq!(stage.on(exited(2)), ["close 2", "rollback done"]);
    assert_eq!(stage.fleet.reloads(), (0, 1));
}

#[test]
fn where_a_worker_had_left_the_old_version_is_started_again() {
    let mut stage = Stage::serving(rolling(0, 1));
    stage.on(RELOAD);
    stage.retire(&[0]);
    stage.on(exited(0));
    assert_eq!(stage.on(exited(2)), ["reload failed", "spawn 3"]);
    assert_eq!(stage.generation_of(3), 1);
    assert_eq!(stage.on(listened(3)), ["steer 1 3", "rollback done"]);
}

#[test]
fn what_cannot_be_gone_back_to_is_tried_again_like_after_a_crash() {
    let mut stage = Stage::serving(rolling(0, 1));
    stage.on(RELOAD);
    stage.retire(&[0]);
    stage.on(exited(0));
    stage.on(exited(2));
    assert_eq!(stage.on(exited(3)), ["rollback failed"]);
    assert_eq!(stage.after(100), ["spawn 4"]);
    assert_eq!(stage.on(listened(4)), ["steer 1 4"]);
}

#[test]
fn a_restart_keeps_to_the_bounds() {
    let mut stage = Stage::serving(rolling(0, 1));
    assert_eq!(stage.on(restart(0)), ["steer 1", "fence"]);
    stage.retire(&[0]);
    assert_eq!(stage.on(exited(0)), ["close 0", "spawn 2"]);
    assert_eq!(stage.on(exited(2)), ["restart failed"]);
    assert_eq!(stage.after(100), ["spawn 3"], "the slot is not lost");
}

/// The worker that has failed has its memory until it has gone.
#[test]
fn a_slot_is_filled_again_when_the_worker_that_failed_has_gone() {
    let mut stage = Stage::serving(Policy {
        start_timeout: Duration::from_secs(1),
        ..rolling(0, 1)
    });
    assert_eq!(stage.on(restart(0)), ["steer 1", "fence"]);
    stage.retire(&[0]);
    assert_eq!(stage.on(exited(0)), ["close 0", "spawn 2"]);
    assert_eq!(stage.after(1_000), ["signal 2", "restart failed"]);
    assert!(stage.after(1_000).is_empty());
    assert_eq!(stage.phases(), ["0 waiting", "2 draining", "1 serving"]);
    assert_eq!(stage.on(exited(2)), ["spawn 3"]);
}

#[test]
fn workers_of_one_queue_are_replaced_together_or_not_at_all() {
    let shared = |surge| Policy {
        queues: Some(1),
        ..rolling(surge, 0)
    };
    let serving = |policy| {
        let mut stage = Stage::new(policy);
        stage.on(listened(0));
        stage.on(listened_on(1, 0, 80));
        stage
    };
    assert_eq!(serving(shared(1)).on(RELOAD), ["denied: 2 together"]);
    assert_eq!(serving(shared(2)).on(RELOAD), ["spawn 2", "spawn 3"]);
}

#[test]
fn a_share_of_the_workers_is_rounded_so_that_it_is_safe() {
    let bounds = |surge, unavailable| Bounds {
        surge: Share::Percent(surge),
        unavailable: Share::Percent(unavailable),
    };
    for (wanted, percent, surge, unavailable) in [
        (1, 25, 1, 0),
        (4, 25, 1, 1),
        (5, 25, 2, 1),
        (8, 0, 0, 0),
        (4, 100, 4, 3),
    ] {
        let bounds = bounds(percent, percent);
        let both = (bounds.surge(wanted), bounds.unavailable(wanted));
        assert_eq!(both, (surge, unavailable), "{percent} % of {wanted}");
    }
}

/// Two workers serve, and a third one that is not wanted any more was told to stop.
fn with_one_on_its_way(policy: Policy) -> Stage {
    let mut stage = Stage::new(Policy {
        workers: 3,
        ..policy
    });
    [0, 1, 2]
        .iter()
        .for_each(|id| drop(stage.on(listened(*id))));
    stage.on(scale(2));
    stage.retire(&[2]);
    assert_eq!(stage.phases(), ["0 serving", "1 serving", "2 draining"]);
    stage
}

#[test]
fn in_the_place_of_one_that_has_left_none_starts_while_an_earlier_one_is_there() {
    let mut stage = with_one_on_its_way(rolling(0, 1));
    assert_eq!(stage.on(RELOAD), ["steer 1", "fence"]);
    stage.retire(&[0]);
    assert_eq!(stage.on(exited(0)), ["close 0"]);
    assert_eq!(stage.on(exited(2)), ["close 2", "spawn 3", "scale done"]);
}

#[test]
fn a_trial_begins_when_an_earlier_worker_has_gone() {
    let mut stage = with_one_on_its_way(rolling(1, 0));
    assert!(stage.on(canary(1, 10, None)).is_empty());
    assert_eq!(stage.on(exited(2)), ["close 2", "spawn 3", "scale done"]);
}

/// Who is too many makes room by leaving.
#[test]
fn a_reload_to_fewer_workers_needs_no_surge() {
    let mut stage = Stage::serving(rolling(0, 1));
    stage.policy.workers = 1;
    assert_eq!(stage.on(RELOAD), ["steer 0", "fence"]);
    stage.retire(&[1]);
    assert_eq!(stage.on(exited(1)), ["close 1", "spawn 2"]);
    assert_eq!(stage.on(listened(2)), ["steer 2", "fence"]);
    stage.retire(&[0]);
    assert_eq!(stage.on(exited(0)), ["close 0", "reload done"]);
}

/// Four workers serve; two of them may be missing.
fn four_of_two_queues(max_restarts: u32) -> Stage {
    let mut stage = Stage::new(Policy {
        workers: 4,
        queues: Some(2),
        max_restarts,
        ..rolling(0, 2)
    });
    for worker in 0..4 {
        stage.on(listened_on(worker, worker % 2, 80));
    }
    stage
}

/// One of two queues has a worker that does not come: it is replaced first, for the other is too large. It is seen first
/// what becomes of the worker, for that may yet accept from this queue.
#[test]
fn a_part_that_is_too_large_does_not_hold_up_the_others() {
    let mut stage = four_of_two_queues(8);
    assert_eq!(stage.on(exited(3)), ["spawn 4 on 1"]);
    assert!(stage.on(RELOAD).is_empty());
    assert_eq!(stage.on(exited(4)), ["steer 0", "fence"]);
    assert!(stage.phases().contains(&"1 settling".to_owned()));
}

/// A slot that nobody is started in any more takes nobody away.
#[test]
fn a_slot_that_is_given_up_does_not_hold_up_those_of_its_queue() {
    let mut stage = four_of_two_queues(0);
    stage.on(exited(0));
    let began = stage.on(RELOAD);
    assert_eq!(began, ["steer 1", "fence"]);
    stage.retire(&[2]);
    let done = stage.on(exited(2));
    assert_eq!(done, ["close 0", "spawn 4", "spawn 5"]);
}

/// Its set leaves together, and the change starts the next workers in all of its slots.
#[test]
fn a_slot_whose_set_leaves_is_filled_by_the_change() {
    let mut stage = four_of_two_queues(8);
    assert_eq!(stage.on(exited(2)), ["spawn 4 on 0"]);
    assert!(stage.on(exited(4)).is_empty());
    assert_eq!(stage.on(RELOAD), ["steer 1", "fence"]);
    assert!(stage.after(100).is_empty());
    stage.retire(&[0]);
    assert_eq!(stage.on(exited(0)), ["spawn 5", "spawn 6"]);
}

/// Those that are too many leave last, so what comes before must not wait for them.
#[test]
fn a_failed_reload_to_more_workers_is_undone_without_a_surge() {
    let mut stage = Stage::serving(rolling(0, 1));
    stage.policy = Policy {
        workers: 4,
        ..rolling(1, 0)
    };
    assert_eq!(stage.on(RELOAD), ["spawn 2", "spawn 3", "spawn 4"]);
    stage.on(listened(2));
    stage.on(listened(3));
    assert_eq!(stage.on(listened(4)), ["steer 1 2 3 4", "fence"]);
    stage.retire(&[0]);
    assert_eq!(stage.on(exited(0)), ["close 0", "spawn 5"]);
    let failed = stage.on(exited(5));
    assert_eq!(failed, ["reload failed", "steer 1 3 4", "fence"]);
    stage.retire(&[2]);
    assert_eq!(stage.on(exited(2)), ["close 2", "spawn 6"]);
    assert_eq!(stage.on(listened(6)), ["steer 1 6", "fence"]);
    stage.retire(&[3, 4]);
    stage.on(exited(3));
    assert_eq!(stage.on(exited(4)), ["close 4", "rollback done"]);
}

/// A worker that comes again and again, ever more slowly, is never given up where a start takes long.
#[test]
fn a_slot_whose_workers_crash_slowly_makes_room_for_a_reload() {
    let mut stage = Stage::serving(rolling(0, 1));
    assert_eq!(stage.on(exited(0)), ["steer 1", "spawn 2 on 0"]);
    // What becomes of it is waited for.
    assert!(stage.on(RELOAD).is_empty());
    assert_eq!(stage.on(exited(2)), ["spawn 3"]);
    assert!(stage.after(10_000).is_empty());
    assert_eq!(stage.phases(), ["2 waiting", "3 starting", "1 serving"]);
    // Its place is kept until the new version serves.
    assert_eq!(stage.on(exited(3)), ["reload failed", "spawn 4 on 0"]);
}

/// What could not be undone is not forgotten.
#[test]
fn who_serves_where_nobody_is_wanted_leaves_with_the_next_change() {
    let failed = || {
        let mut stage = Stage::serving(policy());
        stage.policy = Policy {
            workers: 3,
            ..rolling(1, 0)
        };
        assert_eq!(stage.on(RELOAD), ["spawn 2", "spawn 3"]);
        stage.on(listened(2));
        stage.on(listened(3));
        stage.retire(&[0]);
        assert_eq!(stage.on(exited(0)), ["close 0", "spawn 4"]);
        assert_eq!(stage.on(exited(4)), ["reload failed", "spawn 5"]);
        assert_eq!(stage.on(exited(5)), ["rollback failed"]);
        assert_eq!(stage.phases(), ["2 serving", "1 serving", "3 serving"]);
        stage
    };
    assert_eq!(failed().on(scale(2)), ["steer 1 2", "fence"]);
    let mut stage = failed();
    stage.policy = policy();
    stage.on(RELOAD);
    stage.on(listened(6));
    assert_eq!(stage.on(listened(7)), ["steer 6 7", "fence"]);
}

/// What nobody has asked for is not begun while it would have to wait, for others would wait behind it.
#[test]
fn a_recycling_does_not_wait_for_a_worker_that_comes_slowly() {
    let mut stage = Stage::serving(rolling(0, 1));
    assert_eq!(stage.on(exited(0)), ["steer 1", "spawn 2 on 0"]);
    let (worker, why) = (WorkerId(1), RecycleReason::Unhealthy);
    stage.fleet.recycle(stage.now, worker, why);
    assert!(stage.after(1).is_empty());
    assert_eq!(stage.fleet.phase_name(), "serving");
    assert_eq!(
        stage.on(listened_on(2, 0, 80)),
        ["steer 0 1", "steer 0", "fence"]
    );
}

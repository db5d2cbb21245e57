//! Another number of workers, and the replacement of one.

use super::*;

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

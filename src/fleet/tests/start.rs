//! The start.

use super::*;

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

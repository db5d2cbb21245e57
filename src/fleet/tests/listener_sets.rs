//! Listener sets that several workers share.

use super::*;

fn shared(worker: u64, listener: u64) -> Event {
    Event::Shared {
        worker: WorkerId(worker),
        listener: ListenerId(listener),
        endpoint: endpoint(80),
    }
}

/// Which worker is in which set: `0:0 1:1 2:0`.
fn listener_sets(stage: &Stage) -> String {
    let view = stage.fleet.view(stage.now);
    let pairs = view
        .iter()
        .map(|line| format!("{}:{}", line.worker, line.set.0));
    pairs.collect::<Vec<_>>().join(" ")
}

/// Workers of slots 0 and 2 serve listener 0, that of slot 1 serves listener 1.
fn two_sets(policy: Policy) -> Stage {
    let mut stage = Stage::new(Policy {
        workers: 3,
        queues: Some(2),
        ..policy
    });
    stage.on(listened(0));
    stage.on(listened(1));
    assert!(stage.on(shared(2, 0)).is_empty());
    assert_eq!(stage.on(listened_on(2, 0, 80)), ["start done"]);
    assert_eq!(listener_sets(&stage), "0:0 1:1 2:0");
    stage
}

#[test]
fn without_the_option_each_worker_has_its_own_set() {
    let mut stage = Stage::serving(policy());
    stage.on(scale(3));
    assert_eq!(listener_sets(&stage), "0:0 1:1 2:2");
}

#[test]
fn a_crash_of_one_worker_of_a_set_steers_nothing_and_its_replacement_joins_the_set() {
    let mut stage = two_sets(policy());
    assert_eq!(stage.on(exited(0)), ["spawn 3 on 0"]);
    assert_eq!(listener_sets(&stage), "3:0 1:1 2:0");
    assert!(stage.on(listened_on(3, 0, 80)).is_empty());
}

#[test]
fn a_crash_of_the_last_worker_of_a_set_steers_away_from_the_set() {
    let mut stage = two_sets(policy());
    stage.on(exited(0));
    assert_eq!(stage.on(exited(2)), ["steer 1", "spawn 4 on 0"]);
    assert_eq!(stage.on(listened_on(3, 0, 80)), ["steer 0 1"]);
}

#[test]
fn a_shared_listener_that_settles_closes_with_its_last_worker() {
    let mut stage = two_sets(policy());
    stage.on(RELOAD);
    stage.on(listened_on(3, 3, 80));
    stage.on(listened_on(4, 4, 80));
    assert_eq!(stage.on(listened_on(5, 3, 80)), ["steer 3 4", "fence"]);
    stage.retire(&[0, 1, 2]);
    assert!(stage.on(exited(0)).is_empty(), "another has it");
    assert_eq!(stage.on(exited(1)), ["close 1"]);
    assert_eq!(stage.on(exited(2)), ["close 0", "reload done"]);
}

#[test]
fn a_shared_backlog_is_drained_once_and_only_when_no_worker_of_the_set_can_empty_it() {
    let mut stage = two_sets(Policy {
        rescue: true,
        ..policy()
    });
    stage.on(RELOAD);
    stage.on(listened_on(3, 3, 80));
    stage.on(listened_on(4, 4, 80));
    stage.on(listened_on(5, 3, 80));
    stage.on(Event::Fenced);
    assert!(stage.on(exited(0)).is_empty(), "the other will empty it");
    assert_eq!(stage.on(exited(2)), ["drain 2", "close 0"]);
    stage.on(backlog(1, 1));
    stage.after(10_000);
    assert_eq!(stage.on(backlog(1, 1)), ["drain 1", "adopt 1"]);
    assert_eq!(stage.on(exited(1)), ["close 1", "reload done"], "once");
}

#[test]
fn a_restart_replaces_the_whole_set() {
    let mut stage = two_sets(policy());
    assert_eq!(stage.on(restart(2)), ["spawn 3", "spawn 4"]);
    assert_eq!(listener_sets(&stage), "0:0 3:2 1:1 2:0 4:2");
    stage.on(listened_on(3, 2, 80));
    assert_eq!(stage.on(listened_on(4, 2, 80)), ["steer 1 2", "fence"]);
}

#[test]
fn a_scale_replaces_the_sets_that_get_or_lose_a_worker() {
    let mut stage = two_sets(policy());
    assert_eq!(stage.on(scale(4)), ["spawn 3", "spawn 4"]);
    assert_eq!(listener_sets(&stage), "0:0 1:1 3:2 2:0 4:2");
    stage.on(listened_on(3, 2, 80));
    assert_eq!(stage.on(listened_on(4, 2, 80)), ["steer 0 2", "fence"]);
    stage.retire(&[1]);
    stage.on(exited(1));
    assert_eq!(stage.on(scale(3)), ["spawn 5"], "slot 1 goes on alone");
    assert_eq!(stage.on(listened_on(5, 3, 80)), ["steer 0 3", "fence"]);
}

#[test]
fn a_scale_that_changes_no_shared_set_starts_no_worker() {
    let mut stage = Stage::new(Policy {
        workers: 2,
        queues: Some(2),
        ..policy()
    });
    stage.on(listened(0));
    stage.on(listened(1));
    assert_eq!(stage.on(scale(1)), ["steer 0", "fence"]);
}

#[test]
fn a_set_without_workers_needs_only_one_replacement_to_drain_it() {
    let mut stage = Stage::new(Policy {
        queues: Some(1),
        ..policy()
    });
    stage.on(listened(0));
    stage.on(listened_on(1, 0, 80));
    stage.on(RELOAD);
    stage.on(exited(0));
    stage.on(exited(1));
    assert_eq!(listener_sets(&stage), "2:1 4:0 3:1 5:0");
    stage.on(exited(4));
    stage.on(exited(5));
    stage.on(listened_on(2, 2, 80));
    let flip = stage.on(listened_on(3, 2, 80));
    assert_eq!(flip, ["spawn 6 on 0", "steer 2"]);
}

#[test]
fn without_steering_a_new_generation_has_the_sets_of_the_old() {
    let mut stage = two_sets(Policy {
        steering: false,
        ..policy()
    });
    assert_eq!(
        stage.on(RELOAD),
        ["spawn 3 on 0", "spawn 4 on 1", "spawn 5 on 0"]
    );
    assert_eq!(listener_sets(&stage), "0:0 3:0 1:1 4:1 2:0 5:0");
}

/// The first worker exits before the event says that the second worker was passed the same listener.
#[test]
fn a_passed_listener_stays_open_while_a_starting_sibling_has_it() {
    let mut stage = Stage::new(Policy {
        queues: Some(1),
        ..policy()
    });
    let prepared = |worker| Event::Prepared {
        worker: WorkerId(worker),
        listener: ListenerId(0),
        endpoint: endpoint(80),
    };
    stage.on(prepared(0));
    let failed = ["signal 1", "start failed", "keep out", "refuse"];
    assert_eq!(stage.on(exited(0)), failed);
    stage.on(prepared(1));
    assert_eq!(stage.on(exited(1)), ["close 0", "finish: StartFailed"]);
}

/// All spawns of a change are done before anything is heard of them, and the failure of the first
/// tells the others to stop.
#[test]
fn a_passed_listener_stays_open_while_a_stopping_sibling_has_it() {
    let mut stage = Stage::new(Policy {
        workers: 4,
        queues: Some(2),
        ..policy()
    });
    let prepared = |worker| Event::Prepared {
        worker: WorkerId(worker),
        listener: ListenerId(worker % 2),
        endpoint: endpoint(80),
    };
    stage.on(prepared(0));
    let told = ["signal 1", "signal 2", "signal 3"];
    let stopped = [&told[..], &["start failed", "keep out", "refuse"]].concat();
    assert_eq!(stage.on(exited(0)), stopped);
    stage.on(prepared(1));
    assert!(stage.on(exited(1)).is_empty(), "worker 3 has its listener");
    stage.on(prepared(2));
    stage.on(prepared(3));
    assert_eq!(stage.on(exited(3)), ["close 1"]);
    assert_eq!(stage.on(exited(2)), ["close 0", "finish: StartFailed"]);
}

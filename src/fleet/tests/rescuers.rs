//! Rescuers that answer late or never.

use super::*;

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

fn abandoned(listener: u64) -> Event {
    Event::Abandoned {
        listener: ListenerId(listener),
    }
}

/// What a rescuer passes on would come back to it where nobody else serves, without end.
#[test]
fn what_waits_is_rescued_where_others_serve_and_refused_where_nobody_does() {
    let mut stage = Stage::serving(Policy {
        rescue: true,
        ..policy()
    });
    assert_eq!(stage.on(abandoned(0)), ["steer 1", "drain 0", "close 0"]);
    assert_eq!(stage.on(abandoned(1)), ["steer", "close 1"]);
}

/// Who comes can answer it.
#[test]
fn what_waits_for_a_slot_that_is_given_up_is_kept_for_one_that_comes() {
    let mut stage = Stage::serving(Policy {
        rescue: true,
        max_restarts: 1,
        ..policy()
    });
    assert_eq!(stage.on(exited(1)), ["steer 0", "spawn 2 on 1"]);
    stage.on(exited(0));
    let done = stage.on(exited(3));
    assert!(done.iter().any(|it| it.starts_with("drain")), "{done:?}");
}

/// Those of a slot that no worker is started in any more are refused likewise.
#[test]
fn what_waits_for_the_last_worker_is_refused_when_its_slot_is_given_up() {
    let mut stage = Stage::new(Policy {
        workers: 1,
        rescue: true,
        max_restarts: 0,
        ..policy()
    });
    stage.on(listened(0));
    let done = stage.on(exited(0));
    assert!(done.contains(&"close 0".to_owned()), "{done:?}");
    assert!(!done.iter().any(|it| it.starts_with("drain")), "{done:?}");
}

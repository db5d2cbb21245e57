//! The end.

use super::*;

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

/// A message first, if its program knows one; the signal, should that not be heeded.
#[test]
fn a_worker_that_is_told_by_a_message_gets_the_signal_later() {
    let mut stage = Stage::serving(Policy {
        stop_message: Some(Duration::from_secs(5)),
        ..policy()
    });
    stage.on(RELOAD);
    stage.on(listened(2));
    stage.on(listened(3));
    stage.on(Event::Fenced);
    stage.on(backlog(0, 0));
    let told = stage.on(quiet(0, true));
    assert!(told.contains(&"message 0".to_owned()), "{told:?}");
    let signal = "signal 0".to_owned();
    assert!(!stage.after(4_999).contains(&signal));
    assert!(stage.after(1).contains(&signal));
    let killed = stage.after(25_000);
    assert!(killed.contains(&"kill 0".to_owned()), "{killed:?}");
    assert!(!killed.contains(&signal), "{killed:?}");
}

//! Reloads.

use super::*;

#[test]
fn a_reload_starts_flips_settles_quiesces_and_drains_in_this_order() {
    let mut stage = Stage::serving(policy());
    assert_eq!(stage.on(RELOAD), ["spawn 2", "spawn 3"]);
    assert!(stage.on(listened(2)).is_empty(), "it waits for the other");
    assert_eq!(stage.on(listened(3)), ["steer 2 3", "fence"]);
    assert_eq!(stage.on(Event::Fenced), ["backlogs 0 1"]);
    assert!(stage.on(backlog(0, 1)).is_empty());
    assert_eq!(stage.on(backlog(1, 0)), ["connections 1"]);
    assert_eq!(stage.after(1), ["backlogs 0", "connections 1"]);
    assert_eq!(stage.on(quiet(1, true)), ["signal 1"]);
    assert_eq!(stage.on(backlog(0, 0)), ["connections 0"]);
    assert_eq!(stage.on(quiet(0, true)), ["signal 0"]);
    assert_eq!(stage.on(exited(0)), ["close 0"]);
    assert_eq!(stage.on(exited(1)), ["close 1", "reload done"]);
}

/// Two old workers that have been steered away from, where connections can be rescued.
fn retiring() -> Stage {
    let mut stage = Stage::serving(Policy {
        rescue: true,
        ..policy()
    });
    stage.on(RELOAD);
    stage.on(listened(2));
    stage.on(listened(3));
    assert_eq!(stage.on(Event::Fenced), ["backlogs 0 1"]);
    stage
}

fn connections_idle(worker: u64) -> Event {
    Event::ConnectionsIdle {
        worker: WorkerId(worker),
    }
}

#[test]
fn a_worker_whose_connections_are_adopted_gets_the_stop_signal_when_none_has_a_request_in_flight() {
    let mut stage = retiring();
    assert_eq!(stage.on(backlog(0, 0)), ["adopt 0"]);
    assert_eq!(stage.on(connections_idle(0)), ["signal 0"]);
    assert!(stage.on(connections_idle(0)).is_empty(), "once is enough");
    assert!(
        stage.on(connections_idle(1)).is_empty(),
        "it has not settled yet"
    );
}

#[test]
fn a_worker_that_is_never_quiet_gets_the_stop_signal_at_the_quiet_timeout() {
    let mut stage = retiring();
    stage.on(backlog(0, 0));
    assert!(!stage.after(1999).contains(&"signal 0".to_owned()));
    assert!(stage.after(1).contains(&"signal 0".to_owned()));
}

#[test]
fn a_worker_whose_rescue_is_lost_gets_the_stop_signal_when_it_has_no_connections() {
    let mut stage = retiring();
    stage.on(backlog(0, 0));
    stage.after(500);
    let rescue_lost = |worker| Event::RescueLost {
        worker: WorkerId(worker),
    };
    assert_eq!(stage.on(rescue_lost(0)), ["connections 0"]);
    assert!(
        stage.on(connections_idle(0)).is_empty(),
        "nobody can know any more"
    );
    assert!(
        stage.on(rescue_lost(1)).is_empty(),
        "it has not settled yet"
    );
    let measured = |quiet| Event::ConnectionsMeasured {
        quiet: vec![(WorkerId(0), quiet)],
    };
    assert!(stage.on(measured(false)).is_empty());
    assert_eq!(stage.on(measured(true)), ["signal 0"]);
}

#[test]
fn a_worker_whose_rescue_is_lost_has_no_more_time_than_others() {
    let mut stage = retiring();
    stage.on(backlog(0, 0));
    stage.after(1500);
    stage.on(Event::RescueLost {
        worker: WorkerId(0),
    });
    stage.after(500);
    let busy = Event::ConnectionsMeasured {
        quiet: vec![(WorkerId(0), false)],
    };
    assert!(stage.on(busy).contains(&"signal 0".to_owned()));
}

#[test]
fn a_backlog_that_the_worker_does_not_empty_is_drained_at_the_settle_timeout() {
    let mut stage = retiring();
    stage.on(backlog(0, 3));
    stage.after(10_000);
    assert_eq!(stage.on(backlog(0, 3)), ["drain 0", "adopt 0"]);
}

#[test]
fn a_reload_that_fails_leaves_the_old_generation_serving() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    stage.on(listened(3));
    assert_eq!(stage.on(exited(2)), ["signal 3", "reload failed"]);
    assert_eq!(stage.on(exited(3)), ["close 3"]);
    assert_eq!(stage.phases(), ["0 serving", "1 serving"]);
    assert_eq!(stage.fleet.reloads(), (0, 1));
}

#[test]
fn a_new_worker_has_to_listen_where_its_predecessor_does_and_in_time() {
    let mut stage = Stage::serving(policy());
    stage.on(listened_on(0, 4, 443));
    stage.on(listened_on(1, 5, 443));
    stage.on(RELOAD);
    stage.on(listened(2));
    stage.on(listened(3));
    let effects = stage
        .fleet
        .step(Time(Duration::from_secs(60)), Event::TimePassed);
    let missing = effects.iter().find_map(|effect| match effect {
        Effect::Reply {
            result:
                ChangeResult::Failed {
                    failure: Failure::NotReady { missing, .. },
                    ..
                },
            ..
        } => Some(missing.clone()),
        _ => None,
    });
    assert_eq!(missing, Some(vec![endpoint(443)]));
}

#[test]
fn a_refused_fence_is_waited_out() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    stage.on(listened(2));
    stage.on(listened(3));
    assert!(stage.on(Event::FenceRefused).is_empty());
    assert!(stage.after(99).is_empty());
    assert_eq!(stage.after(1), ["backlogs 0 1"]);
}

#[test]
fn a_worker_that_does_not_settle_become_quiet_or_exit_is_waited_for_until_each_timeout() {
    let mut stage = Stage::serving(policy());
    stage.on(scale(1));
    assert_eq!(stage.on(Event::Fenced), ["backlogs 1"]);
    stage.after(9_999);
    assert!(stage.on(backlog(1, 1)).is_empty());
    stage.after(1);
    assert_eq!(stage.on(backlog(1, 1)), ["connections 1"]);
    stage.after(1_999);
    assert!(stage.on(quiet(1, false)).is_empty());
    stage.after(1);
    assert_eq!(stage.on(quiet(1, false)), ["signal 1"]);
    assert!(stage.after(29_999).is_empty());
    assert_eq!(stage.after(1), ["kill 1"]);
    assert_eq!(stage.on(exited(1)), ["close 1", "scale done"]);
}

#[test]
fn without_steering_new_workers_share_the_sockets_and_the_old_get_the_stop_signal_at_the_flip() {
    let mut stage = Stage::serving(Policy {
        steering: false,
        ..policy()
    });
    assert_eq!(stage.on(RELOAD), ["spawn 2 on 0", "spawn 3 on 1"]);
    stage.on(listened_on(2, 0, 80));
    let flip = stage.on(listened_on(3, 1, 80));
    assert_eq!(flip, ["signal 0", "signal 1"]);
    assert!(stage.on(exited(0)).is_empty(), "its socket is in use");
    assert_eq!(stage.on(exited(1)), ["reload done"]);
}

//! Workers that serve are checked, and taken away by the side of others that pass.

use super::*;

/// Each second, for half a second; two failures in a row.
fn checks(by: CheckBy) -> HealthChecks {
    HealthChecks {
        by,
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        failures: 2,
        start_period: Duration::ZERO,
    }
}

fn checked_by(by: CheckBy) -> Policy {
    Policy {
        rescue: true,
        health: Some(checks(by)),
        ..policy()
    }
}

/// Workers 0 and 1 serve and are checked: at 1 s, 2 s ..., and at 0.5 s, 1.5 s ...
fn checked() -> Stage {
    Stage::serving(checked_by(CheckBy::Http))
}

fn passed(worker: u64) -> Event {
    Event::HealthPassed {
        worker: WorkerId(worker),
    }
}

fn failed_by(worker: u64, failure: CheckFailure) -> Event {
    Event::HealthFailed {
        worker: WorkerId(worker),
        failure,
    }
}

fn failed(worker: u64) -> Event {
    failed_by(worker, CheckFailure::NoAnswer)
}

impl Stage {
    fn health_of(&self, worker: u64) -> Option<HealthView> {
        let view = self.fleet.view(self.now);
        let mut lines = view.into_iter();
        lines.find(|line| line.worker == WorkerId(worker))?.health
    }

    /// A worker that is unhealthy while the other passes.
    fn lose(&mut self, worker: u64, other: u64) -> Vec<String> {
        self.on(passed(other));
        assert!(self.on(failed(worker)).is_empty());
        self.on(failed(worker))
    }
}

const TURNED_AWAY: [&str; 2] = ["steer 1", "spawn 2"];

#[test]
fn each_worker_is_checked_at_its_own_moment_one_check_at_a_time() {
    let mut stage = checked();
    assert!(stage.after(499).is_empty());
    assert_eq!(stage.after(1), ["check 1"]);
    assert_eq!(stage.on(passed(1)), Vec::<String>::new());
    assert_eq!(stage.after(500), ["check 0"]);
    // It is late, and the other is due. Why, is asked once.
    assert_eq!(stage.after(500), ["explain 0", "check 1"]);
    assert!(stage.after(1).is_empty());
    stage.on(failed(0));
    assert_eq!(stage.after(498), Vec::<String>::new());
    assert_eq!(stage.after(1), ["check 0", "explain 1"]);
}

#[test]
fn whether_a_connection_is_accepted_is_looked_at_until_it_is_late() {
    let mut stage = Stage::serving(checked_by(CheckBy::Accept));
    assert_eq!(stage.after(500), ["check 1"]);
    let mut looks = 0;
    for _ in 0..499 {
        let looked = stage.after(1);
        assert!(looked.iter().all(|it| it == "check 1"), "{looked:?}");
        looks += looked.len();
    }
    assert!((15..80).contains(&looks), "{looks}");
    assert_eq!(stage.after(1), ["check 0", "explain 1"]);
}

#[test]
fn failures_count_in_a_row_and_by_the_side_of_one_that_passes() {
    let mut stage = checked();
    assert_eq!(stage.health_of(0), Some(HealthView::Unknown));
    stage.on(failed(0));
    stage.on(passed(0));
    assert_eq!(stage.health_of(0), Some(HealthView::Healthy));
    assert_eq!(stage.lose(0, 1), TURNED_AWAY);
    let why = HealthView::Unhealthy(CheckFailure::NoAnswer);
    assert_eq!(stage.health_of(0), Some(why));
    // It retires like any other when its replacement serves.
    assert_eq!(stage.on(listened(2)), ["end check 0", "steer 1 2", "fence"]);
    stage.on(Event::Fenced);
    stage.on(backlog(0, 0));
    assert_eq!(stage.phases()[0], "0 quiescing");
}

#[test]
fn what_is_seen_of_a_worker_or_said_by_itself_is_enough_once() {
    for failure in [CheckFailure::Stopped, CheckFailure::Said] {
        let mut stage = checked();
        stage.on(passed(1));
        let done = stage.on(failed_by(0, failure));
        assert_eq!(done[0], "steer 1", "{done:?}");
    }
}

#[test]
fn what_waits_for_one_that_does_not_accept_is_accepted_by_a_rescuer() {
    let mut stage = checked();
    stage.on(passed(1));
    stage.on(failed(0));
    let done = stage.on(failed_by(0, CheckFailure::NotAccepted));
    assert_eq!(done, ["steer 1", "end check 0", "drain 0", "spawn 2"]);
    // Nobody counts on it any more.
    assert!(stage.on(passed(0)).is_empty());
    assert_eq!(
        stage.health_of(0),
        Some(HealthView::Unhealthy(CheckFailure::NotAccepted))
    );
    assert!(stage.after(900).iter().all(|it| !it.contains(" 0")));
    stage.on(listened(2));
    stage.on(Event::Fenced);
    // A straggler.
    let done = stage.on(backlog(0, 1));
    assert_eq!(done, ["drain 0", "adopt 0"]);
}

#[test]
fn what_still_waits_at_the_next_failure_is_accepted_by_a_rescuer() {
    let mut stage = checked();
    assert_eq!(stage.lose(0, 1), TURNED_AWAY);
    assert_eq!(stage.on(failed(0)), ["backlogs 0"]);
    assert!(stage.on(backlog(0, 0)).is_empty());
    assert_eq!(stage.on(failed(0)), ["backlogs 0"]);
    assert_eq!(stage.on(backlog(0, 3)), ["end check 0", "drain 0"]);
    // Once.
    assert!(stage.on(failed(0)).is_empty());
}

#[test]
fn an_unhealthy_worker_that_retires_is_not_waited_for() {
    let mut stage = checked();
    stage.lose(0, 1);
    stage.on(listened(2));
    stage.on(Event::Fenced);
    assert_eq!(stage.on(backlog(0, 2)), ["drain 0", "adopt 0"]);
    // A healthy one is.
    let mut stage = checked();
    stage.on(restart(0));
    stage.on(listened(2));
    stage.on(Event::Fenced);
    assert!(stage.on(backlog(0, 2)).is_empty());
}

#[test]
fn without_a_rescuer_it_may_still_accept_what_waits() {
    let mut stage = Stage::serving(Policy {
        rescue: false,
        ..checked_by(CheckBy::Http)
    });
    stage.on(passed(1));
    stage.on(failed(0));
    let done = stage.on(failed_by(0, CheckFailure::NotAccepted));
    assert_eq!(done, TURNED_AWAY);
    assert!(stage.on(failed(0)).is_empty());
    stage.on(listened(2));
    stage.on(Event::Fenced);
    assert!(stage.on(backlog(0, 2)).is_empty());
}

#[test]
fn where_all_fail_nothing_is_done() {
    let mut stage = checked();
    for _ in 0..5 {
        assert!(stage.on(failed(0)).is_empty());
        assert!(stage.on(failed(1)).is_empty());
    }
    // One passes: the other may pass its next check, too.
    assert!(stage.on(passed(1)).is_empty());
    assert_eq!(stage.on(failed(0)), TURNED_AWAY);
}

#[test]
fn one_that_has_not_been_checked_is_no_example() {
    let mut stage = checked();
    stage.on(failed(0));
    assert!(stage.on(failed(0)).is_empty());
}

#[test]
fn one_whose_last_check_failed_is_no_example() {
    let mut stage = checked();
    stage.on(passed(1));
    stage.on(failed(1));
    stage.on(failed(0));
    assert!(stage.on(failed(0)).is_empty());
    stage.on(passed(1));
    assert_eq!(stage.on(failed(0)), TURNED_AWAY);
}

#[test]
fn when_the_last_one_fails_those_that_were_turned_away_serve_again() {
    let mut stage = checked();
    stage.on(RELOAD);
    assert_eq!(stage.lose(0, 1), ["steer 1"]);
    stage.on(failed(1));
    assert_eq!(stage.on(failed(1)), ["steer 0 1"]);
    // Nobody is to be replaced for it when the reload has failed.
    assert_eq!(
        stage.on(exited(2)),
        ["signal 3", "reload failed"],
        "nothing begins"
    );
}

#[test]
fn the_only_worker_serves_on() {
    let mut stage = Stage::new(Policy {
        workers: 1,
        ..checked_by(CheckBy::Http)
    });
    stage.on(listened(0));
    for _ in 0..5 {
        assert!(stage.on(failed_by(0, CheckFailure::Stopped)).is_empty());
    }
    assert_eq!(stage.phases(), ["0 serving"]);
}

#[test]
fn one_that_passes_before_its_replacement_has_begun_serves_again() {
    let mut stage = checked();
    stage.on(RELOAD);
    assert_eq!(stage.lose(0, 1), ["steer 1"]);
    assert_eq!(stage.on(passed(0)), ["steer 0 1"]);
    assert_eq!(stage.health_of(0), Some(HealthView::Healthy));
    assert_eq!(stage.on(exited(2)), ["signal 3", "reload failed"]);
}

#[test]
fn one_that_passes_later_is_replaced_all_the_same() {
    let mut stage = checked();
    assert_eq!(stage.lose(0, 1), TURNED_AWAY);
    assert!(stage.on(passed(0)).is_empty());
    // But if its replacement fails, it is as good as any.
    stage.on(exited(2));
    assert_eq!(stage.on(passed(0)), ["steer 0 1"]);
    assert!(stage.after(60_000).iter().all(|it| !it.contains("spawn")));
}

#[test]
fn unhealthy_workers_are_replaced_one_after_the_other_as_they_failed() {
    let mut stage = Stage::new(Policy {
        workers: 3,
        ..checked_by(CheckBy::Http)
    });
    (0..3).for_each(|id| drop(stage.on(listened(id))));
    assert_eq!(stage.lose(2, 1), ["steer 0 1", "spawn 3"]);
    assert_eq!(stage.lose(0, 1), ["steer 1"]);
    stage.on(listened(3));
    stage.on(Event::Fenced);
    stage.on(backlog(2, 0));
    let done = stage.on(Event::ConnectionsIdle {
        worker: WorkerId(2),
    });
    assert!(done.contains(&"spawn 4".to_owned()), "{done:?}");
    assert_eq!(stage.phases()[..2], ["0 serving", "4 starting"]);
}

/// It is well again, but the next one is on its way. Should the others fail, it is the one to trust.
#[test]
fn who_recovers_while_it_is_replaced_is_trusted_where_nobody_else_is() {
    let mut stage = checked();
    assert_eq!(stage.lose(0, 1), ["steer 1", "spawn 2"]);
    assert!(stage.on(passed(0)).is_empty());
    assert_eq!(stage.lose(1, 0), ["steer 0"]);
}

#[test]
fn where_the_trusted_ones_end_those_that_are_avoided_get_connections() {
    let mut stage = checked();
    stage.on(RELOAD);
    assert_eq!(stage.lose(0, 1), ["steer 1"]);
    assert_eq!(stage.on(exited(1))[0], "steer 0");
}

#[test]
fn failures_of_a_worker_that_warms_up_are_not_counted() {
    let mut stage = Stage::serving(Policy {
        health: Some(HealthChecks {
            start_period: Duration::from_secs(5),
            ..checks(CheckBy::Http)
        }),
        ..checked_by(CheckBy::Http)
    });
    stage.on(passed(1));
    stage.now = stage.now.plus(Duration::from_millis(4_999));
    stage.on(failed(0));
    assert!(stage.on(failed(0)).is_empty());
    stage.now = stage.now.plus(Duration::from_millis(1));
    stage.on(failed(0));
    assert_eq!(stage.on(failed(0))[0], "steer 1");
}

#[test]
fn a_check_that_cannot_be_made_says_nothing() {
    let mut stage = checked();
    stage.on(passed(1));
    stage.on(failed(0));
    let not_made = Event::CheckNotMade {
        worker: WorkerId(0),
    };
    assert!(stage.on(not_made).is_empty());
    assert_eq!(stage.health_of(0), Some(HealthView::Unknown));
}

#[test]
fn one_that_is_watched_is_late_when_it_is_silent() {
    let mut stage = Stage::serving(checked_by(CheckBy::Watchdog));
    stage.on(passed(1));
    assert!(stage.after(1_499).is_empty());
    assert_eq!(stage.on(passed(1)), Vec::<String>::new());
    assert_eq!(stage.after(1), ["explain 0"]);
    stage.on(failed_by(0, CheckFailure::Silent));
    assert_eq!(stage.after(1_499), ["explain 1"]);
    stage.on(passed(1));
    assert_eq!(stage.after(1), ["explain 0"]);
    assert_eq!(
        stage.on(failed_by(0, CheckFailure::Silent)),
        TURNED_AWAY,
        "who says nothing is not asked by a connection, but it is said to be silent"
    );
}

#[test]
fn nobody_who_shares_its_listener_is_asked() {
    let mut stage = Stage::new(Policy {
        queues: Some(1),
        ..checked_by(CheckBy::Http)
    });
    stage.on(listened_on(0, 0, 80));
    stage.on(listened_on(1, 0, 80));
    assert_eq!(stage.phases(), ["0 serving", "1 serving"]);
    assert!(stage.after(10_000).is_empty());
    // What they say themselves counts. What waits is for both, and both are replaced.
    stage.on(passed(1));
    let done = stage.on(failed_by(0, CheckFailure::Said));
    assert_eq!(done, ["spawn 2", "spawn 3"]);
    assert!(stage.on(failed_by(0, CheckFailure::Stopped)).is_empty());
}

#[test]
fn in_a_soak_an_unhealthy_worker_takes_the_reload_back() {
    let soaking = |restarts| {
        let mut stage = Stage::serving(Policy {
            soak: Duration::from_secs(60),
            soak_restarts: restarts,
            ..checked_by(CheckBy::Http)
        });
        stage.on(RELOAD);
        stage.on(listened(2));
        stage.on(listened(3));
        stage
    };
    let mut stage = soaking(0);
    stage.on(failed(2));
    assert_eq!(
        stage.on(failed(2)),
        [
            "end check 2",
            "end check 3",
            "steer 0 1",
            "fence",
            "reload failed"
        ]
    );
    assert_eq!(stage.fleet.reloads(), (0, 1));
    // It is counted like a crash.
    let mut stage = soaking(1);
    assert_eq!(stage.lose(2, 3), ["steer 3"]);
    stage.on(failed(3));
    let done = stage.on(failed(3));
    assert!(done.contains(&"reload failed".to_owned()), "{done:?}");
}

#[test]
fn a_canary_that_is_unhealthy_is_withdrawn() {
    let mut stage = checked();
    stage.on(canary(1, 10, None));
    stage.on(listened(2));
    assert_eq!(stage.fleet.phase_name(), "canary");
    stage.on(failed(2));
    assert_eq!(
        stage.on(failed(2)),
        ["end check 2", "steer 0 1", "fence", "reload failed"]
    );
    stage.on(Event::Fenced);
    // Nobody waits for it to accept.
    assert_eq!(stage.on(backlog(2, 1)), ["drain 2", "adopt 2"]);
}

#[test]
fn nobody_goes_back_to_a_worker_that_was_drained() {
    let mut stage = Stage::serving(Policy {
        soak: Duration::from_secs(60),
        ..checked_by(CheckBy::Http)
    });
    stage.on(RELOAD);
    stage.on(passed(1));
    let done = stage.on(failed_by(0, CheckFailure::Stopped));
    assert_eq!(done, ["steer 1", "end check 0", "drain 0"]);
    stage.on(listened(2));
    stage.on(listened(3));
    let phases = ["0 settling", "2 serving", "1 standing-by", "3 serving"];
    assert_eq!(stage.phases(), phases);
    let done = stage.on(exited(2));
    assert!(done.contains(&"spawn 4".to_owned()), "{done:?}");
    assert_eq!(stage.phases()[0], "0 settling");
}

#[test]
fn the_end_is_waited_for_as_ever() {
    let mut stage = checked();
    stage.lose(0, 1);
    stage.on(stop(false));
    stage.on(Event::Fenced);
    // Nobody follows who could answer for it.
    assert!(stage.on(backlog(0, 2)).is_empty());
}

#[test]
fn a_reload_without_checks_does_not_end_those_of_the_old_workers() {
    let mut stage = checked();
    stage.policy = policy();
    stage.on(RELOAD);
    assert_eq!(stage.after(500), ["check 1"]);
    stage.on(passed(1));
    assert_eq!(stage.health_of(1), Some(HealthView::Healthy));
    stage.on(listened(2));
    stage.on(listened(3));
    assert_eq!(stage.health_of(2), None);
}

#[test]
fn what_waits_in_a_queue_that_others_share_is_theirs_to_accept() {
    let mut stage = Stage::new(Policy {
        queues: Some(1),
        ..checked_by(CheckBy::Watchdog)
    });
    // Both serve listener 0; then both are replaced, because one of them is not well.
    stage.on(listened(0));
    stage.on(listened_on(1, 0, 80));
    stage.on(passed(1));
    let begun = stage.on(failed_by(0, CheckFailure::Said));
    assert_eq!(begun, ["spawn 2", "spawn 3"]);
    stage.on(listened_on(2, 1, 80));
    stage.on(listened_on(3, 1, 80));
    stage.on(Event::Fenced);
    let pending = vec![(WorkerId(0), 1), (WorkerId(1), 1)];
    assert!(stage.on(Event::BacklogsMeasured { pending }).is_empty());
    let phases = stage.phases();
    assert_eq!(
        phases[0], "0 settling",
        "told to stop, it may close the queue for all"
    );
}

/// The replacement of an unhealthy worker fails when nobody is healthy any more: another one would do no better.
#[test]
fn what_has_failed_is_not_tried_again_when_all_fail() {
    let mut stage = checked();
    assert_eq!(stage.lose(0, 1), TURNED_AWAY);
    stage.on(failed(1));
    assert_eq!(stage.on(failed(1)), ["steer 0 1"]);
    stage.on(exited(2));
    assert_eq!(stage.fleet.recyclings().failed, 1);
    assert!(
        stage
            .after(600_000)
            .iter()
            .all(|it| !it.starts_with("spawn"))
    );
    // One that passes shows again what can be done.
    stage.on(passed(1));
    assert_eq!(stage.on(failed(0)), ["steer 1", "spawn 3"]);
}

/// Where all fail each serves on, also one whose replacement has begun: when it passes, it shows that it can be done.
#[test]
fn one_that_is_replaced_and_serves_as_all_do_is_an_example() {
    let mut stage = checked();
    assert_eq!(stage.lose(0, 1), TURNED_AWAY);
    stage.on(failed(1));
    assert_eq!(stage.on(failed(1)), ["steer 0 1"]);
    stage.on(passed(0));
    assert_eq!(stage.on(failed(1)), ["steer 0"]);
}

/// What its predecessor had opened late is its own for a second, whatever else is due meanwhile.
#[test]
fn a_check_does_not_cut_short_the_time_for_what_was_opened_late() {
    let mut stage = checked();
    stage.after(1_200);
    stage.on(listened_on(0, 7, 9999));
    assert_eq!(stage.on(exited(0)), ["steer 1", "spawn 2 on 0 7"]);
    assert_eq!(stage.on(listened_on(2, 0, 80)), ["steer 0 1"]);
    let until = |stage: &mut Stage, millis: u64| {
        let done = (0..millis).flat_map(|_| stage.after(1));
        done.collect::<Vec<_>>()
    };
    let done = until(&mut stage, 999);
    assert!(done.contains(&"check 2".to_owned()), "{done:?}");
    assert!(!done.contains(&"close 7".to_owned()), "{done:?}");
    assert!(stage.after(1).contains(&"close 7".to_owned()));
}

/// Nobody else serves its other address: what waits there is for this worker alone, until somebody does.
#[test]
fn what_nobody_else_can_answer_is_not_taken_from_a_worker_that_hangs() {
    let mut stage = checked();
    stage.on(listened_on(0, 7, 81));
    stage.on(passed(1));
    let stopped = failed_by(0, CheckFailure::Stopped);
    assert_eq!(drained_by(&mut stage, stopped), [ListenerId(0)]);
    assert_eq!(
        drained_by(&mut stage, listened_on(1, 8, 81)),
        [ListenerId(7)]
    );
    assert_eq!(drained_by(&mut stage, listened_on(1, 9, 82)), []);
}

/// The one in its place serves there, too, and then it dies.
#[test]
fn what_a_worker_that_hangs_leaves_where_it_alone_served_is_answered_by_its_successor() {
    let mut stage = checked();
    stage.on(listened_on(0, 7, 81));
    stage.on(passed(1));
    let stopped = failed_by(0, CheckFailure::Stopped);
    assert_eq!(drained_by(&mut stage, stopped), [ListenerId(0)]);
    stage.on(listened_on(2, 8, 81));
    stage.on(listened(2));
    assert_eq!(stage.phases(), ["0 settling", "2 serving", "1 serving"]);
    assert_eq!(drained_by(&mut stage, exited(0)), [ListenerId(7)]);
}

/// It leaves at the flip, and the one that shares its queue stands by. Nothing may be on the way to either.
#[test]
fn what_is_steered_away_from_at_the_flip_of_a_soak_is_fenced_after_that() {
    let mut stage = Stage::new(Policy {
        queues: Some(1),
        soak: Duration::from_secs(10),
        ..checked_by(CheckBy::Http)
    });
    stage.on(listened(0));
    stage.on(listened_on(1, 0, 80));
    stage.on(listened_on(0, 7, 81));
    stage.on(listened_on(1, 8, 81));
    stage.on(RELOAD);
    stage.on(passed(1));
    let stopped = failed_by(0, CheckFailure::Stopped);
    assert_eq!(drained_by(&mut stage, stopped), [ListenerId(7)]);
    for (worker, listener, port) in [(2, 2, 80), (2, 9, 81), (3, 2, 80)] {
        stage.on(listened_on(worker, listener, port));
    }
    let flipped = stage.on(listened_on(3, 10, 81));
    assert_eq!(flipped, ["end check 1", "steer 2 9 10", "fence"]);
    assert_eq!(stage.phases()[..2], ["0 settling", "2 serving"]);
}

/// The listeners that are given to a rescuer upon an event.
fn drained_by(stage: &mut Stage, event: Event) -> Vec<ListenerId> {
    let effects = stage.fleet.step(stage.now, event);
    let drained = effects.into_iter().filter_map(|effect| match effect {
        Effect::DrainBacklog { listeners, .. } => Some(listeners),
        _ => None,
    });
    drained.flatten().collect()
}

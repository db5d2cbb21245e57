//! One change at a time.

use super::*;

#[test]
fn a_client_is_denied_while_a_change_is_under_way() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    assert_eq!(stage.on(RELOAD), ["denied: reload"]);
    assert_eq!(stage.on(scale(3)), ["denied: reload"]);
    assert_eq!(stage.on(restart(0)), ["denied: reload"]);
}

#[test]
fn a_new_request_is_accepted_once_the_old_workers_have_the_stop_signal() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    stage.on(listened(2));
    stage.on(listened(3));
    stage.retire(&[0, 1]);
    assert_eq!(stage.on(RELOAD), ["spawn 4", "spawn 5"]);
}

#[test]
fn pending_signals_are_obeyed_after_the_change_and_the_scale_first() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    assert_eq!(stage.on(patient_reload(None)), ["reload waits: reload"]);
    let fewer = Event::ScaleRequested {
        reply_to: None,
        to: ScaleTo::By(-1),
    };
    stage.on(fewer);
    assert_eq!(
        stage.on(exited(2)),
        ["signal 3", "reload failed", "steer 0", "fence"]
    );
    stage.on(Event::Fenced);
    stage.on(backlog(1, 0));
    assert_eq!(stage.on(quiet(1, true)), ["signal 1", "spawn 4"]);
}

#[test]
fn clients_that_wait_their_turn_have_a_reload_each_in_their_order() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    let others = [Some(ClientId(8)), Some(ClientId(9))];
    for client in others {
        assert_eq!(stage.on(patient_reload(client)), ["reload waits: reload"]);
    }
    // A signal's reload is one of theirs.
    stage.on(patient_reload(None));
    for (number, client) in (2..).step_by(2).zip([ME].into_iter().chain(others)) {
        let began = stage.reload_of();
        assert_eq!(began, Some(client));
        let failed = stage.on(exited(number));
        assert!(failed.contains(&"reload failed".to_owned()), "{failed:?}");
    }
    assert_eq!(stage.reload_of(), None);
}

#[test]
fn who_waits_for_a_turn_hears_that_none_comes() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    stage.on(patient_reload(Some(ClientId(8))));
    let stopped = stage.on(stop(false));
    assert!(
        stopped.contains(&"denied: stopping".to_owned()),
        "{stopped:?}"
    );
}

#[test]
fn a_pending_reload_runs_at_once_after_a_pending_scale_that_is_denied() {
    let mut stage = Stage::serving(Policy {
        most_workers: 2,
        ..policy()
    });
    stage.on(RELOAD);
    stage.on(patient_reload(None));
    stage.on(Event::ScaleRequested {
        reply_to: None,
        to: ScaleTo::By(1),
    });
    let after = stage.on(exited(2));
    assert_eq!(
        after,
        [
            "signal 3",
            "reload failed",
            "denied: 3 workers",
            "spawn 4",
            "spawn 5"
        ]
    );
}

//! Which addresses a new worker owes, and which may change.

use super::*;

const ACCEPTING: Event = reload(ME, IfBusy::Deny, Addresses::MayChange, None);

/// Two workers serve 80 and have done so for a while.
fn long_serving() -> Stage {
    let mut stage = Stage::serving(policy());
    stage.after(2000);
    stage
}

#[test]
fn what_is_opened_after_ready_is_owed_by_no_new_worker() {
    let mut stage = long_serving();
    assert_eq!(
        stage.on(listened_on(0, 4, 9229)),
        ["steer 0 1 4"],
        "it is managed all the same"
    );
    stage.on(listened_on(1, 5, 9229));
    stage.on(RELOAD);
    stage.on(listened(2));
    assert_eq!(stage.on(listened(3)), ["steer 2 3", "fence"]);
    stage.retire(&[0, 1]);
    stage.on(exited(0));
    assert_eq!(stage.on(exited(1)), ["close 1", "close 5", "reload done"]);
}

#[test]
fn what_one_worker_alone_serves_is_owed_by_nobody() {
    let mut stage = Stage::serving(policy());
    stage.on(listened_on(0, 4, 9000));
    stage.after(2000);
    stage.on(RELOAD);
    stage.on(listened(2));
    // It gets some time, for its predecessor had opened that soon after it was ready.
    assert!(stage.on(listened(3)).is_empty());
    assert!(stage.after(999).is_empty());
    assert_eq!(stage.after(1), ["steer 2 3", "fence"]);
}

#[test]
fn a_second_port_that_soon_follows_the_first_is_of_the_service() {
    let mut stage = Stage::serving(policy());
    stage.after(200);
    stage.on(listened_on(0, 4, 443));
    stage.on(listened_on(1, 5, 443));
    stage.on(RELOAD);
    stage.on(listened(2));
    stage.on(listened(3));
    assert!(stage.after(5000).is_empty());
    stage.on(listened_on(2, 6, 443));
    assert_eq!(stage.on(listened_on(3, 7, 443)), ["steer 2 3 6 7", "fence"]);
}

#[test]
fn what_follows_ready_at_all_is_not_owed_where_ready_was_said() {
    let mut stage = Stage::new(Policy {
        ready: ReadyWhen::Notified,
        workers: 1,
        ..policy()
    });
    let says = |worker| Event::Notified {
        worker: WorkerId(worker),
    };
    stage.on(listened(0));
    stage.on(listened_on(0, 4, 443));
    stage.on(says(0));
    stage.after(2);
    stage.on(listened_on(0, 5, 9229));
    stage.after(2000);
    stage.on(RELOAD);
    stage.on(listened(1));
    stage.on(says(1));
    assert_eq!(stage.phases(), ["0 serving", "1 starting"], "443 is owed");
    stage.on(listened_on(1, 6, 443));
    assert_eq!(stage.phases(), ["0 serving", "1 ready"]);
    assert_eq!(stage.after(1000), ["steer 1 6", "fence"]);
}

#[test]
fn a_replacement_owes_nothing_that_was_opened_after_ready() {
    let mut stage = long_serving();
    stage.on(listened_on(0, 4, 9229));
    assert_eq!(stage.on(exited(0)), ["steer 1", "spawn 2 on 0 4"]);
    assert_eq!(stage.on(listened_on(2, 0, 80)), ["steer 0 1"]);
    // A client that waits there would wait for nobody.
    assert_eq!(stage.after(1000), ["close 4"]);
    assert_eq!(stage.phases(), ["2 serving", "1 serving"]);
}

#[test]
fn a_replacement_that_opens_the_same_keeps_it() {
    let mut stage = long_serving();
    stage.on(listened_on(0, 4, 9229));
    stage.on(exited(0));
    stage.on(listened_on(2, 0, 80));
    assert_eq!(stage.on(listened_on(2, 4, 9229)), ["steer 0 1 4"]);
    assert!(stage.after(1000).is_empty());
}

#[test]
fn addresses_that_may_change_are_not_owed() {
    let mut stage = long_serving();
    stage.on(ACCEPTING);
    stage.on(listened_on(2, 2, 81));
    assert!(stage.on(listened_on(3, 3, 81)).is_empty());
    // They had a second for what the service is.
    assert_eq!(stage.after(1000), ["steer 2 3", "fence"]);
    stage.retire(&[0, 1]);
    assert_eq!(stage.on(exited(0)), ["close 0"]);
    assert_eq!(stage.on(exited(1)), ["close 1", "reload done"]);
    stage.after(2000);
    stage.on(RELOAD);
    stage.on(listened(4));
    stage.on(listened(5));
    assert!(
        stage.after(5000).is_empty(),
        "the new addresses are the service's now"
    );
}

#[test]
fn a_reload_that_accepts_changes_may_wait_its_turn() {
    let mut stage = Stage::new(policy());
    stage.on(reload(ME, IfBusy::Wait, Addresses::MayChange, None));
    stage.on(listened(0));
    assert_eq!(stage.on(listened(1)).last().unwrap(), "spawn 3");
    stage.on(listened_on(2, 2, 81));
    stage.on(listened_on(3, 3, 81));
    assert_eq!(stage.after(1000), ["steer 2 3", "fence"]);
}

#[test]
fn the_port_of_the_only_worker_that_is_left_is_not_owed_in_other_slots() {
    let mut stage = Stage::serving(policy());
    stage.on(listened_on(0, 4, 9000));
    stage.on(listened_on(1, 5, 9001));
    stage.after(2000);
    stage.on(exited(0));
    stage.on(RELOAD);
    for (worker, port) in [(3, 9000), (4, 9001)] {
        stage.on(listened_on(worker, worker + 10, port));
        stage.on(listened(worker));
    }
    assert!(
        stage.phases().contains(&"3 serving".to_owned()),
        "{:?}",
        stage.phases()
    );
}

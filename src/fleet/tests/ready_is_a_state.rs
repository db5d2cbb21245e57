//! Ready workers are looked at before they take over, and a flip is taken back as long as the old ones are there.

use super::*;

/// What is done about an event; the look at ready workers is answered with this.
fn seeing(stage: &mut Stage, event: Event, seen: Vec<(WorkerId, Seen)>) -> Vec<String> {
    let looks = |effect: &Effect| matches!(effect, Effect::LookAtReady { .. });
    let effects = stage.fleet.step(stage.now, event);
    assert!(effects.iter().any(looks), "{effects:?}");
    stage.on(Event::ReadySeen { seen })
}

fn let_go(worker: u64) -> (WorkerId, Seen) {
    (WorkerId(worker), Seen::LetGo(vec![ListenerId(worker)]))
}

fn serves(worker: u64) -> (WorkerId, Seen) {
    (WorkerId(worker), Seen::Serves)
}

/// A reload whose workers 2 and 3 listen; what was seen of them is this.
fn reloading(seen: Vec<(WorkerId, Seen)>) -> (Stage, Vec<String>) {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    stage.on(listened(2));
    let done = seeing(&mut stage, listened(3), seen);
    (stage, done)
}

#[test]
fn workers_that_are_as_they_said_take_over() {
    let (_, done) = reloading(vec![serves(2), serves(3)]);
    assert_eq!(done, ["steer 2 3", "fence"]);
}

#[test]
fn a_worker_that_has_closed_its_listener_is_starting_still() {
    let (mut stage, done) = reloading(vec![serves(2), let_go(3)]);
    assert_eq!(done, Vec::<String>::new());
    let phases = ["0 serving", "2 ready", "1 serving", "3 starting"];
    assert_eq!(stage.phases(), phases);
    let seen = vec![serves(2), serves(3)];
    let listens = listened(3);
    assert_eq!(seeing(&mut stage, listens, seen), ["steer 2 3", "fence"]);
}

#[test]
fn a_worker_that_does_not_listen_again_fails_its_reload() {
    let (mut stage, _) = reloading(vec![serves(2), let_go(3)]);
    assert_eq!(
        stage.after(60_000),
        ["signal 2", "signal 3", "reload failed"]
    );
}

#[test]
fn a_port_that_is_not_owed_may_be_closed_again() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    stage.on(listened(2));
    stage.on(listened_on(3, 4, 9999));
    let gone = Seen::LetGo(vec![ListenerId(4)]);
    let seen = vec![serves(2), (WorkerId(3), gone)];
    let done = seeing(&mut stage, listened(3), seen);
    assert_eq!(done, ["close 4", "steer 2 3", "fence"]);
}

#[test]
fn the_end_of_a_worker_that_was_seen_dead_fails_its_reload() {
    let (mut stage, done) = reloading(vec![serves(2), (WorkerId(3), Seen::Ended)]);
    assert_eq!(done, Vec::<String>::new());
    assert_eq!(
        stage.on(exited(3)),
        ["signal 2", "reload failed", "close 3"]
    );
}

#[test]
fn new_workers_must_have_been_ready_for_as_long_as_is_asked_for() {
    let mut stage = Stage::new(Policy {
        min_uptime: Duration::from_secs(5),
        ..policy()
    });
    stage.on(listened(0));
    stage.on(listened(1));
    stage.after(5000);
    stage.on(RELOAD);
    stage.on(listened(2));
    stage.after(2000);
    assert!(stage.on(listened(3)).is_empty());
    assert!(stage.after(4999).is_empty());
    assert_eq!(stage.after(1), ["steer 2 3", "fence"]);
}

#[test]
fn the_end_of_a_new_worker_takes_the_flip_back() {
    let (mut stage, _) = reloading(vec![serves(2), serves(3)]);
    stage.on(Event::Fenced);
    stage.on(backlog(0, 0));
    assert_eq!(
        stage.on(exited(2)),
        ["steer 0 1", "fence", "close 2", "reload failed"]
    );
    assert_eq!(stage.fleet.reloads(), (0, 1));
    let phases = ["0 serving", "1 serving", "3 settling"];
    assert_eq!(stage.phases(), phases);
    stage.retire(&[3]);
    assert_eq!(stage.on(exited(3)), ["close 3"]);
}

#[test]
fn connections_are_given_back_when_a_flip_is() {
    let mut stage = Stage::serving(Policy {
        rescue: true,
        ..policy()
    });
    stage.on(RELOAD);
    stage.on(listened(2));
    stage.on(listened(3));
    stage.on(Event::Fenced);
    assert_eq!(stage.on(backlog(0, 0)), ["adopt 0"]);
    let done = stage.on(exited(2));
    assert_eq!(done[..3], ["give back", "steer 0 1", "fence"]);
    // Its rescuer is gone, and it serves: there is nobody to wait for.
    let lost = Event::RescueLost {
        worker: WorkerId(0),
    };
    assert_eq!(stage.on(lost), Vec::<String>::new());
    assert_eq!(stage.phases()[..2], ["0 serving", "1 serving"]);
}

#[test]
fn a_flip_is_not_taken_back_when_an_old_worker_was_told() {
    let (mut stage, _) = reloading(vec![serves(2), serves(3)]);
    stage.on(Event::Fenced);
    stage.on(backlog(0, 0));
    assert_eq!(stage.on(quiet(0, true)), ["signal 0"]);
    assert_eq!(stage.on(exited(2)), ["steer 3", "spawn 4 on 2"]);
}

#[test]
fn a_slot_that_was_empty_before_gets_a_worker_when_the_flip_is_taken_back() {
    let mut stage = Stage::serving(policy());
    stage.on(exited(0));
    stage.on(exited(2));
    stage.on(RELOAD);
    stage.on(listened(3));
    stage.on(listened(4));
    assert!(stage.phases().contains(&"1 settling".to_owned()));
    let done = stage.on(exited(4));
    assert!(done.contains(&"reload failed".to_owned()), "{done:?}");
    let served = stage.phases();
    assert!(served.contains(&"1 serving".to_owned()), "{served:?}");
    assert!(
        served.iter().any(|it| it.ends_with("starting")),
        "{served:?}"
    );
}

#[test]
fn a_reload_is_not_done_when_nobody_serves() {
    let (mut stage, _) = reloading(vec![serves(2), serves(3)]);
    stage.retire(&[0, 1]);
    for crashed in 2..8 {
        stage.on(exited(crashed));
    }
    stage.on(exited(0));
    assert_eq!(stage.on(exited(1)).last().unwrap(), "reload failed");
    assert_eq!(stage.fleet.reloads(), (0, 1));
}

#[test]
fn a_start_of_which_nobody_stays_fails() {
    let mut stage = Stage::new(Policy {
        min_uptime: Duration::from_secs(5),
        ..policy()
    });
    stage.on(listened(0));
    stage.on(listened(1));
    stage.on(exited(0));
    let done = stage.on(exited(1));
    assert!(done.contains(&"start failed".to_owned()), "{done:?}");
}

#[test]
fn a_first_worker_that_daemonises_fails_the_start_however_late() {
    let daemonised = |worker| Event::Exited {
        worker: WorkerId(worker),
        exit: Exit::Daemonised,
    };
    let mut starting = Stage::new(policy());
    starting.on(listened(0));
    let done = starting.on(daemonised(0));
    assert!(done.contains(&"start failed".to_owned()), "{done:?}");
    let mut stage = Stage::serving(policy());
    stage.on(daemonised(0));
    stage.on(Event::Fenced);
    stage.on(backlog(1, 0));
    stage.on(quiet(1, true));
    let done = stage.on(exited(1));
    assert_eq!(done.last().unwrap(), "finish: StartFailed");
}

#[test]
fn a_later_worker_that_daemonises_is_not_restarted() {
    let (mut stage, _) = reloading(vec![serves(2), serves(3)]);
    stage.retire(&[0, 1]);
    let exit = Exit::Daemonised;
    let worker = WorkerId(2);
    assert_eq!(
        stage.on(Event::Exited { worker, exit }),
        ["steer 3", "close 2"]
    );
}

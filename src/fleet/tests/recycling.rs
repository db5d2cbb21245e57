//! Workers that have reached a limit are replaced, one after the other, and operators come first.

use super::*;

const AGE: u64 = 10_000;
/// All have come to their age, jitter and all.
const OLD: u64 = 11_000;

fn aging_with(policy: Policy) -> Policy {
    Policy {
        limits: Limits {
            max_age: Some(Duration::from_millis(AGE)),
            ..Limits::default()
        },
        ..policy
    }
}

fn aging() -> Policy {
    aging_with(policy())
}

const OLD_AGE: RecycleReason = RecycleReason::MaxAge {
    age: Duration::from_secs(1),
    limit: Duration::from_secs(1),
};

/// Workers 0 and 1 are to be recycled, and worker 2 starts in the place of worker 1, whose age is the lesser.
fn recycling_with(policy: Policy) -> Stage {
    let mut stage = Stage::serving(aging_with(policy));
    assert_eq!(stage.after(OLD), ["spawn 2"]);
    stage
}

fn recycling() -> Stage {
    recycling_with(policy())
}

fn reasons(stage: &Stage) -> Vec<u64> {
    let view = stage.fleet.view(stage.now);
    let marked = view.iter().filter(|line| line.recycling.is_some());
    marked.map(|line| line.worker.0).collect()
}

#[test]
fn workers_of_an_age_are_replaced_one_after_the_other() {
    let mut stage = recycling();
    assert_eq!(stage.fleet.phase_name(), "recycling");
    assert_eq!(reasons(&stage), [0, 1]);
    assert_eq!(stage.on(listened(2)), ["steer 0 2", "fence"]);
    stage.on(Event::Fenced);
    assert_eq!(stage.on(backlog(1, 0)), ["connections 1"]);
    // The next one begins as soon as this one has been told to stop.
    assert_eq!(stage.on(quiet(1, true)), ["signal 1", "spawn 3"]);
    assert_eq!(stage.on(exited(1)), ["close 1", "recycling done"]);
    assert_eq!(stage.on(listened(3)), ["steer 2 3", "fence"]);
    stage.retire(&[0]);
    assert_eq!(stage.on(exited(0)), ["close 0", "recycling done"]);
    let tally = stage.fleet.recyclings();
    assert_eq!((tally.done, tally.failed), (2, 0));
    assert_eq!(stage.phases(), ["3 serving", "2 serving"]);
    assert_eq!(stage.generation_of(3), 1);
    // From now on it is the new ones that age, from when they were ready.
    assert!(stage.after(AGE - 1).is_empty());
    assert_eq!(stage.after(OLD - AGE + 1), ["spawn 4"]);
}

#[test]
fn they_do_not_come_to_their_age_together() {
    let mut stage = Stage::serving(aging());
    assert!(stage.after(AGE - 1).is_empty());
    let mut first = None;
    for _ in AGE..=OLD {
        let done = stage.after(1);
        if !done.is_empty() {
            first.get_or_insert(reasons(&stage));
        }
    }
    assert_eq!(first.map(|marked| marked.len()), Some(1));
}

#[test]
fn a_replacement_that_fails_changes_nothing_and_is_tried_again_ever_later() {
    let mut stage = recycling();
    // The other worker is not kept from its turn by that.
    assert_eq!(stage.on(exited(2)), ["recycling failed", "spawn 3"]);
    assert_eq!(stage.on(exited(3)), ["recycling failed"]);
    assert_eq!(stage.phases(), ["0 serving", "1 serving"]);
    assert_eq!(reasons(&stage), [0, 1]);
    let mut spawned = 4;
    for pause in [100, 200, 400, 800] {
        for _ in 0..2 {
            assert!(stage.after(0).is_empty());
        }
        assert!(stage.after(pause - 1).is_empty());
        assert_eq!(stage.after(1), [format!("spawn {spawned}")]);
        let next = format!("spawn {}", spawned + 1);
        assert_eq!(stage.on(exited(spawned)), ["recycling failed", &next]);
        assert_eq!(stage.on(exited(spawned + 1)), ["recycling failed"]);
        spawned += 2;
    }
    let tally = stage.fleet.recyclings();
    assert_eq!((tally.done, tally.failed), (0, 10));
}

#[test]
fn what_an_operator_asks_for_waits_and_goes_first() {
    let client = |number| Some(ClientId(number));
    let mut stage = recycling();
    assert_eq!(stage.on(RELOAD), ["reload waits: recycling"]);
    let scale = Event::ScaleRequested {
        reply_to: client(8),
        to: ScaleTo::Exactly(1),
    };
    assert_eq!(stage.on(scale), ["scale waits: recycling"]);
    assert_eq!(stage.on(restart(1)), ["restart waits: recycling"]);
    stage.on(listened(2));
    stage.on(Event::Fenced);
    stage.on(backlog(1, 0));
    // Not the recycling of worker 0.
    let begun = stage.on(quiet(1, true));
    assert_eq!(begun, ["signal 1", "spawn 3", "spawn 4"]);
    stage.on(listened(3));
    stage.on(listened(4));
    stage.on(exited(1));
    stage.on(Event::Fenced);
    for id in [0, 2] {
        stage.on(backlog(id, 0));
    }
    stage.on(quiet(0, true));
    // Then each in the order in which they came; worker 1 has been replaced meanwhile.
    let done = ["signal 2", "steer 3", "fence"];
    assert_eq!(stage.on(quiet(2, true)), done);
    stage.retire(&[4]);
    let done = stage.on(exited(4));
    assert_eq!(done, ["close 4", "scale done"]);
    assert!(reasons(&stage).is_empty(), "they were replaced anyway");
}

#[test]
fn what_signals_ask_for_waits_too() {
    let mut stage = recycling();
    assert_eq!(stage.on(patient_reload(None)), ["reload waits: recycling"]);
    let one_more = Event::ScaleRequested {
        reply_to: None,
        to: ScaleTo::By(1),
    };
    assert_eq!(stage.on(one_more), ["scale waits: recycling"]);
    assert_eq!(stage.on(exited(2)), ["recycling failed", "spawn 3"]);
    assert_eq!(
        stage.on(listened(3)),
        ["steer 0 1 3", "scale done", "spawn 4", "spawn 5", "spawn 6"]
    );
}

#[test]
fn a_worker_that_ends_is_forgotten() {
    let mut stage = recycling();
    assert_eq!(stage.on(exited(0)), ["steer 1", "spawn 3 on 0"]);
    assert_eq!(reasons(&stage), [1]);
    stage.on(listened_on(3, 0, 80));
    stage.on(listened(2));
    stage.retire(&[1]);
    assert_eq!(stage.on(exited(1)), ["close 1", "recycling done"]);
    assert_eq!(stage.fleet.recyclings().done, 1);
}

#[test]
fn nothing_is_recycled_in_another_change() {
    let mut stage = Stage::serving(aging_with(Policy {
        soak: Duration::from_millis(2 * OLD),
        ..policy()
    }));
    stage.on(RELOAD);
    assert!(stage.after(OLD).is_empty(), "while the new ones start");
    assert_eq!(reasons(&stage), [0, 1]);
    stage.on(listened(2));
    stage.on(listened(3));
    assert!(stage.after(OLD).is_empty(), "in the soak");
    // The old ones serve again, and are as old as ever.
    let done = stage.on(exited(3));
    assert_eq!(done[..2], ["steer 0 1", "fence"]);
    assert_eq!(reasons(&stage), [0, 1]);
    stage.on(Event::Fenced);
    stage.on(backlog(2, 0));
    assert_eq!(stage.on(quiet(2, true)), ["signal 2", "spawn 4"]);
}

#[test]
fn a_flip_that_is_taken_back_is_no_recycling() {
    let mut stage = recycling();
    stage.on(listened(2));
    assert_eq!(stage.fleet.recyclings().done, 1);
    let done = stage.on(exited(2));
    assert_eq!(
        done,
        ["steer 0 1", "close 2", "recycling failed", "spawn 3"],
        "it is the other one's turn"
    );
    let tally = stage.fleet.recyclings();
    assert_eq!((tally.done, tally.failed), (0, 1));
    assert_eq!(reasons(&stage), [0, 1]);
}

#[test]
fn a_recycling_keeps_to_the_bounds() {
    let rolling = |surge, unavailable| Policy {
        strategy: Strategy::Rolling(Bounds {
            surge: Share::Count(surge),
            unavailable: Share::Count(unavailable),
        }),
        ..policy()
    };
    let mut stage = Stage::serving(aging_with(rolling(0, 1)));
    assert_eq!(stage.after(OLD), ["steer 0", "fence"]);
    stage.retire(&[1]);
    assert_eq!(stage.on(exited(1)), ["close 1", "spawn 2"]);
    assert_eq!(stage.on(exited(2)), ["recycling failed"]);
    assert_eq!(stage.after(100), ["spawn 3"], "the slot is not lost");
    let mut stage = recycling_with(rolling(1, 0));
    stage.on(listened(2));
    stage.on(Event::Fenced);
    stage.on(backlog(1, 0));
    assert_eq!(stage.on(quiet(1, true)), ["signal 1"], "there is no room");
    let done = ["close 1", "spawn 3", "recycling done"];
    assert_eq!(stage.on(exited(1)), done);
}

#[test]
fn a_queue_is_recycled_whole_or_not_at_all() {
    let shared = |surge| {
        aging_with(Policy {
            queues: Some(1),
            strategy: Strategy::Rolling(Bounds {
                surge: Share::Count(surge),
                unavailable: Share::Count(0),
            }),
            ..policy()
        })
    };
    let serving = |policy| {
        let mut stage = Stage::new(policy);
        stage.on(listened(0));
        stage.on(listened_on(1, 0, 80));
        stage
    };
    assert_eq!(serving(shared(2)).after(OLD), ["spawn 2", "spawn 3"]);
    let mut stage = serving(shared(1));
    assert!(stage.after(OLD).is_empty());
    assert_eq!(stage.fleet.recyclings().failed, 2);
    assert!(stage.fleet.next_deadline() > Some(stage.now));
}

#[test]
fn the_end_forgets_recyclings() {
    let mut stage = recycling();
    stage.on(stop(false));
    assert_eq!(stage.fleet.phase_name(), "stopping");
    assert_eq!(stage.fleet.recyclings().failed, 0, "it was given up");
    assert!(stage.fleet.next_deadline().is_none_or(|at| at > stage.now));
    let mut stage = Stage::serving(aging_with(Policy {
        pre_stop: Duration::from_millis(3 * OLD),
        ..policy()
    }));
    stage.on(stop(false));
    assert!(
        stage.after(OLD).is_empty(),
        "not while it serves on, either"
    );
}

#[test]
fn a_slot_that_waits_for_its_next_worker_comes_first() {
    let mut stage = Stage::serving(aging());
    stage.on(exited(0));
    // The second crash is followed by a pause.
    stage.on(exited(2));
    stage.fleet.recycle(stage.now, WorkerId(1), OLD_AGE);
    assert_eq!(reasons(&stage), [1]);
    assert!(stage.after(99).is_empty());
    assert_eq!(stage.after(1), ["spawn 3 on 0", "spawn 4"]);
}

#[test]
fn what_is_asked_for_twice_is_done_once() {
    let mut stage = Stage::serving(policy());
    for _ in 0..2 {
        stage.fleet.recycle(stage.now, WorkerId(1), OLD_AGE);
    }
    assert_eq!(stage.after(1), ["spawn 2"]);
    stage.fleet.recycle(stage.now, WorkerId(1), OLD_AGE);
    assert_eq!(stage.on(exited(2)), ["recycling failed"]);
    assert!(stage.after(99).is_empty());
    assert_eq!(stage.after(1), ["spawn 3"]);
}

#[test]
fn a_worker_that_does_not_serve_is_not_recycled() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    for id in [2, 99] {
        stage.fleet.recycle(stage.now, WorkerId(id), OLD_AGE);
    }
    assert!(reasons(&stage).is_empty());
}

#[test]
fn the_age_counts_from_when_a_worker_was_ready() {
    let mut stage = Stage::new(aging());
    assert!(stage.after(5_000).is_empty());
    stage.on(listened(0));
    stage.on(listened(1));
    assert!(stage.after(AGE - 1).is_empty());
    assert_eq!(stage.after(OLD - AGE + 1), ["spawn 2"]);
}

#[test]
fn a_roll_back_waits_too() {
    let mut stage = recycling();
    let rollback = Event::RollbackRequested { reply_to: ME };
    assert_eq!(stage.on(rollback), ["rollback waits: recycling"]);
    stage.on(listened(2));
    stage.on(Event::Fenced);
    stage.on(backlog(1, 0));
    let begun = stage.on(quiet(1, true));
    assert_eq!(
        begun,
        ["signal 1", "denied: nothing to roll back", "spawn 3"]
    );
}

/// What a reload brings is for those that it starts, and for nobody if it fails.
#[test]
fn the_limits_of_a_reload_are_none_of_the_old_workers() {
    let mut stage = Stage::serving(policy());
    stage.policy.limits.max_connections = Some(10);
    stage.on(RELOAD);
    let used = |worker| Usage {
        connections: Some(worker),
        ..Usage::default()
    };
    for count in [0, 1_000] {
        let usage = vec![(WorkerId(0), used(count)), (WorkerId(1), used(count))];
        stage.on(Event::UsageMeasured { usage });
    }
    assert!(reasons(&stage).is_empty());
}

//! A change of several batches: one generation, one retirement, one answer.

use std::collections::{BTreeSet, VecDeque};

use super::*;

/// Slot 0 is replaced before slot 1.
fn rolling() -> Stage {
    let mut stage = Stage::serving(policy());
    let batches = [0, 1].map(|slot| BTreeSet::from([Slot(slot)]));
    let effects = stage
        .fleet
        .begin_in_batches(stage.now, ME, VecDeque::from(batches));
    let done: Vec<String> = effects.iter().filter_map(brief).collect();
    assert_eq!(done, ["spawn 2"]);
    stage
}

#[test]
fn the_next_batch_begins_when_the_one_before_serves() {
    let mut stage = rolling();
    assert_eq!(stage.on(listened(2)), ["steer 1 2", "fence", "spawn 3"]);
    assert_eq!(
        stage.phases(),
        ["0 settling", "2 serving", "1 serving", "3 starting"]
    );
    assert_eq!(stage.on(listened(3)), ["steer 2 3", "fence"]);
}

#[test]
fn the_answer_comes_when_the_last_batch_is_gone() {
    let mut stage = rolling();
    stage.on(listened(2));
    stage.retire(&[0]);
    assert_eq!(stage.on(exited(0)), ["close 0"], "the change goes on");
    stage.on(listened(3));
    stage.retire(&[1]);
    assert_eq!(stage.on(exited(1)), ["close 1", "reload done"]);
}

#[test]
fn what_was_replaced_is_replaced_again_when_a_later_batch_fails() {
    let mut stage = rolling();
    stage.on(listened(2));
    assert_eq!(stage.on(exited(3)), ["reload failed", "spawn 4"]);
    let phases = ["0 settling", "2 serving", "4 starting", "1 serving"];
    assert_eq!(stage.phases(), phases);
    assert_eq!(stage.on(listened(4)), ["steer 1 4", "fence"]);
    stage.retire(&[2]);
    assert_eq!(stage.on(exited(2)), ["close 2", "rollback done"]);
}

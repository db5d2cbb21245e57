//! Many workers: an event about one costs no look at all.

use std::collections::BTreeSet;

use super::*;

/// Serves `count` workers, replaces all of them, and says how many effects that had, and how many listeners
/// were named in them.
fn reload(count: u32) -> (usize, usize) {
    let mut stage = Stage::new(Policy {
        workers: count,
        most_workers: count,
        ..policy()
    });
    let count = u64::from(count);
    (0..count).for_each(|id| drop(stage.on(listened(id))));
    let mut effects = Vec::new();
    let mut step = |stage: &mut Stage, event| effects.extend(stage.fleet.step(stage.now, event));
    step(&mut stage, RELOAD);
    let policy = Ok(Box::new(stage.policy.clone()));
    let deployment = DeploymentId(1);
    step(&mut stage, Event::DeploymentRead { deployment, policy });
    (count..2 * count).for_each(|id| step(&mut stage, listened(id)));
    let seen = (count..2 * count).map(|id| (WorkerId(id), Seen::Serves));
    let seen = Event::ReadySeen {
        seen: seen.collect(),
    };
    step(&mut stage, seen);
    step(&mut stage, Event::Fenced);
    let settled = (0..count).map(|id| (WorkerId(id), 0));
    let settled = Event::BacklogsMeasured {
        pending: settled.collect(),
    };
    step(&mut stage, settled);
    let quiet = (0..count).map(|id| (WorkerId(id), true));
    let quiet = Event::ConnectionsMeasured {
        quiet: quiet.collect(),
    };
    step(&mut stage, quiet);
    (0..count).for_each(|id| step(&mut stage, exited(id)));
    let named = effects.iter().map(|effect| match effect {
        Effect::Steer { live } => live.len(),
        Effect::LookAtReady { workers } => workers.len(),
        Effect::MeasureBacklogs { workers } => workers.len(),
        Effect::MeasureConnections { workers } => workers.len(),
        _ => 1,
    });
    let named = named.sum();
    let last = effects.last().and_then(brief);
    assert_eq!(last.as_deref(), Some("reload done"));
    (effects.len(), named)
}

#[test]
fn the_effects_of_a_reload_grow_no_faster_than_the_workers() {
    let (few, named_by_few) = reload(100);
    let (many, named_by_many) = reload(1_000);
    assert!(many <= few * 10, "{few}, {many}");
    assert!(
        named_by_many <= named_by_few * 10,
        "{named_by_few}, {named_by_many}"
    );
}

#[test]
fn only_the_flip_steers() {
    let mut stage = Stage::serving(policy());
    stage.on(RELOAD);
    stage.on(listened(2));
    let flip = stage.on(listened(3));
    assert_eq!(flip, ["steer 2 3", "fence"]);
    stage.retire(&[0, 1]);
    let exits: BTreeSet<String> = [0, 1].iter().flat_map(|id| stage.on(exited(*id))).collect();
    let expected = ["close 0", "close 1", "reload done"].map(str::to_owned);
    assert_eq!(exits, expected.into());
}

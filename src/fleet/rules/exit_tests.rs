//! Every cell of the table of what the end of a worker means.

use super::*;
use crate::fleet::Time;
use crate::fleet::phase::{Fence, QuiescedBy, Settled};

const NEVER: Time = Time::NEVER;

fn settling() -> Phase {
    Phase::Settling {
        since: NEVER,
        fence: Fence::Asked,
        next_look: NEVER,
        pending: 0,
    }
}

fn quiescing() -> Phase {
    Phase::Quiescing {
        since: NEVER,
        settled: Settled::Empty,
        by: QuiescedBy::Rescuer { until: NEVER },
    }
}

fn preparing(reason: StopReason) -> Phase {
    Phase::PreparingStop {
        reason,
        settled: Settled::Empty,
        deadline: NEVER,
    }
}

fn draining(reason: StopReason) -> Phase {
    Phase::Draining {
        reason,
        signal: None,
        deadline: NEVER,
    }
}

const REASONS: [StopReason; 4] = [
    StopReason::Retired,
    StopReason::RolledBack,
    StopReason::StartTimedOut,
    StopReason::Shutdown,
];

/// A row: the phases, and what follows for an incoming worker, one that serves, one that only drains.
fn rows() -> Vec<(Vec<Phase>, [Consequence; 3])> {
    use Consequence::{ChangeFails, Crashed, Gone, GoneEarly};
    let starting = Phase::Starting {
        deadline: NEVER,
        next_probe: NEVER,
    };
    let leaving = [settling(), quiescing()];
    let leaving = leaving.into_iter().chain(REASONS.map(preparing));
    let killed = |reason| Phase::Killed { reason };
    let for_good = [
        StopReason::Retired,
        StopReason::RolledBack,
        StopReason::Shutdown,
    ];
    vec![
        (
            vec![starting, Phase::Ready],
            [ChangeFails, Crashed, GoneEarly],
        ),
        (vec![Phase::Serving], [Crashed, Crashed, GoneEarly]),
        (leaving.collect(), [GoneEarly; 3]),
        (REASONS.map(draining).to_vec(), [Gone; 3]),
        (
            vec![killed(StopReason::StartTimedOut)],
            [Crashed, Crashed, GoneEarly],
        ),
        (for_good.map(killed).to_vec(), [Gone; 3]),
    ]
}

#[test]
fn every_end_has_its_consequence() {
    let columns = [
        (Part::Incoming, Role::Serve),
        (Part::Other, Role::Serve),
        (Part::Other, Role::DrainOnly),
    ];
    for (phases, expected) in rows() {
        for phase in phases {
            for ((part, role), expected) in columns.iter().zip(expected) {
                let consequence = Consequence::of(phase, *part, *role);
                assert_eq!(consequence, expected, "{phase:?}, {part:?}, {role:?}");
            }
        }
    }
}

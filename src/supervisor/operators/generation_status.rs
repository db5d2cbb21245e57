//! What `status` shows of generations.

use std::collections::BTreeMap;

use crate::wire::control::{GenerationStatus, WorkerStatus};

/// Each with the phase of its least advanced worker.
pub(super) fn generations(workers: &[WorkerStatus]) -> Vec<GenerationStatus> {
    const ORDER: [&str; 9] = [
        "given-up",
        "waiting",
        "starting",
        "ready",
        "serving",
        "standing-by",
        "settling",
        "quiescing",
        "draining",
    ];
    let mut by_generation: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for worker in workers {
        by_generation
            .entry(worker.generation)
            .or_default()
            .push(&worker.phase);
    }
    let least = |phases: &[&str]| {
        ORDER
            .iter()
            .find(|phase| phases.contains(phase))
            .copied()
            .unwrap_or_default()
    };
    by_generation
        .into_iter()
        .map(|(generation, phases)| GenerationStatus {
            generation,
            phase: least(&phases).to_owned(),
            workers: u32::try_from(phases.len()).unwrap_or(u32::MAX),
        })
        .collect()
}

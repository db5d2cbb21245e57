//! A part that is another one for each worker, and always the same for one.

use super::vocabulary::WorkerId;

/// So many thousandths of a limit are added at most.
const MOST: u64 = 100;

/// A limit, and a part of up to a tenth of it: workers that started together do not reach it together.
pub(super) fn jittered(limit: u64, worker: WorkerId) -> u64 {
    let part = scattered(worker.0) % (MOST + 1);
    let more = u128::from(limit) * u128::from(part) / 1000;
    limit.saturating_add(u64::try_from(more).unwrap_or(u64::MAX))
}

/// Numbers that follow each other are scattered over all there are (the finalizer of SplitMix64).
fn scattered(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_grows_by_a_tenth_at_most_and_differs_from_worker_to_worker() {
        let limits: Vec<u64> = (0..1000).map(|id| jittered(1000, WorkerId(id))).collect();
        assert!(limits.iter().all(|it| (1000..=1100).contains(it)));
        let distinct: std::collections::BTreeSet<&u64> = limits.iter().collect();
        assert!(distinct.len() > 95, "{} of 101", distinct.len());
        let neighbours = limits.windows(2).filter(|two| two[0] == two[1]).count();
        assert!(neighbours < 30, "{neighbours} neighbours have the same");
        assert_eq!(jittered(u64::MAX, WorkerId(1)), u64::MAX);
    }
}

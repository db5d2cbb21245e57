//! The choice among targets: a hash of the source, spread by weight over runs of neighbours.
//!
//! The hash covers the source address and port, so a connection's retransmitted SYN meets the same
//! listener while the targets stay the same. It has no secret: it balances, it does not defend.

use core::cmp::Reverse;
use core::net::IpAddr;

/// An index of the group that shall get connections, and its share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The index in the group's array.
    pub index: u32,
    /// The share, in relation to the other targets'; 0 gets nothing.
    pub weight: u32,
}

/// Odd, so multiplying by it loses nothing; its bits are those of the golden ratio.
pub(crate) const MULTIPLIER: u32 = 0x9e37_79b1;

/// Brings the well-mixed upper half of a product down to where the remainder is taken.
pub(crate) const SHIFT: u32 = 15;

/// More runs than this are not compiled: a run costs up to five instructions, and a program must stay
/// under `net.core.optmem_max`, which was 18 KiB or 20 KiB for most of the kernel's life.
pub(crate) const MAX_RUNS: usize = 256;

/// Neighbours of equal weight, so that a thousand workers are one line of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The lowest index.
    pub(crate) first: u32,
    /// How many indexes.
    pub(crate) count: u32,
    /// The weight of each.
    pub(crate) weight: u32,
}

impl Run {
    /// The weight of the whole run; [`Spread::new`] sees to it that the sum of all fits.
    pub(crate) fn share(self) -> u32 {
        self.count * self.weight
    }

    fn take(&mut self, target: Target) -> bool {
        let next = self.first.checked_add(self.count) == Some(target.index);
        let fits = next && self.weight == target.weight;
        self.count += u32::from(fits);
        fits
    }
}

/// What a program chooses from: disjoint runs in the order of their indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) runs: Vec<Run>,
    pub(crate) total: u32,
}

impl Spread {
    /// `None` when no target has a weight. Of an index that is given twice, the heavier counts.
    ///
    /// With more than [`MAX_RUNS`] runs the longest are served and the others are left out: fewer
    /// listeners get connections, but none gets one that it must not.
    pub(crate) fn new(targets: &[Target]) -> Option<Self> {
        let runs = longest(compress(&capped(targets)));
        let total = runs.iter().map(|run| run.share()).sum();
        (total > 0).then_some(Self { runs, total })
    }

    /// The index for a hash; `compile` emits the same steps.
    fn pick(&self, hash: u32) -> Option<u32> {
        let mut rest = hash % self.total;
        for run in &self.runs {
            if rest < run.share() {
                return Some(run.first + rest / run.weight);
            }
            rest -= run.share();
        }
        None
    }
}

/// Sorted, each index once, and no weight so large that the sum of all would not fit in 32 bits.
fn capped(targets: &[Target]) -> Vec<Target> {
    let count = u32::try_from(targets.len()).unwrap_or(u32::MAX);
    let most = u32::MAX / count.max(1);
    let mut sorted: Vec<Target> = targets
        .iter()
        .filter(|target| target.weight > 0)
        .map(|target| Target {
            weight: target.weight.min(most),
            ..*target
        })
        .collect();
    sorted.sort_by_key(|target| (target.index, Reverse(target.weight)));
    sorted.dedup_by_key(|target| target.index);
    sorted
}

fn compress(sorted: &[Target]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for &target in sorted {
        if !runs.last_mut().is_some_and(|run| run.take(target)) {
            runs.push(Run {
                first: target.index,
                count: 1,
                weight: target.weight,
            });
        }
    }
    runs
}

fn longest(mut runs: Vec<Run>) -> Vec<Run> {
    runs.sort_by_key(|run| (Reverse(run.count), run.first));
    runs.truncate(MAX_RUNS);
    runs.sort_by_key(|run| run.first);
    runs
}

/// A table of indexes, each as often as its share is, at most `most` in all: what the remainder of a hash
/// by the table's length falls on is what [`choose`] says, as long as the weights themselves fit.
pub fn shares(targets: &[Target], most: usize) -> Vec<u32> {
    let sorted = capped(targets);
    let total: u64 = sorted.iter().map(|target| u64::from(target.weight)).sum();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    // In relation to the most that fit, but none gets nothing.
    let share = |weight: u32| match total <= most {
        true => u64::from(weight),
        false => (u64::from(weight) * most / total).max(1),
    };
    let repeated = sorted.iter().flat_map(|target| {
        let times = usize::try_from(share(target.weight)).unwrap_or(usize::MAX);
        std::iter::repeat_n(target.index, times)
    });
    repeated
        .take(usize::try_from(most).unwrap_or(usize::MAX))
        .collect()
}

/// Adds 32 bits to a hash. `compile` emits the same steps.
fn absorb(hash: u32, word: u32) -> u32 {
    let product = (hash ^ word).wrapping_mul(MULTIPLIER);
    product ^ (product >> SHIFT)
}

/// A word more at the end (0) mixes the port as well as what came before it.
pub(super) fn hash(address: IpAddr, port: u16) -> u32 {
    let addressed = match address.to_canonical() {
        IpAddr::V4(v4) => absorb(0, v4.to_bits()),
        IpAddr::V6(v6) => words(v6.to_bits()).into_iter().fold(0, absorb),
    };
    absorb(absorb(addressed, u32::from(port)), 0)
}

/// The four 32-bit words of an address, first things first; each cast keeps the low 32 bits.
fn words(bits: u128) -> [u32; 4] {
    [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
}

/// The index that the program compiled from `targets` gives to a connection from `source`.
///
/// An IPv4 address mapped into IPv6 is the IPv4 address: that is how a dual-stack listener reports
/// the peers that the program has seen as IPv4. `None` if there is no target.
pub fn choose(targets: &[Target], source: IpAddr, port: u16) -> Option<u32> {
    Spread::new(targets)?.pick(hash(source, port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn even(indexes: impl IntoIterator<Item = u32>) -> Vec<Target> {
        indexes
            .into_iter()
            .map(|index| Target { index, weight: 1 })
            .collect()
    }

    /// Pearson's chi-square of the counts against the weights.
    fn chi_square(targets: &[Target], sources: impl Iterator<Item = (IpAddr, u16)>) -> f64 {
        let mut counts = vec![0_u32; targets.len()];
        for (address, port) in sources {
            let index = choose(targets, address, port).unwrap();
            counts[targets.iter().position(|t| t.index == index).unwrap()] += 1;
        }
        let total: f64 = counts.iter().map(|&c| f64::from(c)).sum();
        let weights: f64 = targets.iter().map(|t| f64::from(t.weight)).sum();
        let deviation = |(t, &c): (&Target, &u32)| {
            let expected = total * f64::from(t.weight) / weights;
            (f64::from(c) - expected).powi(2) / expected
        };
        targets.iter().zip(&counts).map(deviation).sum()
    }

    /// Mean n-1, variance 2(n-1); five standard deviations and some for the long tail.
    fn bound(targets: &[Target]) -> f64 {
        let freedom = targets.len() as f64 - 1.0;
        freedom + 5.0 * (2.0 * freedom).sqrt() + 10.0
    }

    fn assert_even(targets: &[Target], sources: impl Iterator<Item = (IpAddr, u16)>) {
        let found = chi_square(targets, sources);
        assert!(
            found < bound(targets),
            "chi-square {found} of {} targets",
            targets.len()
        );
    }

    #[test]
    fn one_client_with_many_ports_is_spread_evenly() {
        let client: IpAddr = "10.9.0.1".parse().unwrap();
        for n in [2, 3, 4, 7, 8, 16, 100] {
            assert_even(&even(0..n), (32_768..60_999).map(|port| (client, port)));
            assert_even(
                &even(0..n),
                (32_768..60_999).step_by(2).map(|port| (client, port)),
            );
        }
    }

    #[test]
    fn many_clients_with_one_port_are_spread_evenly() {
        for n in [2, 4, 7, 16] {
            let v4 =
                (0..20_000).map(|i: u32| (IpAddr::from((0x0a00_0000 + i).to_be_bytes()), 4_000));
            assert_even(&even(0..n), v4);
            for shift in [0, 16, 40, 64, 96, 108] {
                let v6 =
                    move |i: u128| IpAddr::from(((0x2001_0db8 << 96) ^ (i << shift)).to_be_bytes());
                assert_even(&even(0..n), (0..20_000).map(|i| (v6(i), 4_000)));
            }
        }
    }

    #[test]
    fn weights_are_shares() {
        let targets =
            [(3, 1), (4, 3), (5, 3), (9, 10)].map(|(index, weight)| Target { index, weight });
        let client: IpAddr = "192.0.2.7".parse().unwrap();
        assert_even(&targets, (1_024..=u16::MAX).map(|port| (client, port)));
    }

    #[test]
    fn neighbours_of_equal_weight_are_one_run() {
        let spread = Spread::new(&even((0..1_000).rev())).unwrap();
        assert_eq!(
            spread.runs,
            [Run {
                first: 0,
                count: 1_000,
                weight: 1
            }]
        );
    }

    #[test]
    fn nothing_to_choose_from_is_no_choice() {
        let client: IpAddr = "::1".parse().unwrap();
        assert_eq!(choose(&[], client, 1), None);
        assert_eq!(
            choose(
                &[Target {
                    index: 1,
                    weight: 0
                }],
                client,
                1
            ),
            None
        );
    }

    #[test]
    fn extremes_neither_overflow_nor_panic() {
        let client: IpAddr = "10.0.0.1".parse().unwrap();
        let heavy: Vec<Target> = (0..3)
            .map(|i| Target {
                index: u32::MAX - i,
                weight: u32::MAX,
            })
            .collect();
        assert!((1..1_000).all(|port| choose(&heavy, client, port).unwrap() >= u32::MAX - 2));
        let twice = [
            Target {
                index: 5,
                weight: 1,
            },
            Target {
                index: 5,
                weight: 9,
            },
        ];
        assert_eq!(choose(&twice, client, 1), Some(5));
    }

    #[test]
    fn too_many_runs_keep_the_longest() {
        let mut targets = even((0..2_000).map(|i| i * 2));
        targets.extend(even([1, 3, 5]));
        let spread = Spread::new(&targets).unwrap();
        assert_eq!(spread.runs.len(), MAX_RUNS);
        assert_eq!(
            spread.runs[0],
            Run {
                first: 0,
                count: 7,
                weight: 1
            }
        );
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let targets = even(0..1_000);
        let (v4, mapped) = (
            "10.1.2.3".parse().unwrap(),
            "::ffff:10.1.2.3".parse().unwrap(),
        );
        assert_eq!(choose(&targets, v4, 80), choose(&targets, mapped, 80));
    }
}

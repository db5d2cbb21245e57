//! When the requests of an open loop are due.
//!
//! The times are fixed before the first request is sent, and nothing that the server does moves
//! them. That is what makes a loop open: users do not stop coming because others still wait.

use std::time::{Duration, Instant};

use super::Spacing;

pub(super) struct Schedule {
    begin: Instant,
    per_second: f64,
    spacing: Spacing,
    dice: Dice,
    /// Requests before the next one.
    count: u64,
    /// Seconds from the beginning to the next one.
    offset: f64,
}

impl Schedule {
    pub(super) fn new(begin: Instant, per_second: f64, spacing: Spacing, seed: u64) -> Self {
        let mut schedule = Self {
            begin,
            per_second,
            spacing,
            dice: Dice(seed),
            count: 0,
            offset: 0.0,
        };
        if spacing == Spacing::Exponential {
            schedule.offset = schedule.gap();
        }
        schedule
    }

    /// When the next request is due.
    pub(super) fn next(&self) -> Instant {
        self.begin + Duration::from_secs_f64(self.offset)
    }

    /// Goes on to the request after it.
    pub(super) fn advance(&mut self) {
        self.count += 1;
        self.offset = match self.spacing {
            // Not a sum of gaps, of which every one would be rounded. Exact up to 2^53 requests.
            Spacing::Even => self.count as f64 / self.per_second,
            Spacing::Exponential => self.offset + self.gap(),
        };
    }

    fn gap(&mut self) -> f64 {
        -self.dice.roll().ln() / self.per_second
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same seed gives the same load on every machine.
struct Dice(u64);

impl Dice {
    /// Evenly distributed over (0, 1]: its logarithm is finite.
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        // The 53 bits that a double holds exactly.
        ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, unused_imports)] // a bench without a harness runs no tests
mod tests {
    use super::*;

    /// The times of the requests of the first second, in seconds from the beginning.
    fn first_second(spacing: Spacing, seed: u64) -> Vec<f64> {
        let begin = Instant::now();
        let mut schedule = Schedule::new(begin, 10_000.0, spacing, seed);
        let mut times = Vec::new();
        while schedule.next() < begin + Duration::from_secs(1) {
            times.push((schedule.next() - begin).as_secs_f64());
            schedule.advance();
        }
        times
    }

    #[test]
    fn even_requests_are_as_many_as_promised() {
        let times = first_second(Spacing::Even, 1);
        assert_eq!(times.len(), 10_000);
        let evenly = |(n, time): (usize, &f64)| (time - n as f64 / 10_000.0).abs() < 1e-8;
        assert!(times.iter().enumerate().all(evenly));
    }

    #[test]
    fn the_gaps_between_exponential_requests_are_exponential() {
        let times = first_second(Spacing::Exponential, 1);
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Five standard deviations; and an exponential gap deviates by as much as it lasts.
        assert!((mean - 1e-4).abs() < 5e-6, "mean {mean}");
        assert!(
            (variance.sqrt() / mean - 1.0).abs() < 0.08,
            "deviation {}",
            variance.sqrt()
        );
    }

    #[test]
    fn a_seed_is_a_load() {
        let times = |seed| first_second(Spacing::Exponential, seed);
        assert_eq!(times(7), times(7));
        assert_ne!(times(7), times(8));
    }
}

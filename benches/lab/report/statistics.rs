//! Medians, ratios, and when there is no ratio to be had.
//!
//! A ratio is made of pairs from the same round, because the rounds of all subjects take turns: a
//! machine that got slower meanwhile did it to both. The median of the pairs' ratios counts. It is
//! refused where it is not known well enough, because a ratio without a warning is quoted without
//! one: see [`Limits`].
//!
//! How well it is known: each pair's ratio is above the true median or below it, like a coin's
//! sides, whatever its distribution. So all of five pairs lie on one side only once in 16 times,
//! and 15 times of 16 the true median is between the min and the max of them. With eight pairs
//! one at either end can be left out, and so on ([`left_out`]). Nothing is assumed about the
//! noise but that rounds are independent, and nothing is taken from how much p99 itself differs
//! between rounds: what a round does to both subjects is not in their ratio.
//!
//! Fewer than five pairs cannot be as certain as that, however much alike they are.

use std::fmt;

use serde::Serialize;

use super::results::{Row, measure};

/// A median and what lies around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many there are.
    pub rounds: usize,
}

impl Spread {
    /// Of these values; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        let rounds = sorted.len();
        Some(Self {
            median,
            min,
            max,
            rounds,
        })
    }

    /// Of one measure of these rows.
    pub fn of_rows(rows: &[&Row], measure: &str) -> Option<Self> {
        let values: Vec<f64> = rows.iter().filter_map(|row| row.get(measure)).collect();
        Self::of(&values)
    }
}

/// How certain an interval has to be; five rounds are certain to 0.94.
const CERTAINTY: f64 = 0.9;

/// Where the median lies of what these values are samples of, with [`CERTAINTY`]; `None` if they are
/// too few to say.
fn interval(values: &[f64]) -> Option<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let left_out = left_out(sorted.len())?;
    Some((sorted[left_out], sorted[sorted.len() - 1 - left_out]))
}

/// How many of so many values can be left out at either end: the sign test's interval. That just
/// so many lie below the median has the probability of as many heads of that many coins.
fn left_out(values: usize) -> Option<usize> {
    let count = values as f64;
    let mut heads = 0.5_f64.powf(count);
    let (mut miss, mut found) = (0.0, None);
    for below in 0..values.div_ceil(2) {
        miss += 2.0 * heads;
        if miss > 1.0 - CERTAINTY {
            break;
        }
        found = Some(below);
        heads *= (count - below as f64) / (below as f64 + 1.0);
    }
    found
}

/// What is too noisy for a ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The interval's upper end over its lower one. A ratio whose interval is wider is refused, unless
    /// it differs from 1 by a greater factor than that: five times as fast is worth saying when it
    /// may be four times or six.
    pub width: f64,
    /// A pair in which others (processes that are not ours, the host) took more than this share of
    /// all cores' time does not count: we did not have the machine.
    pub foreign: f64,
}

impl Limits {
    /// Those of every report.
    pub const USUAL: Self = Self {
        width: 1.25,
        foreign: 0.10,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::USUAL
    }
}

/// Why there is no ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Doubt {
    /// Fewer than five rounds have both the subject and the reference.
    TooFew,
    /// As few are left, because others took up to this share of the CPU in the rest.
    Foreign(f64),
    /// It may be anything from here to there.
    Wide(f64, f64),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew => write!(f, "too few rounds"),
            Self::Foreign(share) => {
                write!(f, "refused: others took {} % CPU", (share * 100.0).round())
            }
            Self::Wide(low, high) => write!(f, "refused: {low:.2} to {high:.2}"),
        }
    }
}

/// The measure of `rows` over that of `reference`, round by round.
///
/// # Errors
/// If it would not be worth the ink.
pub fn ratio(
    rows: &[&Row],
    reference: &[&Row],
    measure: &str,
    limits: Limits,
) -> Result<Spread, Doubt> {
    let pairs = || {
        let pairs = rows.iter().filter_map(|row| pair(row, reference));
        pairs.filter_map(|pair| Some((pair.ratio(measure)?, pair.foreign())))
    };
    let is_ours = |foreign: &f64| *foreign <= limits.foreign;
    let ours = pairs().filter(|(_, foreign)| is_ours(foreign));
    let ratios: Vec<f64> = ours.map(|(ratio, _)| ratio).collect();
    let foreign = pairs().map(|(_, foreign)| foreign).fold(0.0, f64::max);
    let (spread, ends) =
        Spread::of(&ratios)
            .zip(interval(&ratios))
            .ok_or(if is_ours(&foreign) {
                Doubt::TooFew
            } else {
                Doubt::Foreign(foreign)
            })?;
    refuse_wide(spread.median, ends, limits)?;
    Ok(spread)
}

fn refuse_wide(median: f64, (low, high): (f64, f64), limits: Limits) -> Result<(), Doubt> {
    let difference = median.max(1.0 / median);
    // Written so that what is no number at all is refused.
    if high / low <= limits.width.max(difference) {
        Ok(())
    } else {
        Err(Doubt::Wide(low, high))
    }
}

/// Two rows of one round.
struct Pair<'a>(&'a Row, &'a Row);

fn pair<'a>(row: &'a Row, reference: &[&'a Row]) -> Option<Pair<'a>> {
    let mut reference = reference.iter();
    let other = reference.find(|other| other.round == row.round)?;
    Some(Pair(row, other))
}

impl Pair<'_> {
    fn ratio(&self, measure: &str) -> Option<f64> {
        let (ours, theirs) = (self.0.get(measure)?, self.1.get(measure)?);
        (theirs > 0.0).then(|| ours / theirs)
    }

    fn foreign(&self) -> f64 {
        let shares = [self.0, self.1].map(|row| row.get(measure::FOREIGN).unwrap_or(0.0));
        shares.into_iter().fold(0.0, f64::max)
    }
}

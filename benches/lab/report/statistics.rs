//! Medians, ratios, and when there is no ratio to be had.
//!
//! A ratio is made of pairs from the same round, because the rounds of all subjects take turns: a
//! machine that got slower meanwhile did it to both. The median of the pairs' ratios counts. And it
//! is refused where the machine was too noisy, because a ratio without a warning is quoted without
//! one: see [`Limits`] for what is too noisy.

use std::fmt;

use super::results::{Row, measure};

/// A median and what lies around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
    /// How many there are.
    pub rounds: usize,
}

impl Spread {
    /// Of these values; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        let rounds = sorted.len();
        Some(Self {
            median,
            least,
            most,
            rounds,
        })
    }

    /// Of one measure of these rows.
    pub fn of_rows(rows: &[&Row], measure: &str) -> Option<Self> {
        let values: Vec<f64> = rows.iter().filter_map(|row| row.get(measure)).collect();
        Self::of(&values)
    }

    /// From the least to the most, as a share of the median.
    pub fn share(&self) -> f64 {
        (self.most - self.least) / self.median.abs()
    }
}

/// What is too noisy for a ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The reference is the same thing measured again in every round. If its own rounds differ by
    /// more than this share of their median, so may the others, for no reason of theirs.
    pub spread: f64,
    /// If others (processes that are not ours, the host) took more than this share of all cores'
    /// time in any of the rounds compared, we did not have the machine.
    pub foreign: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            spread: 0.25,
            foreign: 0.10,
        }
    }
}

/// Why there is no ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Doubt {
    /// Fewer than two rounds have both the subject and the reference.
    TooFew,
    /// The reference's own rounds differ by this share of their median.
    Unsteady(f64),
    /// Others took this share of the CPU.
    Foreign(f64),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| (share * 100.0).round();
        match self {
            Self::TooFew => write!(f, "too few rounds"),
            Self::Unsteady(share) => write!(f, "refused: reference varies {} %", percent(*share)),
            Self::Foreign(share) => write!(f, "refused: others took {} % CPU", percent(*share)),
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
    let pairs: Vec<f64> = rows
        .iter()
        .filter_map(|row| pair(row, reference, measure))
        .collect();
    let spread = Spread::of(&pairs).filter(|spread| spread.rounds >= 2);
    let spread = spread.ok_or(Doubt::TooFew)?;
    doubt(rows, reference, measure, limits).map_or(Ok(spread), Err)
}

fn pair(row: &Row, reference: &[&Row], measure: &str) -> Option<f64> {
    let mut reference = reference.iter();
    let other = reference.find(|other| other.round == row.round)?;
    let (ours, theirs) = (row.get(measure)?, other.get(measure)?);
    (theirs > 0.0).then(|| ours / theirs)
}

fn doubt(rows: &[&Row], reference: &[&Row], measure: &str, limits: Limits) -> Option<Doubt> {
    let foreign = rows.iter().chain(reference);
    let foreign = foreign.filter_map(|row| row.get(measure::FOREIGN));
    let foreign = foreign.fold(0.0, f64::max);
    if foreign > limits.foreign {
        return Some(Doubt::Foreign(foreign));
    }
    let share = Spread::of_rows(reference, measure)?.share();
    (share > limits.spread).then_some(Doubt::Unsteady(share))
}

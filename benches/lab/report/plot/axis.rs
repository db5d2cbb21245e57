//! Axes: how a value becomes a place, which values are named, and how.
//!
//! Places are linear; an axis that is not (decades, nines, doublings) takes the logarithm here, so
//! that everything else draws on one kind of chart.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::super::unit::Unit;

/// One axis of a chart.
#[derive(Clone, Debug)]
pub struct Axis {
    /// How values are spread.
    pub scale: Scale,
    /// The places that it reaches, from and to.
    pub range: Range<f64>,
    /// The places that have a line and a name.
    pub ticks: Vec<f64>,
    /// What is beside it; empty where the names say enough.
    pub title: &'static str,
}

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear(Unit),
    /// Each factor of ten has the same room.
    Decades(Unit),
    /// Each doubling has the same room.
    Doublings,
    /// Each further nine of a quantile has the same room: 90 %, 99 %, 99.9 %.
    Nines,
}

impl Scale {
    /// Where a value is.
    pub fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear(_) => value,
            Self::Decades(_) => value.log10(),
            Self::Doublings => value.log2(),
            Self::Nines => -(1.0 - value).log10(),
        }
    }

    /// What is at that place, in words.
    pub fn name(self, place: f64) -> String {
        match self {
            Self::Linear(unit) => unit.write(place),
            Self::Decades(unit) => unit.write(10_f64.powf(place)),
            Self::Doublings => format!("{:.0}", place.exp2()),
            Self::Nines => percent(place),
        }
    }
}

/// As many decimals as it has nines.
fn percent(place: f64) -> String {
    let share = 100.0 - 100.0 * 10_f64.powf(-place);
    let decimals = if place > 2.5 {
        place.round() - 2.0
    } else {
        0.0
    };
    match decimals {
        0.0 => format!("{share:.0} %"),
        1.0 => format!("{share:.1} %"),
        2.0 => format!("{share:.2} %"),
        _ => format!("{share:.3} %"),
    }
}

impl Axis {
    /// From zero to a little more than `most`.
    pub fn from_zero(most: f64, unit: Unit, title: &'static str) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let step = round_step(most);
        let ticks = (0..=12_u8).map(|at| f64::from(at) * step);
        Self {
            scale: Scale::Linear(unit),
            range: 0.0..most * 1.06,
            ticks: ticks.filter(|tick| *tick <= most * 1.06).collect(),
            title,
        }
    }

    /// From `least` to `most`, and a little more at both ends.
    pub fn decades(least: f64, most: f64, unit: Unit, title: &'static str) -> Self {
        let (low, high) = (least.log10() - 0.1, most.log10() + 0.1);
        // Where there are few decades, what lies between them is named, too.
        let between: &[f64] = if high - low < 2.0 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let ticks = (-3..=9_i32).flat_map(|decade| {
            between
                .iter()
                .map(move |part| f64::from(decade) + part.log10())
        });
        Self {
            scale: Scale::Decades(unit),
            range: low..high,
            ticks: ticks.filter(|tick| (low..=high).contains(tick)).collect(),
            title,
        }
    }

    /// These numbers, such as those of workers.
    pub fn doublings(values: &[f64], title: &'static str) -> Self {
        let mut ticks: Vec<f64> = values.iter().map(|value| value.log2()).collect();
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        let most = ticks.last().copied().unwrap_or(1.0);
        Self {
            scale: Scale::Doublings,
            range: ticks.first().copied().unwrap_or(0.0) - 0.12..most + 0.06,
            ticks,
            title,
        }
    }

    /// Quantiles up to this place (see [`Scale::place`]).
    pub fn nines(most: f64, title: &'static str) -> Self {
        let ticks = [0.0, Scale::Nines.place(0.5), 1.0, 2.0, 3.0, 4.0, 5.0];
        Self {
            scale: Scale::Nines,
            range: 0.0..most,
            ticks: ticks
                .into_iter()
                .filter(|tick| *tick <= most + 1e-9)
                .collect(),
            title,
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (place - self.range.start) / (self.range.end - self.range.start);
        // Pixels of a sheet: far fewer than an i32 counts.
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            Vec::new()
        } else {
            self.ticks.clone()
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, place: &f64) -> String {
        self.scale.name(*place)
    }
}

/// 1, 2 or 5 times a power of ten, so that there are about five ticks.
fn round_step(most: f64) -> f64 {
    let rough = most / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = steps.into_iter().find(|step| *step >= rough * 0.999);
    step.unwrap_or(10.0 * power)
}

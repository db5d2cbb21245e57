//! One process of a server with us around it, and without: what wrapping costs its requests.
//!
//! What is looked for is a percent or less, and two things are larger. A machine's speed changes
//! from second to second; so all servers of a comparison are up at the same time (one that nobody
//! asks costs nothing), and many short windows go round between them, in every order equally often.
//! And two processes of the same program differ by percents for as long as they live, by where
//! their memory happens to lie; so each round starts them anew, and the median of the rounds counts.
//! How much is left of both is seen in a second bare server, which is compared in the same way and
//! should make no difference.

use std::io;
use std::path::Path;

use hdrhistogram::Histogram;

use super::super::super::load::{Outcome, Reuse};
use super::super::super::machine::Watch;
use super::super::super::report::results::{Row, measure};
use super::super::super::report::statistics::Spread;
use super::super::super::usage::Usage;
use super::super::bare::Bare;
use super::extent::{Extent, REUSES, name_of};
use super::trial::Trial;

/// The experiment's name in the rows.
pub const WRAPPING: &str = "wrapping";
/// The reference.
pub const BARE: &str = "bare";
/// Its equal.
pub const AGAIN: &str = "bare again";
/// With us.
pub const WRAPPED: &str = "reuseport-run -n 1";
/// Requests a second over those of the reference, less one: the median of a round's windows.
pub const RATE_OVER: &str = "rate_over_bare_less_1";
/// From the first to the third quarter of these windows' ratios.
pub const SCATTER: &str = "rate_over_bare_quartiles";
/// CPU time for each request over that of the reference, less one.
pub const CPU_OVER: &str = "cpu_over_bare_less_1";

/// Who is compared, the reference first, and whether we are around it.
const SUBJECTS: [(&str, bool); 3] = [(BARE, false), (AGAIN, false), (WRAPPED, true)];
/// Who has the first, the second and the third window: all orders, each followed by its reverse, so
/// that a machine that gets slower steadily does it to all.
const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [2, 1, 0],
    [1, 2, 0],
    [0, 2, 1],
    [2, 0, 1],
    [1, 0, 2],
];

/// All of one server in one round, with fresh connections and with kept ones.
///
/// # Errors
/// If the server does not start or cannot be measured.
pub fn run(server: Bare, round: u32, extent: &Extent, within: &Path) -> io::Result<Vec<Row>> {
    let begin = |is_wrapped| Trial::begin(within, 1, |place| server.start(place, is_wrapped));
    let trials = SUBJECTS.map(|(_, is_wrapped)| begin(is_wrapped));
    let trials: Vec<Trial> = trials.into_iter().collect::<io::Result<_>>()?;
    let mut rows = Vec::new();
    for reuse in REUSES {
        let sides = compare(&trials, reuse, extent)?;
        for (side, (subject, _)) in sides.iter().zip(SUBJECTS) {
            let mut row = Row::new(WRAPPING, subject, round)
                .with("server", server.name())
                .with("connections", name_of(reuse));
            side.note(&mut row);
            if subject != BARE {
                note_comparison(&mut row, side, &sides[0]);
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

/// One side of a comparison: all its windows.
struct Side {
    /// Requests per second in each.
    rates: Vec<f64>,
    latency: Histogram<u64>,
    answered: u64,
    failed: u64,
    used: Usage,
    /// The share of the CPU that others took while all sides were measured.
    foreign: f64,
}

fn compare(trials: &[Trial], reuse: Reuse, extent: &Extent) -> io::Result<Vec<Side>> {
    for trial in trials {
        trial.load(reuse, extent, extent.warm_up)?;
    }
    let watch = Watch::start()?;
    let before = trials.iter().map(Trial::usage);
    let before: Vec<Usage> = before.collect::<io::Result<_>>()?;
    let mut sides: Vec<Side> = trials
        .iter()
        .map(|_| Side::new())
        .collect::<io::Result<_>>()?;
    let mut own = Usage::default();
    for order in ORDERS.iter().cycle().take(extent.windows) {
        for at in order {
            let outcome = trials[*at].load(reuse, extent, extent.window)?;
            own += outcome.own_usage;
            sides[*at].take(&outcome)?;
        }
    }
    for ((side, trial), before) in sides.iter_mut().zip(trials).zip(before) {
        side.used = trial.usage()? - before;
        own += side.used;
    }
    let foreign = watch.foreign(own.cpu())?;
    Ok(sides
        .into_iter()
        .map(|side| Side { foreign, ..side })
        .collect())
}

impl Side {
    fn new() -> io::Result<Self> {
        Ok(Self {
            rates: Vec::new(),
            latency: Histogram::new(3).map_err(io::Error::other)?,
            answered: 0,
            failed: 0,
            used: Usage::default(),
            foreign: 0.0,
        })
    }

    fn take(&mut self, outcome: &Outcome) -> io::Result<()> {
        self.rates.push(outcome.rate());
        self.answered += outcome.answered;
        self.failed += outcome.failed();
        self.latency.add(&outcome.latency).map_err(io::Error::other)
    }

    /// Microseconds of CPU time for each request.
    fn cpu(&self) -> f64 {
        self.used.cpu().as_secs_f64() * 1e6 / self.answered as f64
    }

    fn note(&self, row: &mut Row) {
        if let Some(rates) = Spread::of(&self.rates) {
            row.measure(measure::RATE, rates.median);
        }
        for (name, quantile) in [(measure::P50, 0.5), (measure::P99, 0.99)] {
            row.measure(name, self.latency.value_at_quantile(quantile) as f64);
        }
        row.measure(measure::ANSWERED, self.answered as f64);
        row.measure(measure::FAILED, self.failed as f64);
        row.measure(measure::SERVER_CPU, self.cpu());
        row.measure(measure::FOREIGN, self.foreign);
    }
}

fn note_comparison(row: &mut Row, side: &Side, reference: &Side) {
    let pairs = side.rates.iter().zip(&reference.rates);
    let mut ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
    ratios.sort_by(f64::total_cmp);
    if let Some(spread) = Spread::of(&ratios) {
        row.measure(RATE_OVER, spread.median - 1.0);
    }
    let quarter = ratios.len() / 4;
    if let (Some(low), Some(high)) = (ratios.get(quarter), ratios.iter().nth_back(quarter)) {
        row.measure(SCATTER, high - low);
    }
    row.measure(CPU_OVER, side.cpu() / reference.cpu() - 1.0);
}

//! Each experiment's table: its columns, and what its numbers are compared with.

use super::super::super::report::results::measure;
use super::super::super::report::statistics::Limits;
use super::super::super::report::table::{Column, Table};
use super::super::super::report::unit::Unit;
use super::super::experiment::crash::{self, CRASH};
use super::super::experiment::reload::{self, RELOAD};
use super::super::experiment::scale::{self, SCALE};
use super::super::experiment::throughput::LATENCY;
use super::super::experiment::trial;
use super::super::experiment::wrapping::{self, WRAPPING};
use super::super::ours;

/// The table of an experiment.
pub fn table(experiment: &str) -> Table<'_> {
    let (columns, reference) = match experiment {
        LATENCY => (LATENCY_COLUMNS, Some(ours::NAME)),
        RELOAD => (RELOAD_COLUMNS, None),
        CRASH => (CRASH_COLUMNS, None),
        WRAPPING => (WRAPPING_COLUMNS, None),
        SCALE => (SCALE_COLUMNS, None),
        _ => (THROUGHPUT_COLUMNS, Some(ours::NAME)),
    };
    Table {
        experiment,
        columns,
        reference,
        limits: Limits::default(),
    }
}

const REQUESTS: Column = Column::of(measure::RATE, "requests/s", Unit::Count);
const P50: Column = Column::of(measure::P50, "p50", Unit::Time);
const P99: Column = Column::of(measure::P99, "p99", Unit::Time);
const P999: Column = Column::of(measure::P999, "p99.9", Unit::Time);
const CPU: Column = Column::of(measure::SERVER_CPU, "CPU per request", Unit::Time);
const BUSIEST: Column = Column::of(
    measure::REQUEST_FAIRNESS,
    "busiest worker ÷ mean",
    Unit::Ratio,
);
const FAILED: Column = Column::of(measure::FAILED, "failed", Unit::Count);
const ANSWERED: Column = Column::of(measure::ANSWERED, "answered", Unit::Count);
const LATE: Column = Column::of(measure::LATE, "load late, p99", Unit::Time);
const FOREIGN: Column = Column::of(measure::FOREIGN, "others' CPU", Unit::Share);

const THROUGHPUT_COLUMNS: &[Column] = &[
    REQUESTS.compared(),
    P50,
    P99,
    P999,
    CPU.compared(),
    Column::of(trial::MEMORY, "memory", Unit::Bytes),
    BUSIEST,
    FAILED,
    FOREIGN,
];

const LATENCY_COLUMNS: &[Column] = &[
    P50.compared(),
    P99.compared(),
    P999,
    CPU,
    LATE,
    BUSIEST,
    FAILED,
    FOREIGN,
];

const RELOAD_COLUMNS: &[Column] = &[
    FAILED,
    ANSWERED,
    Column::of(reload::RELOADS, "reloads", Unit::Count),
    Column::of(reload::LOST, "failed per reload", Unit::Count),
    Column::of(reload::ADDED, "added to p99", Unit::Time),
    Column::of(reload::WORST, "slowest answer", Unit::Time),
    Column::of(reload::TIME, "time to reload", Unit::Time),
    Column::of(
        reload::SUPERVISOR_CPU,
        "supervisor's CPU per reload",
        Unit::Time,
    ),
    Column::of(reload::SUPERVISOR_RSS, "its memory at most", Unit::Bytes),
    LATE,
];

const CRASH_COLUMNS: &[Column] = &[
    Column::of(crash::KILLS, "kills", Unit::Count),
    Column::of(crash::LOST, "failed per kill", Unit::Count),
    ANSWERED,
    P999,
    Column::of(crash::RECOVERY, "until a new worker answers", Unit::Time),
    LATE,
];

const WRAPPING_COLUMNS: &[Column] = &[
    REQUESTS,
    Column::of(wrapping::RATE_OVER, "against bare", Unit::Share),
    Column::of(
        wrapping::SCATTER,
        "the same of single windows: width of the middle half",
        Unit::Share,
    ),
    P50,
    P99,
    CPU,
    Column::of(wrapping::CPU_OVER, "against bare", Unit::Share),
    FAILED,
    FOREIGN,
];

const SCALE_COLUMNS: &[Column] = &[
    Column::of(scale::START, "start", Unit::Time),
    Column::of(scale::RELOAD, "reload", Unit::Time),
    Column::of(scale::STOP, "stop", Unit::Time),
    Column::of(
        scale::RELOAD_CPU,
        "supervisor's CPU for the reload",
        Unit::Time,
    ),
    Column::of(scale::RESIDENT, "RSS", Unit::Bytes),
    Column::of(scale::PROPORTIONAL, "PSS", Unit::Bytes),
    Column::of(scale::WAKE_UPS, "wake-ups/s at rest", Unit::Count),
    Column::of(scale::IDLE_CPU, "CPU per second at rest", Unit::Time),
];

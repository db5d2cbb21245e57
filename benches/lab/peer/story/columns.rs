//! Each experiment's table: its columns, and what its numbers are compared with.

use super::super::super::report::results::measure;
use super::super::super::report::statistics::Limits;
use super::super::super::report::table::{Column, Table};
use super::super::super::report::unit::Unit;
use super::super::experiment::crash::{self, CRASH};
use super::super::experiment::note;
use super::super::experiment::reload::{self, RELOAD};
use super::super::experiment::scale::{self, SCALE};
use super::super::experiment::throughput::LATENCY;
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

const REQUESTS: Column = Column::plain(measure::RATE, "requests/s", Unit::Count);
const P50: Column = Column::plain(measure::P50, "p50", Unit::Time);
const P99: Column = Column::plain(measure::P99, "p99", Unit::Time);
const P999: Column = Column::plain(measure::P999, "p99.9", Unit::Time);
const CPU: Column = Column::plain(measure::SERVER_CPU, "CPU per request", Unit::Time);
const BUSIEST: Column = Column::plain(
    measure::REQUEST_FAIRNESS,
    "busiest worker ÷ mean",
    Unit::Ratio,
);
const FAILED: Column = Column::plain(measure::FAILED, "failed", Unit::Count);
const ANSWERED: Column = Column::plain(measure::ANSWERED, "answered", Unit::Count);
const LATE: Column = Column::plain(measure::LATE, "load late, p99", Unit::Time);
const FOREIGN: Column = Column::plain(measure::FOREIGN, "others' CPU", Unit::Share);

/// With a column behind it that compares.
const fn compared(column: Column) -> Column {
    Column {
        compared: true,
        ..column
    }
}

const THROUGHPUT_COLUMNS: &[Column] = &[
    compared(REQUESTS),
    P50,
    P99,
    P999,
    compared(CPU),
    Column::plain(note::MEMORY, "memory", Unit::Bytes),
    BUSIEST,
    FAILED,
    FOREIGN,
];

const LATENCY_COLUMNS: &[Column] = &[
    compared(P50),
    compared(P99),
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
    Column::plain(reload::RELOADS, "reloads", Unit::Count),
    Column::plain(reload::LOST, "failed per reload", Unit::Count),
    Column::plain(reload::ADDED, "added to p99", Unit::Time),
    Column::plain(reload::WORST, "slowest answer", Unit::Time),
    Column::plain(reload::TIME, "time to reload", Unit::Time),
    Column::plain(
        reload::SUPERVISOR_CPU,
        "supervisor's CPU per reload",
        Unit::Time,
    ),
    Column::plain(reload::SUPERVISOR_RSS, "its memory at most", Unit::Bytes),
    LATE,
];

const CRASH_COLUMNS: &[Column] = &[
    Column::plain(crash::KILLS, "kills", Unit::Count),
    Column::plain(crash::LOST, "failed per kill", Unit::Count),
    ANSWERED,
    P999,
    Column::plain(crash::RECOVERY, "until a new worker answers", Unit::Time),
    LATE,
];

const WRAPPING_COLUMNS: &[Column] = &[
    REQUESTS,
    Column::plain(wrapping::RATE_OVER, "more than bare", Unit::Share),
    Column::plain(wrapping::SCATTER, "middle half of the windows", Unit::Share),
    P50,
    P99,
    CPU,
    Column::plain(wrapping::CPU_OVER, "more than bare", Unit::Share),
    FAILED,
    FOREIGN,
];

const SCALE_COLUMNS: &[Column] = &[
    Column::plain(scale::START, "start", Unit::Time),
    Column::plain(scale::RELOAD, "reload", Unit::Time),
    Column::plain(scale::STOP, "stop", Unit::Time),
    Column::plain(
        scale::RELOAD_CPU,
        "supervisor's CPU for the reload",
        Unit::Time,
    ),
    Column::plain(scale::RESIDENT, "RSS", Unit::Bytes),
    Column::plain(scale::PROPORTIONAL, "PSS", Unit::Bytes),
    Column::plain(scale::WAKE_UPS, "wake-ups/s at rest", Unit::Count),
    Column::plain(scale::IDLE_CPU, "CPU per second at rest", Unit::Time),
];

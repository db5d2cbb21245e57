//! How each experiment is told: its columns, and its pictures.

use std::io;

use super::super::super::load::Reuse;
use super::super::super::report::course;
use super::super::super::report::page::{Picture, Section};
use super::super::super::report::plot::bars::bars;
use super::super::super::report::plot::curves::latency;
use super::super::super::report::plot::sheet::Heading;
use super::super::super::report::plot::timeline::{Strip, timeline};
use super::super::super::report::results::{Results, Row, distinct, measure};
use super::super::super::report::statistics::Limits;
use super::super::super::report::table::{Column, Table};
use super::super::super::report::unit::Unit;
use super::super::ours;
use super::crash::{CRASH, RECOVERY};
use super::reload::{ADDED, LOST, RELOAD, TIME, WORST};
use super::throughput::{LATENCY, THROUGHPUT};
use super::trial::{Extent, name_of};
use super::wrapping::{BARE, WRAPPING};

/// The table of an experiment.
pub fn table(experiment: &str) -> Table<'_> {
    let (columns, reference) = match experiment {
        LATENCY => (LATENCY_COLUMNS, Some(ours::NAME)),
        RELOAD => (RELOAD_COLUMNS, None),
        CRASH => (CRASH_COLUMNS, None),
        WRAPPING => (THROUGHPUT_COLUMNS, Some(BARE)),
        _ => (THROUGHPUT_COLUMNS, Some(ours::NAME)),
    };
    Table {
        experiment,
        columns,
        reference,
        limits: Limits::default(),
    }
}

const fn column(measure: &'static str, title: &'static str, unit: Unit) -> Column {
    Column {
        measure,
        title,
        unit,
        compared: false,
    }
}

const fn compared(measure: &'static str, title: &'static str, unit: Unit) -> Column {
    Column {
        compared: true,
        ..column(measure, title, unit)
    }
}

const THROUGHPUT_COLUMNS: &[Column] = &[
    compared(measure::RATE, "requests/s", Unit::Count),
    column(measure::P50, "p50", Unit::Time),
    column(measure::P99, "p99", Unit::Time),
    column(measure::P999, "p99.9", Unit::Time),
    compared(measure::SERVER_CPU, "CPU per request", Unit::Time),
    column(
        measure::REQUEST_FAIRNESS,
        "busiest worker ÷ mean",
        Unit::Ratio,
    ),
    column(measure::FAILED, "failed", Unit::Count),
    column(measure::FOREIGN, "others' CPU", Unit::Share),
];

const LATENCY_COLUMNS: &[Column] = &[
    compared(measure::P50, "p50", Unit::Time),
    compared(measure::P99, "p99", Unit::Time),
    column(measure::P999, "p99.9", Unit::Time),
    column(measure::SERVER_CPU, "CPU per request", Unit::Time),
    column(measure::LATE, "load late, p99", Unit::Time),
    column(
        measure::REQUEST_FAIRNESS,
        "busiest worker ÷ mean",
        Unit::Ratio,
    ),
    column(measure::FAILED, "failed", Unit::Count),
    column(measure::FOREIGN, "others' CPU", Unit::Share),
];

const RELOAD_COLUMNS: &[Column] = &[
    column(measure::FAILED, "failed", Unit::Count),
    column(measure::ANSWERED, "answered", Unit::Count),
    column(LOST, "failed per reload", Unit::Count),
    column(ADDED, "added to p99", Unit::Time),
    column(WORST, "slowest answer", Unit::Time),
    column(TIME, "time to reload", Unit::Time),
    column(measure::LATE, "load late, p99", Unit::Time),
];

const CRASH_COLUMNS: &[Column] = &[
    column(measure::FAILED, "failed per kill", Unit::Count),
    column(measure::ANSWERED, "answered", Unit::Count),
    column(measure::P999, "p99.9", Unit::Time),
    column(RECOVERY, "until a new worker answers", Unit::Time),
    column(measure::LATE, "load late, p99", Unit::Time),
];

/// What was done, in words.
fn method(experiment: &str, extent: &Extent) -> String {
    let Extent {
        workers,
        connections,
        rate,
        reloads,
        length,
        ..
    } = *extent;
    match experiment {
        THROUGHPUT => format!(
            "{workers} workers, {connections} connections, each asks again as soon as it is answered, for {length:?} a round. Latency here is that of a full machine."
        ),
        LATENCY => format!(
            "{workers} workers, {rate} requests per second at random times whatever the server does, for {length:?} a round. Latency counts from the time when a request was due."
        ),
        RELOAD => format!(
            "{workers} workers, {reloads} reloads in a row, each in the subject's own way, {rate} requests per second meanwhile. A reload is done when all workers from before are gone and as many new ones are there; whether these can already answer is seen in the latency. Added latency: of each reload the worst tenth of a second's p99, of these the median, less the median p99 outside of reloads. The pictures show each subject's worst reload."
        ),
        CRASH => format!(
            "{workers} workers, {rate} requests per second, SIGKILL to one worker a round. A dash: within 10 s nobody replaced it."
        ),
        _ => format!(
            "One process of a server, bare and with reuseport-run -n 1 around it, {connections} connections, for {length:?} a round."
        ),
    }
}

fn title(experiment: &str) -> &'static str {
    match experiment {
        THROUGHPUT => "Throughput",
        LATENCY => "Latency at a moderate load",
        RELOAD => "Reloads under load",
        CRASH => "SIGKILL of a worker",
        _ => "The cost of wrapping",
    }
}

/// What the document says of all experiments that have rows.
///
/// # Errors
/// If a picture cannot be drawn.
pub fn sections<'a>(
    results: &'a Results,
    methods: &'a [(String, String)],
) -> io::Result<Vec<Section<'a>>> {
    let section = |(experiment, method): &'a (String, String)| {
        Ok(Section {
            title: title(experiment),
            method,
            table: table(experiment),
            pictures: pictures(results, experiment)?,
        })
    };
    methods.iter().map(section).collect()
}

/// The experiments that have rows, with what was done in each.
pub fn methods(results: &Results, extent: &Extent) -> Vec<(String, String)> {
    let experiments = results.experiments().into_iter();
    experiments
        .map(|name| (name.to_owned(), method(name, extent)))
        .collect()
}

fn pictures(results: &Results, experiment: &str) -> io::Result<Vec<Picture>> {
    match experiment {
        THROUGHPUT => fairness(results).map(|picture| picture.into_iter().collect()),
        LATENCY => of_settings(results, LATENCY, percentiles),
        RELOAD => of_settings(results, RELOAD, courses),
        _ => Ok(Vec::new()),
    }
}

/// Of fresh connections: with kept ones it is chance who has how many.
fn fairness(results: &Results) -> io::Result<Option<Picture>> {
    let is_fresh = |row: &&Row| {
        row.parameters
            .get("connections")
            .is_some_and(|reuse| reuse == name_of(Reuse::Fresh))
    };
    let rows: Vec<&Row> = results.of(THROUGHPUT).filter(is_fresh).collect();
    let name = |row: &Row| match row.parameters.get("server") {
        Some(server) if row.subject == ours::NAME => format!("{} {server}", row.subject),
        _ => row.subject.clone(),
    };
    let all = course::bars(&rows, measure::REQUEST_FAIRNESS, ours::NAME, name);
    if all.is_empty() {
        return Ok(None);
    }
    let heading = Heading {
        title: "How evenly the workers share the requests",
        subtitle: "the busiest worker's requests over the mean of all, fresh connections, full load; 1 is even",
    };
    let svg = bars(heading, Unit::Ratio, Some((1.0, "even")), &all)?;
    Ok(Some(Picture {
        file: "fairness.svg".to_owned(),
        description: heading.title.to_owned(),
        svg,
    }))
}

type Draw = fn(&str, &[&Row]) -> io::Result<Option<Picture>>;

/// One picture for each setting of an experiment.
fn of_settings(results: &Results, experiment: &str, draw: Draw) -> io::Result<Vec<Picture>> {
    let settings = distinct(results.of(experiment).map(words));
    let pictures = settings.into_iter().map(|setting| {
        let rows: Vec<&Row> = results
            .of(experiment)
            .filter(|row| words(row) == setting)
            .collect();
        draw(&setting, &rows)
    });
    pictures.filter_map(Result::transpose).collect()
}

/// `node, fresh`.
fn words(row: &Row) -> String {
    let value = |name: &str| row.parameters.get(name).cloned().unwrap_or_default();
    format!("{}, {} connections", value("server"), value("connections"))
}

fn percentiles(setting: &str, rows: &[&Row]) -> io::Result<Option<Picture>> {
    let curves = course::curves(rows);
    if curves.iter().all(|curve| curve.points.is_empty()) {
        return Ok(None);
    }
    let title = format!("Latency: {setting}");
    let heading = Heading {
        title: &title,
        subtitle: "from when a request was due to the end of its answer; lower is better; both axes logarithmic",
    };
    picture("latency", setting, heading, latency(heading, &curves)?)
}

fn courses(setting: &str, rows: &[&Row]) -> io::Result<Option<Picture>> {
    let strips: Vec<Strip> = rows.iter().filter_map(|row| course::worst(row)).collect();
    if strips
        .iter()
        .all(|strip| strip.moments.iter().all(|moment| moment.p50 <= 0.0))
    {
        return Ok(None);
    }
    let title = format!("The worst reload: {setting}");
    let heading = Heading {
        title: &title,
        subtitle: "by tenths of a second: p99 as a line, from the median to the slowest as a band; grey: while it lasts; red: failed",
    };
    picture("reload", setting, heading, timeline(heading, &strips)?)
}

fn picture(
    kind: &str,
    setting: &str,
    heading: Heading,
    svg: String,
) -> io::Result<Option<Picture>> {
    let setting = setting.replace(" connections", "").replace(", ", "-");
    Ok(Some(Picture {
        file: format!("{kind}-{setting}.svg"),
        description: heading.title.to_owned(),
        svg,
    }))
}

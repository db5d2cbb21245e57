//! What is made of the numbers: tables, pictures, and the one question that they are to answer.

use std::io;
use std::path::Path;

use super::experiments::{BLOCKING, Experiment, LATENCY, THROUGHPUT};
use super::lab::report::best::{Aim, Contest, Group};
use super::lab::report::charts::{By, fairness, growth, percentiles};
use super::lab::report::page::{self, Picture, Section};
use super::lab::report::plot::sheet::Heading;
use super::lab::report::results::{Results, Row, measure};
use super::lab::report::statistics::Limits;
use super::lab::report::table::{Column, Table};
use super::lab::report::unit::Unit;
use super::lab::way::Way;

/// The table of an experiment.
pub(crate) fn table(experiment: &str) -> Table<'_> {
    Table {
        experiment,
        columns: &COLUMNS,
        reference: Some(Way::Queues.name()),
        limits: Limits::USUAL,
    }
}

const COLUMNS: [Column; 13] = [
    Column::of(measure::RATE, "requests/s", Unit::Count).compared(),
    Column::of(measure::FAILED, "failed", Unit::Count),
    Column::of(measure::P50, "p50", Unit::Time),
    Column::of(measure::P90, "p90", Unit::Time),
    Column::of(measure::P99, "p99", Unit::Time).compared(),
    Column::of(measure::P999, "p99.9", Unit::Time),
    Column::of(measure::SERVER_CPU, "server CPU/request", Unit::Time).compared(),
    Column::of(measure::CLIENT_CPU, "load CPU/request", Unit::Time),
    Column::of(measure::SWITCHES, "switches/request", Unit::Ratio),
    Column::of(measure::REQUEST_FAIRNESS, "max/mean requests", Unit::Ratio),
    Column::of(
        measure::CONNECTION_FAIRNESS,
        "max/mean connections",
        Unit::Ratio,
    ),
    Column::of(measure::LATE, "load late, p99", Unit::Time),
    Column::of(measure::FOREIGN, "others' CPU", Unit::Share),
];

/// What the columns are, and what is best, before all experiments.
const COLUMNS_EXPLAINED: &str = "\
CPU and context switches are of the server's processes, the supervisor or the master with them. \
`max/mean` is the busiest worker's share over the fair one. `load late` is how long after its time a \
request was looked at by the load, and part of its latency: where it is most of it, the machine was \
too small for both.";

const BEST_EXPLAINED: &str = "\
With the number of queues that suits the load: is it as good as a shared queue, or as a master? Of \
each group whoever has the best median in the setting, by requests a second where the load saturates, \
by p99 where it has a rate.";

const CONTEST: Contest = Contest {
    ours: Group {
        title: "best of ours",
        subjects: &[
            Way::Queues.name(),
            Way::TwoQueues.name(),
            Way::OneQueue.name(),
            Way::OneQueueExclusive.name(),
        ],
    },
    others: &[
        Group {
            title: "best shared queue",
            subjects: &[Way::Shared.name(), Way::SharedExclusive.name()],
        },
        Group {
            title: "best dispatch",
            subjects: &[Way::Dispatch.name(), Way::DispatchFree.name()],
        },
        Group {
            title: "a queue for each worker",
            subjects: &[Way::Queues.name()],
        },
    ],
    limits: Limits::USUAL,
};

fn aim(row: &Row) -> Aim {
    let is_saturating = is(row, "load", "saturating");
    let (measure, title, unit) = if is_saturating {
        (measure::RATE, "requests/s", Unit::Count)
    } else {
        (measure::P99, "p99", Unit::Time)
    };
    Aim {
        measure,
        title,
        unit,
        is_more_better: is_saturating,
    }
}

/// Writes the report, and says how the contest ended and what was not measured.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn publish(
    output: &Path,
    results: &Results,
    experiments: &[Experiment],
) -> io::Result<()> {
    let best = CONTEST.markdown(results, aim);
    let best = format!("## Best of ours\n\n{BEST_EXPLAINED}\n\n{best}");
    let has_rows = |it: &&Experiment| results.of(it.name).next().is_some();
    let sections = experiments.iter().filter(has_rows);
    let sections: Vec<Section> = sections
        .map(|it| section(results, it))
        .collect::<io::Result<_>>()?;
    let notes = format!("{COLUMNS_EXPLAINED}\n\n{best}");
    let title = "Ways to share a port among workers";
    page::publish(output, title, results, &notes, &sections)?;
    println!("{best}\n{}", page::skipped(results));
    println!("The report is {}", output.join("README.md").display());
    Ok(())
}

fn section<'a>(results: &Results, experiment: &Experiment) -> io::Result<Section<'a>> {
    let (title, pictures) = match experiment.name {
        THROUGHPUT => ("Throughput", throughput(results)?),
        LATENCY => ("Latency of event loops", latencies(results)?),
        _ => ("Blocking workers", blocking(results)?),
    };
    Ok(Section {
        title,
        method: experiment.question,
        table: table(experiment.name),
        pictures,
    })
}

const REUSES: [&str; 2] = ["fresh", "keep-alive"];

/// Requests by workers, and who had them, with fresh connections and with kept ones.
fn throughput(results: &Results) -> io::Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    for reuse in REUSES {
        let rows = select(results, THROUGHPUT, &[("connections", reuse)]);
        let by = By {
            measure: measure::RATE,
            unit: Unit::Count,
            what: "workers",
            number: |row: &Row| row.parameters.get("workers")?.parse().ok(),
        };
        let heading = Heading {
            title: &format!("Requests by workers, {reuse} connections"),
            subtitle: "answered requests a second under full load; higher is better",
        };
        let file = format!("throughput-{reuse}.svg");
        pictures.extend(growth(file, heading, &rows, by)?);
        pictures.extend(shares(results, reuse)?);
    }
    Ok(pictures)
}

fn shares(results: &Results, reuse: &str) -> io::Result<Option<Picture>> {
    let of_four = [("connections", reuse), ("workers", "4")];
    let rows = select(results, THROUGHPUT, &of_four);
    let heading = Heading {
        title: &format!("How evenly four workers share the requests, {reuse} connections"),
        subtitle: "the busiest worker's requests over the mean of all, full load; 1 is even",
    };
    let file = format!("fairness-{reuse}.svg");
    let name = |row: &Row| row.subject.clone();
    fairness(file, heading, &rows, Way::Queues.name(), name)
}

/// Of one service time, from a light load to full.
fn latencies(results: &Results) -> io::Result<Vec<Picture>> {
    let loads = ["20 %", "60 %", "saturating"];
    let pictures = loads.iter().map(|load| {
        let of_load = [("load", *load), ("service", "exponential")];
        let title = format!("Latency of event loops, load: {load}");
        let file = format!("latency-{}.svg", load.trim_end_matches(" %"));
        percentiles(file, &title, &select(results, LATENCY, &of_load))
    });
    pictures.filter_map(Result::transpose).collect()
}

/// p99 by load.
fn blocking(results: &Results) -> io::Result<Vec<Picture>> {
    let rows = select(results, BLOCKING, &[("service", "exponential")]);
    let by = By {
        measure: measure::P99,
        unit: Unit::Time,
        what: "load, percent of what the workers can do",
        number: |row: &Row| {
            let load = row.parameters.get("load")?;
            load.strip_suffix(" %")?.parse().ok()
        },
    };
    let heading = Heading {
        title: "Blocking workers: p99 by load",
        subtitle: "eight workers, one request at a time, exponential service of 4 ms; lower is better",
    };
    let picture = growth("blocking.svg".to_owned(), heading, &rows, by)?;
    Ok(picture.into_iter().collect())
}

/// The rows of an experiment that have all these parameters, in the order of the ways, so that each
/// has the same colour in all pictures.
fn select<'a>(
    results: &'a Results,
    experiment: &'a str,
    parameters: &[(&str, &str)],
) -> Vec<&'a Row> {
    let rows = results.of(experiment);
    let fits = |row: &&Row| parameters.iter().all(|(name, value)| is(row, name, value));
    let mut rows: Vec<&Row> = rows.filter(fits).collect();
    rows.sort_by_key(|row| Way::ALL.iter().position(|way| way.name() == row.subject));
    rows
}

fn is(row: &Row, parameter: &str, value: &str) -> bool {
    row.parameters
        .get(parameter)
        .is_some_and(|found| found == value)
}

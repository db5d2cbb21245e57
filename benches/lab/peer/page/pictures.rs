//! Each experiment's pictures.

use std::io;

use super::super::super::load::Reuse;
use super::super::super::report::charts;
use super::super::super::report::course;
use super::super::super::report::page::Picture;
use super::super::super::report::plot::sheet::Heading;
use super::super::super::report::plot::timeline::{Strip, timeline};
use super::super::super::report::results::{Results, Row, distinct};
use super::super::experiment::extent::name_of;
use super::super::experiment::reload::RELOAD;
use super::super::experiment::throughput::{LATENCY, THROUGHPUT};
use super::super::ours;

/// The pictures of an experiment.
///
/// # Errors
/// If one cannot be drawn.
pub fn pictures(results: &Results, experiment: &str) -> io::Result<Vec<Picture>> {
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
    let heading = Heading {
        title: "How evenly the workers share the requests",
        subtitle: "the busiest worker's requests over the mean of all, fresh connections, full load; 1 is even",
    };
    let file = "fairness.svg".to_owned();
    charts::fairness(file, heading, &rows, ours::NAME, name)
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
    let title = format!("Latency: {setting}");
    charts::percentiles(file("latency", setting), &title, rows)
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
    Ok(Some(Picture {
        file: file("reload", setting),
        description: title.clone(),
        svg: timeline(heading, &strips)?,
    }))
}

fn file(kind: &str, setting: &str) -> String {
    let setting = setting.replace(" connections", "").replace(", ", "-");
    format!("{kind}-{setting}.svg")
}

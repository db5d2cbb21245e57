//! What is asked of every way.
//!
//! A load is a closed loop (`load=saturating`) or an open one at a part of what can be done:
//! light, moderate, heavy. Only an open loop's latency is what users would meet.

use std::io;

use super::lab::load::Reuse;
use super::lab::report::results::Row;
use super::lab::way::Way;

/// A question, and the settings in which it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Experiment {
    pub(crate) name: &'static str,
    pub(crate) question: &'static str,
    pub(crate) settings: Vec<Setting>,
}

/// What is set, the same for every way.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) workers: usize,
    pub(crate) reuse: Reuse,
    pub(crate) connections: usize,
    pub(crate) demand: Demand,
    /// The worker's.
    pub(crate) knobs: Vec<String>,
    /// Names what differs, for the tables.
    parameters: Vec<(&'static str, String)>,
}

/// How much is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Demand {
    /// As much as can be had: a closed loop.
    All,
    /// So many requests per second.
    Rate(f64),
    /// So great a part of what `queues` can do.
    Part(f64),
}

/// Loads by name, as parts of what can be done.
const LIGHT: (&str, f64) = ("light", 0.2);
const MODERATE: (&str, f64) = ("moderate", 0.6);
const HEAVY: (&str, f64) = ("heavy", 0.85);

/// The experiments of these names, or all.
///
/// # Errors
/// There is none of such a name.
pub(crate) fn chosen(names: &[String], quick: bool) -> io::Result<Vec<Experiment>> {
    let all = [
        throughput(quick),
        latency(quick),
        computing(quick),
        blocking(quick),
    ];
    let known = all.each_ref().map(|experiment| experiment.name);
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let text = format!("there is no experiment {name}; give {}", known.join(", "));
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let is_chosen = |name| names.is_empty() || names.iter().any(|chosen| chosen == name);
    let chosen = all
        .into_iter()
        .filter(|experiment| is_chosen(experiment.name));
    Ok(chosen.collect())
}

fn throughput(quick: bool) -> Experiment {
    let counts: &[usize] = if quick { &[1, 4] } else { &[1, 2, 4, 8, 16] };
    let settings = counts.iter().flat_map(|workers| {
        [Reuse::Fresh, Reuse::KeepAlive].map(|reuse| Setting::new(*workers, reuse))
    });
    Experiment {
        name: "throughput",
        question: "How many requests can be answered that take no time, and what does the way to \
                   the worker cost?",
        settings: settings.collect(),
    }
}

fn latency(quick: bool) -> Experiment {
    let loads = if quick {
        &[MODERATE][..]
    } else {
        &[LIGHT, MODERATE]
    };
    let settings = loads.iter().flat_map(|(name, part)| {
        let of = |reuse| Setting::new(4, reuse).load(name, Demand::Part(*part));
        [Reuse::Fresh, Reuse::KeepAlive].map(of)
    });
    Experiment {
        name: "latency",
        question: "How long do requests take that take no time, when the machine has time to spare?",
        settings: settings.collect(),
    }
}

/// The mean is half a millisecond of CPU, and the cores are what limits.
fn computing(quick: bool) -> Experiment {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let services = [("even", "fixed:0.5"), ("uneven", "bimodal:0.25,5.25,0.05")];
    let loads = if quick {
        &[MODERATE][..]
    } else {
        &[LIGHT, MODERATE]
    };
    let mut settings = Vec::new();
    for (evenness, service) in services {
        let base = Setting::new(4, Reuse::Fresh).service(evenness, service, &["--work", "cpu"]);
        for (name, part) in loads {
            // The load and the kernel need the cores, too: a quarter is left to them.
            let demand = Demand::Rate(0.75 * part * cores as f64 / 0.5e-3);
            settings.push(base.clone().load(name, demand));
        }
        if !quick {
            settings.push(base);
        }
    }
    Experiment {
        name: "computing",
        question: "Event loops that compute for 0.5 ms a request: who waits behind a long one?",
        settings,
    }
}

/// The mean is 4 ms of waiting, and the workers are what limits, however few the cores are.
fn blocking(quick: bool) -> Experiment {
    let services = [
        ("even", "fixed:4"),
        ("exponential", "exponential:4"),
        ("uneven", "bimodal:1,31,0.1"),
    ];
    let (services, loads) = if quick {
        (&services[1..], &[MODERATE][..])
    } else {
        (&services[..], &[LIGHT, MODERATE, HEAVY][..])
    };
    let knobs = ["--work", "wait", "--one-at-a-time"];
    let mut settings = Vec::new();
    for (evenness, service) in services {
        for (name, part) in loads {
            let workers = 8;
            let demand = Demand::Rate(part * workers as f64 / 4e-3);
            let setting = Setting::new(workers, Reuse::Fresh).service(evenness, service, &knobs);
            settings.push(setting.load(name, demand));
        }
    }
    Experiment {
        name: "blocking",
        question: "Workers that serve one request at a time and wait for 4 ms in it: who waits \
                   behind a busy worker while another is idle?",
        settings,
    }
}

impl Setting {
    /// A closed loop of 32 connections.
    fn new(workers: usize, reuse: Reuse) -> Self {
        let name = match reuse {
            Reuse::Fresh => "fresh",
            Reuse::KeepAlive => "keep-alive",
        };
        Self {
            workers,
            reuse,
            connections: 32,
            demand: Demand::All,
            knobs: Vec::new(),
            parameters: vec![
                ("workers", workers.to_string()),
                ("connections", name.to_owned()),
                ("load", "saturating".to_owned()),
            ],
        }
    }

    fn load(mut self, name: &str, demand: Demand) -> Self {
        self.parameters
            .retain(|(parameter, _)| *parameter != "load");
        self.parameters.push(("load", name.to_owned()));
        self.demand = demand;
        self
    }

    fn service(mut self, evenness: &str, service: &str, knobs: &[&str]) -> Self {
        self.parameters.push(("service", evenness.to_owned()));
        let knobs = ["--service", service]
            .into_iter()
            .chain(knobs.iter().copied());
        self.knobs.extend(knobs.map(str::to_owned));
        self
    }

    /// Who is asked. A worker of which a connection is always busy is never free, so `dispatch-free`
    /// is for one request a connection.
    pub(crate) fn ways(&self) -> impl Iterator<Item = Way> {
        let (reuse, workers) = (self.reuse, self.workers);
        let takes_part = move |way: &Way| match way {
            Way::DispatchFree => reuse == Reuse::Fresh,
            Way::TwoQueues => workers > 2,
            Way::OneQueue => workers > 1,
            _ => true,
        };
        Way::ALL.into_iter().filter(takes_part)
    }

    pub(crate) fn row(&self, experiment: &str, subject: &str, round: u32) -> Row {
        let row = Row::new(experiment, subject, round);
        let parameters = self.parameters.iter();
        parameters.fold(row, |row, (name, value)| row.with(*name, value))
    }
}

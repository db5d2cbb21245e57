//! What is asked of every way.
//!
//! A load is a closed loop (`load=saturating`) or an open one at a part of what can be done
//! (`load=60 %`). Only an open loop's latency is what users would meet.

use std::io;
use std::time::Duration;

use super::lab::load::Reuse;
use super::lab::report::results::Row;
use super::lab::way::Way;

/// A question, and the settings in which it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Experiment {
    pub(crate) name: &'static str,
    pub(crate) question: &'static str,
    /// Of each measurement, unless something else is asked for.
    pub(crate) length: Duration,
    pub(crate) settings: Vec<Setting>,
}

/// What it takes, about, to start a way's processes and to end them.
const START_AND_STOP: Duration = Duration::from_millis(300);

impl Experiment {
    /// About how long it takes to measure all of it once.
    pub(crate) fn time_of_a_round(&self) -> Duration {
        let settings = self.settings.iter();
        let each = settings.map(|setting| {
            let ways = u32::try_from(setting.ways().count()).unwrap_or(u32::MAX);
            (setting.warm_up() + self.length + START_AND_STOP) * ways
        });
        each.sum()
    }
}

/// What is set, the same for every way.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) workers: u32,
    pub(crate) reuse: Reuse,
    pub(crate) connections: usize,
    pub(crate) demand: Demand,
    /// The worker's.
    pub(crate) options: Vec<String>,
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
}

/// The experiments' names in the rows.
pub(crate) const THROUGHPUT: &str = "throughput";
/// The same.
pub(crate) const LATENCY: &str = "latency";
/// The same.
pub(crate) const BLOCKING: &str = "blocking";

/// Loads as parts of what can be done, in percent: light, moderate, heavy.
const LIGHT: u32 = 20;
const MODERATE: u32 = 60;
const HEAVY: u32 = 85;

/// Connections that are kept alive by many users at a time.
const MANY: usize = 10_000;

/// A load's least warm-up.
const WARM_UP: Duration = Duration::from_millis(300);

/// The experiments of these names, or all.
///
/// # Errors
/// There is none of such a name.
pub(crate) fn chosen(names: &[String], quick: bool) -> io::Result<Vec<Experiment>> {
    let all = [throughput(quick), latency(quick), blocking(quick)];
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

/// How many requests there are is known soon, so these are short.
fn throughput(quick: bool) -> Experiment {
    let counts: &[u32] = if quick { &[1, 4] } else { &[1, 2, 4, 8, 16] };
    let settings = counts.iter().flat_map(|workers| {
        [Reuse::Fresh, Reuse::KeepAlive].map(|reuse| Setting::new(*workers, reuse))
    });
    let many = (!quick).then(|| Setting::new(4, Reuse::KeepAlive).of_many());
    Experiment {
        name: THROUGHPUT,
        question: "How many requests can be answered that take no time, and what does the way to \
                   the worker cost? A closed loop of 32 connections, or of 10,000.",
        length: Duration::from_secs(1),
        settings: settings.chain(many).collect(),
    }
}

/// The mean is half a millisecond of CPU, and the cores are what limits.
fn latency(quick: bool) -> Experiment {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let base =
        |service: &Service| Setting::new(4, Reuse::Fresh).service(service, &["--work", "cpu"]);
    // The load and the kernel need the cores, too: a quarter is left to them.
    let most = 0.75 * cores as f64 / 0.5e-3;
    let all = [
        base(&EXPONENTIAL_CPU).load(MODERATE, most),
        base(&EXPONENTIAL_CPU).load(LIGHT, most),
        base(&EXPONENTIAL_CPU),
        base(&("even", "fixed:0.5")).load(MODERATE, most),
        base(&("uneven", "bimodal:0.25,5.25,0.05")).load(MODERATE, most),
    ];
    Experiment {
        name: LATENCY,
        question: "Four event loops that compute for 0.5 ms a request, in the mean: who waits \
                   behind a long one? Each request on a connection of its own.",
        length: Duration::from_secs(2),
        settings: first_if(quick, all),
    }
}

/// The mean is 4 ms of waiting, and the workers are what limits, however few the cores are.
fn blocking(quick: bool) -> Experiment {
    let workers = 8;
    let options = ["--work", "wait", "--one-at-a-time"];
    let base = |service: &Service| Setting::new(workers, Reuse::Fresh).service(service, &options);
    let most = f64::from(workers) / 4e-3;
    let all = [
        base(&EXPONENTIAL_WAIT).load(MODERATE, most),
        base(&EXPONENTIAL_WAIT).load(LIGHT, most),
        base(&EXPONENTIAL_WAIT).load(HEAVY, most),
        base(&("uneven", "bimodal:1,31,0.1")).load(HEAVY, most),
    ];
    Experiment {
        name: BLOCKING,
        question: "Eight workers that serve one request at a time and wait for 4 ms in it, in the \
                   mean: who waits behind a busy worker while another is idle? Each request on a \
                   connection of its own.",
        length: Duration::from_secs(2),
        settings: first_if(quick, all),
    }
}

/// What a distribution of service times is called, and what the worker calls it.
type Service = (&'static str, &'static str);

const EXPONENTIAL_CPU: Service = ("exponential", "exponential:0.5");
const EXPONENTIAL_WAIT: Service = ("exponential", "exponential:4");

/// The one that says most comes first.
fn first_if<const N: usize>(quick: bool, all: [Setting; N]) -> Vec<Setting> {
    all.into_iter().take(if quick { 1 } else { N }).collect()
}

impl Setting {
    /// A closed loop of 32 connections.
    fn new(workers: u32, reuse: Reuse) -> Self {
        let name = match reuse {
            Reuse::Fresh => "fresh",
            Reuse::KeepAlive => "keep-alive",
        };
        Self {
            workers,
            reuse,
            connections: 32,
            demand: Demand::All,
            options: Vec::new(),
            parameters: vec![
                ("workers", workers.to_string()),
                ("connections", name.to_owned()),
                ("load", "saturating".to_owned()),
            ],
        }
    }

    /// An open loop at so many percent of the most that can be done in a second.
    fn load(self, percent: u32, most: f64) -> Self {
        Self {
            demand: Demand::Rate(f64::from(percent) / 100.0 * most),
            ..self.with("load", format!("{percent} %"))
        }
    }

    fn service(mut self, (name, service): &Service, options: &[&str]) -> Self {
        let options = ["--service", service]
            .into_iter()
            .chain(options.iter().copied());
        self.options.extend(options.map(str::to_owned));
        self.with("service", (*name).to_owned())
    }

    fn of_many(self) -> Self {
        Self {
            connections: MANY,
            ..self.with("connections", "10,000 keep-alive".to_owned())
        }
    }

    fn with(mut self, parameter: &'static str, value: String) -> Self {
        self.parameters.retain(|(name, _)| *name != parameter);
        self.parameters.push((parameter, value));
        self
    }

    /// What is not measured yet. The load opens 10,000 connections in a second; half as long again
    /// is for their first answers.
    pub(crate) fn warm_up(&self) -> Duration {
        WARM_UP + Duration::from_micros(150) * u32::try_from(self.connections).unwrap_or(0)
    }

    /// Who is asked. One worker has but one queue. `dispatch-free` differs from `dispatch` where
    /// workers serve one at a time; an event loop of which a connection is always busy is never free.
    pub(crate) fn ways(&self) -> impl Iterator<Item = Way> {
        let workers = self.workers;
        let is_single = self.options.iter().any(|knob| knob == "--one-at-a-time");
        let takes_part = move |way: &Way| match way {
            Way::DispatchFree => is_single,
            Way::TwoQueues => workers > 2,
            Way::OneQueue | Way::OneQueueExclusive | Way::SharedExclusive => workers > 1,
            Way::Queues | Way::Shared | Way::Dispatch => true,
        };
        Way::ALL.into_iter().filter(takes_part)
    }

    pub(crate) fn row(&self, experiment: &str, subject: &str, round: u32) -> Row {
        let row = Row::new(experiment, subject, round);
        let parameters = self.parameters.iter();
        parameters.fold(row, |row, (name, value)| row.with(*name, value))
    }
}

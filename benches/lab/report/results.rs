//! What a run of the lab found, raw: every round of every subject, as it was measured.
//!
//! Medians, ratios, tables and plots are made of these rows and never kept beside them, so that a
//! reader who doubts a number can make it again from the file. Rows are pushed while they come;
//! whoever is interrupted writes what there is, and the file says by its rows how far it got.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::super::machine::Machine;

/// Names of measures that more than one experiment has, so that tables can find them.
pub mod measure {
    /// Requests that were answered well, a second.
    pub const RATE: &str = "requests_per_second";
    /// Microseconds from a request's intended start to the end of its answer: the median.
    pub const P50: &str = "p50_us";
    /// The same: 90 of a hundred were faster.
    pub const P90: &str = "p90_us";
    /// The same: 99 of a hundred were faster.
    pub const P99: &str = "p99_us";
    /// The same: 999 of a thousand were faster.
    pub const P999: &str = "p999_us";
    /// Requests that were not answered well.
    pub const FAILED: &str = "failed";
    /// Requests that were answered well.
    pub const ANSWERED: &str = "answered";
    /// CPU time of the server's processes, in microseconds, for each answered request.
    pub const SERVER_CPU: &str = "server_cpu_us_per_request";
    /// CPU time of the load generator, in microseconds, for each answered request.
    pub const CLIENT_CPU: &str = "client_cpu_us_per_request";
    /// Context switches of the server's processes for each answered request.
    pub const SWITCHES: &str = "switches_per_request";
    /// The busiest worker's requests over the mean of all workers: 1 is fair.
    pub const REQUEST_FAIRNESS: &str = "requests_max_over_mean";
    /// The busiest worker's connections over the mean of all workers: 1 is fair.
    pub const CONNECTION_FAIRNESS: &str = "connections_max_over_mean";
    /// Resident memory of the server's processes, in bytes.
    pub const RSS: &str = "rss_bytes";
    /// How late the load generator itself was with one request in a hundred, in microseconds. Where
    /// this is not small against a latency, the latency is the machine's, not the server's.
    pub const LATE: &str = "load_late_p99_us";
    /// The share of all cores' time that neither the server nor the load generator had, but
    /// somebody else: other processes, or the host (steal). From 0 to 1.
    pub const FOREIGN: &str = "foreign_cpu_share";
}

/// Everything that one run of a bench found, and where and when it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Where it ran.
    pub machine: Machine,
    /// When it began: RFC 3339, UTC.
    pub date: String,
    /// What every random choice came from.
    pub seed: u64,
    /// Versions of all software that took part, by its name.
    pub versions: BTreeMap<String, String>,
    /// What was measured, in the order in which it was.
    pub rows: Vec<Row>,
    /// What was to be measured and was not, and why.
    pub skipped: Vec<(String, String)>,
}

/// One subject in one round of one experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was asked, such as `throughput`.
    pub experiment: String,
    /// Who was asked, such as `nginx`.
    pub subject: String,
    /// What else was set, such as `workers` to `4`. Rows are only compared where these agree.
    pub parameters: BTreeMap<String, String>,
    /// Which round; ratios are made of rows of the same one.
    pub round: u32,
    /// What was found, by the names of [`measure`] or the experiment's own.
    pub measures: BTreeMap<String, f64>,
    /// The distribution of latency: quantile from 0 to 1, and microseconds.
    pub percentiles: Vec<(f64, f64)>,
    /// The course of it; empty where only the whole counts.
    pub timeline: Vec<Moment>,
    /// From when to when each reload lasted (or each kill, until all workers were back), in seconds
    /// since the load's begin.
    #[serde(default)]
    pub marks: Vec<(f64, f64)>,
}

/// What happened in one short stretch of a row's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Its beginning, in seconds since the load's.
    pub at: f64,
    /// Requests answered well in it.
    pub answered: u64,
    /// Requests that failed in it.
    pub failed: u64,
    /// Median latency in it, in microseconds; 0 if nothing was answered.
    pub p50: f64,
    /// 99th percentile, in microseconds.
    pub p99: f64,
    /// The slowest, in microseconds.
    pub max: f64,
}

impl Results {
    /// No rows yet; the machine and the time are those of this moment.
    pub fn begin(seed: u64) -> io::Result<Self> {
        Ok(Self {
            machine: Machine::here()?,
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            seed,
            versions: BTreeMap::new(),
            rows: Vec::new(),
            skipped: Vec::new(),
        })
    }

    /// Notes that `what` was not measured, once for each reason.
    pub fn skip(&mut self, what: impl Into<String>, why: impl Into<String>) {
        let entry = (what.into(), why.into());
        if !self.skipped.contains(&entry) {
            self.skipped.push(entry);
        }
    }

    /// Notes the version of a piece of software that takes part.
    pub fn version(&mut self, name: impl Into<String>, version: impl Into<String>) {
        self.versions.insert(name.into(), version.into());
    }

    /// The experiments that have rows, in the order in which they were made.
    pub fn experiments(&self) -> Vec<&str> {
        distinct(self.rows.iter().map(|row| row.experiment.as_str()))
    }

    /// The rows of one experiment.
    pub fn of<'a>(&'a self, experiment: &'a str) -> impl Iterator<Item = &'a Row> {
        let rows = self.rows.iter();
        rows.filter(move |row| row.experiment == experiment)
    }

    /// As indented JSON.
    pub fn to_json(&self) -> io::Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// From what [`Results::to_json`] made.
    pub fn from_json(text: &str) -> io::Result<Self> {
        Ok(serde_json::from_str(text)?)
    }

    /// Writes the JSON to `path`, whole or not at all: an interrupted write must not eat the
    /// results of the hours before.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let draft = path.with_extension("json.new");
        fs::write(&draft, self.to_json()?)?;
        fs::rename(&draft, path)
    }
}

impl Row {
    /// An empty row.
    pub fn new(experiment: impl Into<String>, subject: impl Into<String>, round: u32) -> Self {
        Self {
            experiment: experiment.into(),
            subject: subject.into(),
            round,
            ..Self::default()
        }
    }

    /// With one more parameter.
    #[must_use]
    pub fn with(mut self, parameter: impl Into<String>, value: impl ToString) -> Self {
        self.parameters.insert(parameter.into(), value.to_string());
        self
    }

    /// Notes a measure. What is not finite (a mean of nothing) is left out: JSON has no word for
    /// it, and a table then shows that it is missing.
    pub fn measure(&mut self, name: impl Into<String>, value: f64) {
        if value.is_finite() {
            self.measures.insert(name.into(), value);
        }
    }

    /// The measure of that name, if this row has it.
    pub fn get(&self, measure: &str) -> Option<f64> {
        self.measures.get(measure).copied()
    }

    /// The parameters in words: `load=light workers=4`.
    pub fn setting(&self) -> String {
        let pairs = self.parameters.iter();
        let words: Vec<String> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        words.join(" ")
    }
}

/// Each value once, in the order in which it came first.
pub fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

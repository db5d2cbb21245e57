//! Parts of sentences.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use super::Reporter;
use crate::config::Config;
use crate::fleet::{CheckFailure, Endpoint, Exit, HealthView, WorkerId};

impl Reporter<'_> {
    /// The last lines that a worker wrote, to be appended to a sentence.
    pub(super) fn last_words(&self, worker: WorkerId) -> String {
        let lines = self.output.last_lines(worker);
        if lines.is_empty() {
            String::new()
        } else {
            format!("; it wrote: {}", lines.join(" | "))
        }
    }

    /// That somebody was answered where the worker was to listen, if that was seen: to be appended to a sentence.
    pub(super) fn port_answer(&self, worker: WorkerId) -> String {
        match self.workers.port_answer(worker) {
            None => String::new(),
            Some(address) => format!(
                "; while it was starting, a process of this host connected to {address} and was answered: if that was \
                 this server, to see whether its port is free, switch that off (see Limits in the README)"
            ),
        }
    }
}

/// What the checks of a worker say, in `status`.
pub(crate) fn health(health: &HealthView, config: &Config) -> String {
    match health {
        HealthView::Unknown => "unknown".to_owned(),
        HealthView::Healthy => "healthy".to_owned(),
        HealthView::Unhealthy(failure) => format!("unhealthy: {}", check_failure(failure, config)),
    }
}

/// How a health check failed: a clause of which the worker is the subject.
pub(super) fn check_failure(failure: &CheckFailure, config: &Config) -> String {
    let Some(health) = &config.health else {
        return String::new();
    };
    let within = seconds(health.timeout);
    match failure {
        CheckFailure::NotAccepted => format!("did not accept a connection within {within}"),
        CheckFailure::NoAnswer => match health.path() {
            Some(path) => format!("did not answer GET {path} within {within}"),
            None => format!("did not answer within {within}"),
        },
        CheckFailure::BadAnswer(clause) => clause.clone(),
        CheckFailure::Silent => {
            let after = seconds(health.interval.saturating_add(health.timeout));
            format!("did not send WATCHDOG=1 within {after}")
        }
        CheckFailure::Stopped => "is stopped (SIGSTOP)".to_owned(),
        CheckFailure::Said => "sent WATCHDOG=trigger".to_owned(),
    }
}

/// `1 worker`, `2 workers`.
pub(in crate::supervisor::operators) fn workers(count: usize) -> String {
    counted(count as u64, "worker")
}

/// `1 connection`, `2 connections`.
pub(super) fn connections(count: u64) -> String {
    counted(count, "connection")
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

const DAEMONISED: &str = "exited with code 0 and had put itself into the background, where a process still had its \
     listener (that was killed); a worker must stay in the foreground: nginx -g 'daemon off;', apache2 -D FOREGROUND, \
     php-fpm -F, lighttpd -D, haproxy -db, no -d or --daemon";

pub(super) fn ended(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(number) => {
            let name = nix::sys::signal::Signal::try_from(*number)
                .map_or("a real-time signal", |signal| signal.as_str());
            format!("was killed by signal {number} ({name})")
        }
        Exit::Daemonised => DAEMONISED.to_owned(),
        Exit::NotStarted(reason) => reason.clone(),
    }
}

pub(super) fn list(endpoints: &[Endpoint]) -> String {
    let mut text = String::new();
    for endpoint in endpoints.iter().collect::<BTreeSet<_>>() {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{endpoint}");
    }
    text
}

/// `123.4 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", count as f64 / unit as f64),
        None => format!("{count} bytes"),
    }
}

pub(in crate::supervisor::operators) fn seconds(duration: Duration) -> String {
    humantime::format_duration(Duration::from_millis(
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    ))
    .to_string()
}

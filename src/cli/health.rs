//! `--health`, and what belongs to it.

use std::time::Duration;

use super::duration::{duration, positive};
use super::exit::Exit;
use super::settings::Settings;
use super::value::http_path;
use crate::config::{CheckedBy, Config, HealthCheck};

/// More often than this nobody needs to know, and workers have something else to do.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

/// More checks that fail in a row are not waited for.
const MAX_FAILURES: u32 = 1000;

/// What is asked for; none: no checks.
///
/// # Errors
/// A usage error; so is an option that says how to check where nothing is checked.
pub(super) fn health(settings: &Settings) -> Result<Option<HealthCheck>, Exit> {
    let by = settings.one("health", how)?;
    let interval = settings.one("health-interval", interval)?;
    let timeout = settings.one("health-timeout", positive)?;
    let failures = settings.one("health-failures", count)?;
    let start_period = settings.one("health-start-period", duration)?;
    let Some(by) = by else {
        let given = [
            ("health-interval", interval.is_some()),
            ("health-timeout", timeout.is_some()),
            ("health-failures", failures.is_some()),
            ("health-start-period", start_period.is_some()),
        ];
        return match given.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => Err(Exit::usage(format!(
                "--{name}: no worker is checked: give --health http:/PATH, tcp or notify with it"
            ))),
            None => Ok(None),
        };
    };
    Ok(Some(HealthCheck {
        by,
        interval: interval.unwrap_or(Duration::from_secs(10)),
        timeout: timeout.unwrap_or(Duration::from_secs(2)),
        failures: failures.unwrap_or(3),
        start_period: start_period.unwrap_or(Duration::ZERO),
    }))
}

/// `http:/PATH`, `tcp` or `notify`.
fn how(text: &str) -> Result<CheckedBy, String> {
    match text {
        "tcp" => Ok(CheckedBy::Tcp),
        "notify" => Ok(CheckedBy::Notify),
        _ => match http_path(text) {
            Some(path) => Ok(CheckedBy::Http(path)),
            None => Err(
                "give http:/PATH, such as http:/health (no spaces, no host), tcp or notify"
                    .to_owned(),
            ),
        },
    }
}

/// How many checks in a row must fail.
fn count(text: &str) -> Result<u32, String> {
    let count = text.parse().ok();
    count
        .filter(|count| (1..=MAX_FAILURES).contains(count))
        .ok_or_else(|| format!("give a number from 1 to {MAX_FAILURES}"))
}

fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        span if span < LEAST_INTERVAL => Err("give 10ms or more".to_owned()),
        span => Ok(span),
    }
}

/// Where several workers accept from one socket, the answer of one is none about another.
///
/// # Errors
/// A usage error.
pub(super) fn check_asks_one(config: &Config) -> Result<(), Exit> {
    let Some(health) = config.health.as_ref().filter(|it| it.by.is_asked()) else {
        return Ok(());
    };
    let by = &health.by;
    if !config.steering.is_steered() {
        return Err(Exit::usage(format!(
            "--health {by}: with --steering none any worker may answer, so none can be asked by itself: give --health notify, \
             or leave out one of the two"
        )));
    }
    match config.queues {
        Some(queues) if queues < config.workers => Err(Exit::usage(format!(
            "--health {by}: workers that share a queue (--queues {queues}) answer for each other, so none can be asked by \
             itself: give --health notify, or leave out one of the two"
        ))),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn health_in_three_ways() {
        assert_eq!(how("tcp").unwrap(), CheckedBy::Tcp);
        assert_eq!(how("notify").unwrap(), CheckedBy::Notify);
        let asked = CheckedBy::Http("/up?x=1".to_owned());
        assert_eq!(how("http:/up?x=1").unwrap(), asked);
        for text in ["", "http", "listen", "http:up", "http://host/", "http:/a b"] {
            assert!(how(text).unwrap_err().contains("http:/PATH"), "{text:?}");
        }
    }
}

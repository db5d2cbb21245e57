//! `--health`, and what belongs to it.

use std::time::Duration;

use super::duration::{duration, positive};
use super::exit::Exit;
use super::settings::Settings;
use super::value;
use crate::config::{Config, HealthCheck};

/// More often than this nobody needs to know, and workers have something else to do.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

/// What is asked for; none: no checks.
///
/// # Errors
/// A usage error; so is an option that says how to check where nothing is checked.
pub(super) fn health(settings: &Settings) -> Result<Option<HealthCheck>, Exit> {
    let by = settings.one("health", value::health)?;
    let interval = settings.one("health-interval", interval)?;
    let timeout = settings.one("health-timeout", positive)?;
    let failures = settings.one("health-failures", value::failures)?;
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

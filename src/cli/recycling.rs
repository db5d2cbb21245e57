//! What a worker may reach before it is recycled.

use std::time::Duration;

use super::duration::positive;
use super::exit::Exit;
use super::limit::bytes;
use super::settings::Settings;
use crate::fleet::{CpuLimit, Limits};

/// Workers are looked at once a second.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
const DEFAULT_WINDOW: Duration = Duration::from_secs(60);
/// Ten thousand CPUs.
const MOST_PERCENT: u64 = 1_000_000;
const MOST_CONNECTIONS: u64 = 1 << 31;

/// # Errors
/// A usage error that says which limit makes no sense, and what is allowed.
pub(super) fn limits(settings: &Settings) -> Result<Limits, Exit> {
    Ok(Limits {
        max_rss: settings.one("max-rss", size)?,
        max_cpu: max_cpu(settings)?,
        max_age: settings.one("max-age", positive)?,
        max_connections: settings.one("max-connections-served", connections)?,
    })
}

fn max_cpu(settings: &Settings) -> Result<Option<CpuLimit>, Exit> {
    let percent = settings.one("max-cpu", percent)?;
    let window = settings.one("max-cpu-window", window)?;
    match (percent, window) {
        (None, Some(_)) => Err(Exit::usage(
            "--max-cpu-window: there is nothing to average: give --max-cpu with it",
        )),
        (percent, window) => Ok(percent.map(|percent| CpuLimit {
            percent,
            window: window.unwrap_or(DEFAULT_WINDOW),
        })),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let size = bytes(text.trim()).filter(|size| *size > 0);
    size.ok_or_else(|| {
        "give a number of bytes that is not 0, with K, M or G behind it for 1024 and so on, such as 500M"
            .to_owned()
    })
}

fn percent(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok();
    number
        .filter(|percent| (1..=MOST_PERCENT).contains(percent))
        .ok_or_else(|| {
            "give a share of one CPU of 1% or more, such as 90%; two are 200%".to_owned()
        })
}

fn window(text: &str) -> Result<Duration, String> {
    let window = positive(text)?;
    match window < SHORTEST_WINDOW {
        true => Err("give 1s or more: workers are looked at once a second".to_owned()),
        false => Ok(window),
    }
}

fn connections(text: &str) -> Result<u64, String> {
    let number = text.trim().parse().ok();
    number
        .filter(|count| (1..=MOST_CONNECTIONS).contains(count))
        .ok_or_else(|| format!("give a whole number from 1 to {MOST_CONNECTIONS}"))
}

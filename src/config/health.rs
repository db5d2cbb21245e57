//! How serving workers are checked (`--health` and what belongs to it).

use std::fmt;
use std::time::Duration;

/// How serving workers are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// By what (`--health`).
    pub by: CheckedBy,
    /// From the beginning of a check to that of the next (`--health-interval`).
    pub interval: Duration,
    /// A check that was not passed after this has failed (`--health-timeout`).
    pub timeout: Duration,
    /// So many failures in a row make a worker unhealthy, at least 1 (`--health-failures`).
    pub failures: u32,
    /// Failures in so much time after a worker became ready are not counted (`--health-start-period`).
    pub start_period: Duration,
}

/// By what a worker is checked (`--health`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckedBy {
    /// It answers `GET` of this path with a status from 200 to 399.
    Http(String),
    /// It accepts a connection.
    Tcp,
    /// It says `WATCHDOG=1` to `NOTIFY_SOCKET` (sd_notify(3)).
    Notify,
}

impl CheckedBy {
    /// Whether it is asked of each worker through the shared port, so that it must be known who answers.
    pub fn is_asked(&self) -> bool {
        match self {
            Self::Http(_) | Self::Tcp => true,
            Self::Notify => false,
        }
    }
}

impl HealthCheck {
    /// The path that is asked for, if one is.
    pub fn path(&self) -> Option<&str> {
        match &self.by {
            CheckedBy::Http(path) => Some(path),
            CheckedBy::Tcp | CheckedBy::Notify => None,
        }
    }
}

impl fmt::Display for CheckedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(path) => write!(f, "http:{path}"),
            Self::Tcp => f.write_str("tcp"),
            Self::Notify => f.write_str("notify"),
        }
    }
}

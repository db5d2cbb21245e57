//! Why a health check failed. Part of the [vocabulary](super::vocabulary).

use serde::{Deserialize, Serialize};

/// Why a worker did not pass a health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckFailure {
    /// Nobody accepted the connection in time.
    NotAccepted,
    /// The connection was accepted, and nothing came in time.
    NoAnswer,
    /// An answer came, and was not good, or the connection ended without one: a clause says what.
    BadAnswer(String),
    /// `WATCHDOG=1` did not come in time.
    Silent,
    /// Nothing came in time, and all threads of its processes are stopped (SIGSTOP).
    Stopped,
    /// It said itself that it is not well (`WATCHDOG=trigger`).
    Said,
}

impl CheckFailure {
    /// Whether one such failure tells enough: what is seen of the worker itself, or what it says itself, is no accident
    /// of one connection.
    pub(super) fn is_certain(&self) -> bool {
        match self {
            Self::Stopped | Self::Said => true,
            Self::NotAccepted | Self::NoAnswer | Self::BadAnswer(_) | Self::Silent => false,
        }
    }

    /// Whether the worker does not accept what waits for it.
    pub(super) fn does_not_accept(&self) -> bool {
        match self {
            Self::NotAccepted | Self::Stopped => true,
            Self::NoAnswer | Self::BadAnswer(_) | Self::Silent | Self::Said => false,
        }
    }
}

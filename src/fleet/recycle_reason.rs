//! Why a worker is replaced that nobody has asked to replace. Part of the [vocabulary](super::vocabulary).

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a worker is recycled. The limit is the worker's own: a part of up to a tenth is added to what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecycleReason {
    /// It has served for so long (`--max-age`).
    MaxAge {
        /// For how long.
        age: Duration,
        /// How long it may.
        limit: Duration,
    },
    /// It fails its health checks, and others pass theirs (`--health`).
    Unhealthy,
}

//! Why a worker is replaced that nobody has asked to replace. Part of the [vocabulary](super::vocabulary).

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a worker is recycled. The limit is the worker's own: a part of up to a tenth is added to what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecycleReason {
    /// Its processes have so much memory (`--max-rss`), in bytes.
    MaxRss {
        /// How much.
        rss: u64,
        /// How much they may.
        limit: u64,
    },
    /// Its processes have used so much of the processors (`--max-cpu`).
    MaxCpu {
        /// How much of one processor on average, in percent.
        percent: u64,
        /// How much they may.
        limit: u64,
        /// Over how long.
        window: Duration,
    },
    /// It has served for so long (`--max-age`).
    MaxAge {
        /// For how long.
        age: Duration,
        /// How long it may.
        limit: Duration,
    },
    /// It was given so many connections (`--max-connections-served`).
    MaxConnections {
        /// How many; of those of a queue that it shares, its part.
        served: u64,
        /// How many it may.
        limit: u64,
    },
    /// It fails its health checks, and others pass theirs (`--health`).
    Unhealthy,
}

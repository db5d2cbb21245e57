//! Why a worker is recycled, and that it could not be.

use std::time::Duration;

use super::phrase::{bytes, seconds};
use crate::fleet::{ChangeKind, ChangeResult, Failure, RecycleReason};

/// What a worker has reached.
pub(crate) fn reached(why: &RecycleReason) -> String {
    match why {
        RecycleReason::MaxRss { rss, limit } => format!(
            "has {} of memory, and may have {} (--max-rss)",
            bytes(*rss),
            bytes(*limit)
        ),
        RecycleReason::MaxCpu {
            percent,
            limit,
            window,
        } => format!(
            "has used {percent} % of a processor over {}, and may use {limit} % (--max-cpu)",
            seconds(*window)
        ),
        RecycleReason::MaxConnections { served, limit } => format!(
            "was given {served} connections, and may be given {limit} (--max-connections-served)"
        ),
        RecycleReason::MaxAge { age, limit } => format!(
            "has served for {}, and may for {} (--max-age)",
            seconds(*age),
            seconds(*limit)
        ),
        RecycleReason::Unhealthy => "is unhealthy, and others are not".to_owned(),
    }
}

pub(super) fn to_be_recycled(why: &RecycleReason) -> String {
    format!("{}; it is recycled when its turn has come", reached(why))
}

pub(super) fn not_recycled(why: &RecycleReason, failures: u32, retry_in: Duration) -> String {
    let nth = match failures {
        1 => String::new(),
        _ => format!(" (failed {failures} times)"),
    };
    format!(
        "{}; it could not be replaced{nth} and serves on; trying again in {}",
        reached(why),
        seconds(retry_in)
    )
}

/// Why a worker that has too much memory when it is ready has failed to start.
pub(super) fn too_large(worker: &str, rss: u64, limit: u64) -> String {
    let (rss, limit) = (bytes(rss), bytes(limit));
    format!(
        "{worker} has {rss} of memory as soon as it is ready, and --max-rss is {limit}: it would be replaced for ever"
    )
}

/// Whether a recycling ends with everything else: nobody has asked for it.
pub(super) fn is_given_up(result: &ChangeResult) -> bool {
    matches!(
        result,
        ChangeResult::Failed {
            kind: ChangeKind::Recycling,
            failure: Failure::Stopped,
            ..
        }
    )
}

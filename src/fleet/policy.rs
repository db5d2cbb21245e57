//! The numbers that the rules go by.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// The numbers that the rules go by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Workers at the start, at least 1.
    pub workers: u32,
    /// The most workers that can be asked for.
    pub most_workers: u32,
    /// How many listener sets the workers of a generation share; none: each worker has its own.
    pub queues: Option<u32>,
    /// What makes a worker ready, beside listening.
    pub ready: ReadyWhen,
    /// Whether groups can be steered; else every generation gets the same sockets.
    pub steering: bool,
    /// Whether connections that outlive their worker can be adopted; only with steering.
    pub rescue: bool,
    /// How long incoming workers must have been ready when they take over.
    pub min_uptime: Duration,
    /// How a reload replaces its workers.
    pub strategy: Strategy,
    /// How long the workers that a reload has replaced stand by; only with steering.
    pub soak: Duration,
    /// So many crashes of new workers in that time are let pass; one more takes the reload back.
    pub soak_restarts: u32,
    /// How serving workers are checked; none: not at all.
    pub health: Option<HealthChecks>,
    /// When a worker is recycled.
    pub limits: Limits,
    /// How often it is looked at for that, where looks are needed.
    pub look_interval: Duration,
    /// A worker that is not ready after this has failed.
    pub start_timeout: Duration,
    /// How long a retired listener may take to become empty.
    pub settle_timeout: Duration,
    /// How long a retired worker may take to become quiet.
    pub quiet_timeout: Duration,
    /// How long a rescuer may take to get a worker ready for its stop signal.
    pub prepare_timeout: Duration,
    /// How long a worker may take to exit.
    pub drain_timeout: Duration,
    /// How long a worker that is told to stop by a message has until the stop signal; none: it is told by that.
    pub stop_message: Option<Duration>,
    /// How long rescuers may take to end when all workers are gone.
    pub rescuers_end_timeout: Duration,
    /// How long to serve on when told to stop.
    pub pre_stop: Duration,
    /// So many crashes of a slot within `restart_window` are let pass; one more is a loop.
    pub max_restarts: u32,
    /// See `max_restarts`.
    pub restart_window: Duration,
    /// Whether a crash loop ends everything, not the slot alone.
    pub crash_loop_ends_all: bool,
}

/// What a worker may reach before it is recycled. To each is added a part of up to a tenth, another one for each worker, so
/// that not all reach it at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The memory of its processes, in bytes.
    pub max_rss: Option<u64>,
    /// What its processes use of the processors.
    pub max_cpu: Option<CpuLimit>,
    /// How long it may serve, from when it was ready.
    pub max_age: Option<Duration>,
    /// How many connections it may be given.
    pub max_connections: Option<u64>,
}

/// What a worker may use of the processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuLimit {
    /// Of one processor, in percent.
    pub percent: u64,
    /// On average over so long.
    pub window: Duration,
}

impl Limits {
    /// Whether workers have to be looked at for one of them.
    pub fn are_looked_at(&self) -> bool {
        self.needs_processes() || self.max_connections.is_some()
    }

    /// Whether their processes have.
    pub fn needs_processes(&self) -> bool {
        self.max_rss.is_some() || self.max_cpu.is_some()
    }

    /// Over how long the use of processors is averaged.
    pub(super) fn cpu_window(&self) -> Duration {
        self.max_cpu.map_or(Duration::from_secs(60), |it| it.window)
    }
}

/// How a reload, or a restart, replaces its workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// All of them in one step.
    AllAtOnce,
    /// Some after the others, within bounds.
    Rolling(Bounds),
}

/// How many workers may be there beside those that are wanted, and how many of these may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// More than are wanted.
    pub surge: Share,
    /// Less.
    pub unavailable: Share,
}

/// A number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u32),
}

impl Bounds {
    /// How many more workers than `wanted` may run. Part of a worker is one, so that there is progress.
    pub fn surge(self, wanted: u32) -> u32 {
        match self.surge {
            Share::Count(count) => count,
            Share::Percent(percent) => wanted.saturating_mul(percent).div_ceil(100),
        }
    }

    /// How many of the `wanted` workers may be missing. Part of a worker is none; and one is always there, for
    /// where nobody serves, handshakes that have begun would never come to an end.
    pub fn unavailable(self, wanted: u32) -> u32 {
        let count = match self.unavailable {
            Share::Count(count) => count,
            Share::Percent(percent) => wanted.saturating_mul(percent) / 100,
        };
        count.min(wanted.saturating_sub(1))
    }
}

/// How serving workers are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthChecks {
    /// By what.
    pub by: CheckBy,
    /// How long from the beginning of a check to that of the next.
    pub interval: Duration,
    /// A check that was not passed after this has failed.
    pub timeout: Duration,
    /// So many failures in a row make a worker unhealthy, at least 1.
    pub failures: u32,
    /// Failures in so much time after a worker became ready are not counted.
    pub start_period: Duration,
}

/// By what workers are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckBy {
    /// Whether it accepts a connection.
    Accept,
    /// Whether it answers an HTTP request well.
    Http,
    /// Whether it says `WATCHDOG=1` by itself.
    Watchdog,
}

impl HealthChecks {
    /// How long a worker may be silent that says `WATCHDOG=1`: `WATCHDOG_USEC` in its environment.
    pub fn watchdog(&self) -> Duration {
        self.interval.saturating_add(self.timeout)
    }
}

/// What makes a worker ready, beside listening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadyWhen {
    /// Nothing.
    Listening,
    /// `READY=1`.
    Notified,
    /// An answered probe.
    Probed,
}

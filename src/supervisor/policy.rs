//! What the fleet needs to know of the configuration.

use std::time::Duration;

use log::warn;

use super::StartError;
use super::steering::choice;
use super::steering::ebpf::Counting;
use crate::config::{
    Channel, CheckedBy, Config, CrashLoop, HealthCheck, MAX_WORKERS, Readiness, ServedProtocol,
    Steering,
};
use crate::fleet::{Bounds, CheckBy, HealthChecks, Limits, Policy, ReadyWhen, Share, Strategy};

/// How long a rescuer that works may take to get a worker ready for its stop signal, where the drain time-out is
/// not longer. One that hangs is noticed sooner (`retirement::watch`).
const MIN_PREPARE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often workers are looked at that may use no more than so much (`--max-rss` and others).
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long rescuers may take to end when all workers are gone.
const RESCUERS_END_TIMEOUT: Duration = Duration::from_secs(1);

/// How long after a message that tells it to stop a worker gets the stop signal; none: there is no such message.
fn stop_message(config: &Config) -> Option<Duration> {
    let has_message = config.channel == Channel::Cluster || config.stop_message.is_some();
    has_message.then_some(config.stop_message_timeout)
}

pub(super) fn of(config: &Config) -> Policy {
    Policy {
        workers: config.workers,
        most_workers: MAX_WORKERS,
        queues: config.queues,
        ready: match config.ready {
            Readiness::Listen => ReadyWhen::Listening,
            Readiness::Notify | Readiness::Channel => ReadyWhen::Notified,
            Readiness::Http(_) => ReadyWhen::Probed,
        },
        steering: config.steering.is_steered(),
        rescue: config.rescue && config.protocol != ServedProtocol::Opaque,
        min_uptime: config.min_uptime,
        strategy: strategy(config),
        soak: if config.steering.is_steered() {
            config.soak
        } else {
            Duration::ZERO
        },
        soak_restarts: config.soak_restarts,
        health: config
            .health
            .as_ref()
            .and_then(|health| checks(config, health)),
        limits: config.limits,
        look_interval: LOOK_INTERVAL,
        start_timeout: config.start_timeout,
        stop_message: stop_message(config),
        settle_timeout: config.settle_timeout,
        quiet_timeout: config.quiet_timeout,
        drain_timeout: config.drain_timeout,
        prepare_timeout: config.drain_timeout.max(MIN_PREPARE_TIMEOUT),
        rescuers_end_timeout: RESCUERS_END_TIMEOUT,
        pre_stop: config.pre_stop,
        max_restarts: config.max_restarts,
        restart_window: config.restart_window,
        crash_loop_ends_all: config.crash_loop == CrashLoop::Exit,
    }
}

/// Where nothing is steered, no worker can be asked by itself.
fn checks(config: &Config, health: &HealthCheck) -> Option<HealthChecks> {
    let can_be_made = config.steering.is_steered() || !health.by.is_asked();
    can_be_made.then_some(HealthChecks {
        by: match health.by {
            CheckedBy::Http(_) => CheckBy::Http,
            CheckedBy::Tcp => CheckBy::Accept,
            CheckedBy::Notify => CheckBy::Watchdog,
        },
        interval: health.interval,
        timeout: health.timeout,
        failures: health.failures,
        start_period: health.start_period,
    })
}

/// What is not limited is not counted.
pub(super) fn counting(limits: &Limits) -> Counting {
    match limits.max_connections {
        Some(_) => Counting::Yes,
        None => Counting::No,
    }
}

/// # Errors
/// Connections are to be counted, and nothing does that.
pub(super) fn counted(limits: &Limits, steering: Steering) -> Result<(), StartError> {
    match (limits.max_connections, steering) {
        (None, _) | (Some(_), Steering::Ebpf) => Ok(()),
        (Some(_), Steering::Auto | Steering::Cbpf | Steering::None) => {
            let why = choice::ebpf_obstacle().unwrap_or_default();
            Err(StartError::NotCounted { why })
        }
    }
}

/// Says which options have no effect where nothing is steered although that was wanted: who has asked for a way back counts
/// on it.
pub(super) fn warn_unless_steered(config: &Config) {
    if config.steering.is_steered() {
        return;
    }
    if !config.soak.is_zero() {
        warn!(
            "--soak has no effect: new connections are not steered, so old workers cannot stand by, and there is no way back"
        );
    }
    if let Some(health) = config.health.as_ref().filter(|it| it.by.is_asked()) {
        warn!(
            "--health {} has no effect: new connections are not steered, so no worker can be asked by itself; give --health \
             notify",
            health.by
        );
    }
    if strategy(config) != config.strategy {
        warn!(
            "--max-surge and --max-unavailable: new connections are not steered, so no worker leaves before the next has started: \
             one more runs, at least"
        );
    }
}

/// Where nothing is steered, what waits for a worker that leaves first would be lost: one more starts before.
fn strategy(config: &Config) -> Strategy {
    match config.strategy {
        Strategy::Rolling(bounds) if !config.steering.is_steered() => Strategy::Rolling(Bounds {
            surge: match bounds.surge {
                Share::Count(0) | Share::Percent(0) => Share::Count(1),
                Share::Count(_) | Share::Percent(_) => bounds.surge,
            },
            unavailable: Share::Count(0),
        }),
        Strategy::AllAtOnce | Strategy::Rolling(_) => config.strategy,
    }
}

//! Options that make sense each, and none together: found before anything starts.

use super::exit::Exit;
use super::health;
use crate::config::{Channel, Config, Readiness, Steering};
use crate::fleet::Strategy;

/// # Errors
/// A usage error that says what does not go together, and what to do.
pub(super) fn check(config: &Config) -> Result<(), Exit> {
    check_ready_host(config)?;
    check_channel(config)?;
    check_soak(config)?;
    check_limits(config)?;
    health::check_asks_one(config)?;
    check_bounds(config)
}

/// A host without a request to name it in is a mistake.
fn check_ready_host(config: &Config) -> Result<(), Exit> {
    let health = config.health.as_ref();
    let is_asked = health.is_some_and(|health| health.path().is_some());
    match (&config.ready_host, &config.ready) {
        (Some(_), Readiness::Listen | Readiness::Notify | Readiness::Channel) if is_asked => Ok(()),
        (Some(host), Readiness::Listen | Readiness::Notify | Readiness::Channel) => {
            Err(Exit::usage(format!(
                "--ready-host {host}: nothing is asked of the workers: give --ready http:/PATH or --health http:/PATH with it"
            )))
        }
        (Some(_), Readiness::Http(_)) | (None, _) => Ok(()),
    }
}

/// What is said over a channel needs one.
fn check_channel(config: &Config) -> Result<(), Exit> {
    match (&config.ready, config.channel) {
        (Readiness::Channel, Channel::None) => Err(Exit::usage(
            "--ready channel: workers have no channel to say it over: give --channel node or cluster with it",
        )),
        _ if config.stop_message.is_some() && config.channel == Channel::None => Err(Exit::usage(
            "--stop-message: workers have no channel to hear it over: give --channel node or cluster with it",
        )),
        _ => Ok(()),
    }
}

/// Bounds that no worker could be replaced within, or that would lose something.
fn check_bounds(config: &Config) -> Result<(), Exit> {
    let Strategy::Rolling(bounds) = config.strategy else {
        return Ok(());
    };
    let (surge, missing) = (
        bounds.surge(config.workers),
        bounds.unavailable(config.workers),
    );
    let together = config
        .queues
        .map_or(1, |queues| config.workers.div_ceil(queues));
    if !config.soak.is_zero() {
        return Err(Exit::usage(
            "--soak: with --strategy rolling the old workers have gone when the last new one serves, so none can stand by: \
             leave out one of the two",
        ));
    }
    if surge == 0 && !config.steering.is_steered() {
        return Err(Exit::usage(
            "--max-surge 0: with --steering none, what waits for a worker that leaves first would be lost: give 1 or more",
        ));
    }
    if surge.max(missing) < together {
        return Err(Exit::usage(match together {
            1 => format!(
                "--max-surge and --max-unavailable: one worker serves at all times, and of {} none could be replaced: give \
                 --max-surge 1",
                config.workers
            ),
            _ => format!(
                "--max-surge and --max-unavailable: {together} workers share a queue (--queues) and are replaced together: \
                 give --max-surge {together}"
            ),
        }));
    }
    Ok(())
}

/// What is counted by a program cannot be counted without it.
fn check_limits(config: &Config) -> Result<(), Exit> {
    let named = match config.steering {
        Steering::Auto | Steering::Ebpf => return Ok(()),
        Steering::Cbpf => "cbpf",
        Steering::None => "none",
    };
    match config.limits.max_connections {
        Some(_) => Err(Exit::usage(format!(
            "--max-connections-served: connections are counted by the eBPF program that steers them, and with --steering \
             {named} there is none: leave out one of the two, or use --max-age, or the server's own option (gunicorn's \
             --max-requests, uvicorn's --limit-max-requests)"
        ))),
        None => Ok(()),
    }
}

/// Where nothing is steered, old workers could not be kept from accepting while they stand by.
fn check_soak(config: &Config) -> Result<(), Exit> {
    match (config.soak.is_zero(), config.steering.is_steered()) {
        (false, false) => Err(Exit::usage(
            "--soak: with --steering none old workers cannot stand by, for new connections cannot be kept from them: \
             leave out one of the two",
        )),
        (true, _) | (false, true) => Ok(()),
    }
}

//! What was done in each experiment, in words.

use super::super::experiment::crash::CRASH;
use super::super::experiment::extent::Extent;
use super::super::experiment::reload::RELOAD;
use super::super::experiment::scale::SCALE;
use super::super::experiment::throughput::{LATENCY, THROUGHPUT};

/// The heading of an experiment.
pub fn title(experiment: &str) -> &'static str {
    match experiment {
        THROUGHPUT => "Throughput",
        LATENCY => "Latency at a moderate load",
        RELOAD => "Reloads under load",
        CRASH => "SIGKILL of a worker",
        SCALE => "Many workers",
        _ => "The cost of wrapping",
    }
}

/// What was done.
pub fn method(experiment: &str, extent: &Extent) -> String {
    let Extent {
        workers,
        connections,
        rate,
        reloads,
        kills,
        length,
        longest,
        rounds,
        windows,
        window,
        ..
    } = *extent;
    match experiment {
        THROUGHPUT => format!(
            "{workers} workers, {connections} connections, each asks again as soon as it is answered, for {length:?} a round. Latency here is that of a full machine. Memory is that of all processes after the load, what they share counted once (PSS)."
        ),
        LATENCY => format!(
            "{workers} workers, {rate} requests per second at random times whatever the server does, for {length:?} a round. Latency counts from the time when a request was due."
        ),
        RELOAD => format!(
            "{workers} workers, {reloads} reloads in a row, or as many as begin within {longest:?} but five at least, each in the subject's own way, {rate} requests per second meanwhile. A reload is done when all workers from before are gone and as many new ones are there; whether these can already answer is seen in the latency. Added latency: of each reload the worst tenth of a second's p99, of these the median, less the median p99 outside of reloads. The supervisor is every process that does not serve: masters, helpers, proxies (under us each gunicorn and granian has an arbiter as well, which is its own, not ours); its CPU time is that of the whole run, with what it did for the requests. The pictures show each subject's worst reload."
        ),
        CRASH => format!(
            "{workers} workers, {rate} requests per second, SIGKILL to one worker after the other, {kills} in all. A dash: within 5 s nobody replaced it; the subject was then started again for the next one."
        ),
        SCALE => "Each time is that until no process uses CPU any more, so that all workers have booted; a stop's until none is left. The supervisor's CPU is that of every process that does not serve; memory and rest are the first process's, after one reload; rest lasts five seconds.".to_owned(),
        _ => format!(
            "One process of a server, bare, bare again and with reuseport-run -n 1 around it, all three up at the same time; {connections} connections ask one of them for {window:?}, then another, each {windows} times in a round, in all orders. A round's value is the median of the ratios of windows that follow upon one another, and each of {rounds} rounds has new processes. *bare again* is what the method itself finds between two that are the same. The least and the most of five rounds hold the true median with a probability of 94 %."
        ),
    }
}

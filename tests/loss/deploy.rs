//! Deployments that have to prove themselves, workers that hang, and workers that are recycled: near, from afar, with
//! privilege and without.

use super::*;

/// Near; and from afar and without privilege, where other programs steer. `LOSS_FULL=1`: from afar with privilege, too.
fn places() -> Vec<Environment> {
    let also = is_full().then_some(ENVIRONMENTS[1]);
    [LOOPBACK, ENVIRONMENTS[4]]
        .into_iter()
        .chain(also)
        .collect()
}

/// With connections for each request, and with kept ones, what is lost is no more than what workers had in their hands
/// when they were killed, or froze.
///
/// Without privilege, the kept connections of another host's clients are the server's to close, if it is not told that
/// their address does not matter.
fn loses_what_the_dead_had(server: &str, actions: &[&str], options: &str) {
    let _machine = machine();
    let options = format!("--rescue-clients all {options}");
    for environment in places() {
        for mode in ["fresh", "keepalive"] {
            let common = ["--server", server, "--mode", mode, "--args", &options];
            let Some(report) = trial(environment, &[&common[..], actions].concat()) else {
                return;
            };
            println!(
                "{environment:?}, {mode}: {} lost of {}, {} of them in the hands of the dead",
                report.outcome.failures(),
                report.outcome.answered,
                report.killed_connections
            );
            assert_at_most(report.killed_connections, &report, environment);
        }
    }
}

#[test]
fn new_workers_that_die_in_a_soak_take_nothing_with_them_but_what_they_had() {
    loses_what_the_dead_had("static", &["--soak-deaths", "3"], "--soak 60s");
}

#[test]
fn a_roll_back_in_a_soak_loses_nothing() {
    loses_what_the_dead_had("node", &["--rollbacks", "2"], "--soak 60s");
}

#[test]
fn a_canary_that_is_promoted_withdrawn_or_dies_loses_nothing_else() {
    loses_what_the_dead_had("static", &["--canaries", "3"], "");
}

#[test]
fn a_rolling_reload_loses_nothing() {
    loses_what_the_dead_had("static", &["--reloads", "2"], "--strategy rolling");
}

#[test]
fn a_worker_that_hangs_loses_nothing_but_what_it_had() {
    let options = "--health http:/ --health-interval 500ms --drain-timeout 1s";
    loses_what_the_dead_had("go", &["--freezes", "2"], options);
}

#[test]
fn workers_that_grow_old_are_replaced_without_loss() {
    loses_what_the_dead_had("static", &["--seconds", "4"], "--max-age 1s");
}

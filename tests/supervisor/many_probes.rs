//! Many workers that are probed at the same time: each probe reaches the worker that it is for, and no
//! other.

use std::time::Duration;

use reuseport_run::wire::control::Status;

use crate::harness::{Builder, Supervisor, fixture};
use crate::support::*;

/// More than rules for single probes would fit into a steering program.
const WORKERS: usize = 100;

/// The slot of the worker that is ready only when the test says so.
const LATE_SLOT: u32 = 80;

/// For a hundred starts on a machine that has other things to do.
const TEST_TIMEOUT: Duration = Duration::from_secs(180);

/// A hundred of these, which run another script in one slot.
fn hundred(options: &[&str], usual: &str, late: &str) -> Builder {
    let server = fixture("misbehave").display().to_string();
    let script = format!(
        "if [ \"$REUSEPORT_WORKER\" = {LATE_SLOT} ]; then {late}; fi; exec '{server}' {usual}"
    );
    Supervisor::builder()
        .args(["-n", "100", "--start-timeout", "170s"])
        .args(options.iter().copied())
        .command([
            "sh",
            "-c",
            &script.replace("SERVER", &format!("'{server}'")),
        ])
        .within(TEST_TIMEOUT)
}

/// All but one serve, and that one does when it is ready.
fn one_is_late(supervisor: &Supervisor) {
    let serving = |status: &Status| {
        let workers = status.workers.iter();
        workers.filter(|worker| worker.phase == "serving").count()
    };
    let status = supervisor.wait_status(|status| serving(status) == WORKERS - 1);
    let late = status
        .workers
        .iter()
        .find(|worker| worker.phase == "starting");
    assert_eq!(late.map(|worker| worker.slot), Some(LATE_SLOT));
    touch(supervisor.directory(), "late");
    supervisor.wait_serving(WORKERS);
}

#[test]
fn a_hundred_workers_that_take_a_socket_are_each_asked_for_themselves() {
    let late = "while [ ! -e '{dir}/late' ]; do sleep 0.05; done";
    let options = ["--listen", "127.0.0.1:{port}"];
    one_is_late(&hundred(&options, "--take", late).start());
}

#[test]
fn a_hundred_workers_that_answer_are_each_asked_for_themselves() {
    let late = "exec SERVER --port {port} --health '{dir}/late'";
    let options = ["--ready", "http:/health"];
    one_is_late(&hundred(&options, "--port {port}", late).start());
}

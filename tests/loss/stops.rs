//! The end under load: who was accepted is answered, who comes later is refused.

use super::*;

/// Failures of a load that goes on while its server ends. A client that asks again on a kept connection may be too
/// late, once for each connection: the worker has not read that.
#[track_caller]
fn assert_accepted_are_answered(report: &Report, environment: Environment, connections: u64) {
    let mut failed = report.outcome.failed.clone();
    failed.remove(&Failure::Refused);
    let late = failed.remove(&Failure::Reused).unwrap_or(0);
    assert!(
        failed.is_empty() && late <= connections && report.outcome.answered > connections,
        "{environment:?}: {report:#?}"
    );
    assert_eq!(report.exit, Some(0), "{report:#?}");
}

/// Ends a server under load, so often.
fn ends_well(server: &[&str], environment: Environment, mode: &str, steering: &str) {
    let arguments = [
        "--connections",
        "16",
        "--mode",
        mode,
        "--args",
        &format!("--steering {steering}"),
        "--stop",
    ];
    for _ in 0..times() {
        let Some(report) = trial(environment, &[server, &arguments].concat()) else {
            return;
        };
        assert_accepted_are_answered(&report, environment, 16);
    }
}

/// python3's http.server dies at once of the stop signal, Node too; Go finishes what it has.
#[test]
fn who_was_accepted_is_answered() {
    let _machine = machine();
    for server in ["python-plain", "node", "go"] {
        for mode in ["fresh", "keepalive"] {
            ends_well(&["--server", server], LOOPBACK, mode, "auto");
        }
    }
}

#[test]
fn however_new_connections_are_kept_out() {
    let _machine = machine();
    let server = ["--server", "static"];
    for steering in ["ebpf", "cbpf", "none"] {
        ends_well(&server, LOOPBACK, "fresh", steering);
    }
}

/// Handshakes are under way when the end begins.
#[test]
fn over_a_network() {
    let _machine = machine();
    for environment in [ENVIRONMENTS[1], ENVIRONMENTS[4]] {
        for mode in ["fresh", "keepalive"] {
            ends_well(&["--server", "node"], environment, mode, "auto");
        }
    }
}

/// Servers that shut their listeners down at the stop signal, and go on: each leaves its group by itself.
#[test]
fn listeners_that_leave_by_themselves() {
    let _machine = machine();
    let server = fixture("misbehave").display().to_string();
    let server = format!("{server} --port {{port}} --shutdown-on-term");
    let count = times().to_string();
    for workers in ["4", "16"] {
        let arguments = [
            "--server-command",
            &server,
            "--workers",
            workers,
            "--reloads",
            &count,
            "--args",
            "--steering cbpf --drain-timeout 200ms",
        ];
        let Some(report) = trial(LOOPBACK, &arguments) else {
            return;
        };
        assert_at_most(0, &report, LOOPBACK);
    }
}

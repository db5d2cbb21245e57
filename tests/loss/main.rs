//! Loss: real servers under a saturating load, on loopback and over a network with a round trip,
//! with privilege and without, while they are reloaded, killed and scaled.
//!
//! A trial saturates the machine, so they run one after another. They are short by default; with
//! `LOSS_FULL=1` in the environment each has 20 reloads and 20 kills.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used)]

mod deploy;
#[path = "../rig/harness.rs"]
mod harness;
#[path = "../rig/mod.rs"]
mod rig;
mod stops;

use std::env;
use std::io::{self, Write as _};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harness::{Supervisor, ctl_program, fixture, supervisor_program};
use rig::load::{Failure, Load};
use rig::report::Report;

static MACHINE: Mutex<()> = Mutex::new(());

/// Waits until the machine is ours. A trial that failed before has left nothing behind.
fn machine() -> MutexGuard<'static, ()> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often something is done in a trial.
fn times() -> u64 {
    if is_full() { 20 } else { 2 }
}

fn is_full() -> bool {
    env::var_os("LOSS_FULL").is_some_and(|value| value == "1")
}

/// Where a trial runs.
#[derive(Clone, Copy, Debug)]
struct Environment {
    /// One way; none: loopback.
    delay_ms: Option<u32>,
    nobody: bool,
}

const LOOPBACK: Environment = Environment {
    delay_ms: None,
    nobody: false,
};

/// Everywhere that a reload has to be without loss: a supervisor that is right on loopback may
/// still lose every handshake that is under way.
const ENVIRONMENTS: [Environment; 6] = [
    LOOPBACK,
    Environment {
        delay_ms: Some(10),
        nobody: false,
    },
    Environment {
        delay_ms: Some(50),
        nobody: false,
    },
    Environment {
        delay_ms: None,
        nobody: true,
    },
    Environment {
        delay_ms: Some(10),
        nobody: true,
    },
    Environment {
        delay_ms: Some(50),
        nobody: true,
    },
];

/// The report of a trial; none, after saying so, where it cannot be made.
#[track_caller]
fn trial(environment: Environment, arguments: &[&str]) -> Option<Report> {
    let mut command = Command::new(fixture("rig"));
    if let Some(delay_ms) = environment.delay_ms {
        command.args(["--delay-ms", &delay_ms.to_string()]);
    }
    if environment.nobody {
        command.arg("--nobody");
    }
    command.arg("--").arg(fixture("trial"));
    command.arg("--supervisor").arg(supervisor_program());
    command.arg("--ctl").arg(ctl_program());
    if environment.delay_ms.is_some() {
        command.args(["--connect", "10.9.0.2"]);
    }
    let output = command.args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        let name = std::thread::current()
            .name()
            .unwrap_or("a trial")
            .to_owned();
        let reason = said.trim().trim_start_matches("skipped: ");
        let _ = writeln!(io::stderr(), "skipped: {name} {reason}");
        return None;
    }
    assert!(
        output.status.success(),
        "{environment:?} {arguments:?}: {said}"
    );
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[track_caller]
fn assert_at_most(failures: u64, report: &Report, environment: Environment) {
    assert!(
        report.outcome.failures() <= failures,
        "{environment:?}: {report:#?}"
    );
    assert!(
        report.outcome.answered >= 100,
        "{environment:?}: {report:#?}"
    );
}

/// Reloads, kills and scales one server.
fn loses_nothing(server: &str) {
    let _machine = machine();
    let count = times().to_string();
    for environment in ENVIRONMENTS {
        let Some(report) = trial(environment, &["--server", server, "--reloads", &count]) else {
            return;
        };
        assert_at_most(0, &report, environment);
    }
    let Some(report) = trial(LOOPBACK, &["--server", server, "--kills", &count]) else {
        return;
    };
    // What a killed worker has accepted is lost with it, and nothing else.
    assert_at_most(report.killed_connections, &report, LOOPBACK);
    let Some(report) = trial(LOOPBACK, &["--server", server, "--scale", "8,2"]) else {
        return;
    };
    assert_at_most(0, &report, LOOPBACK);
}

#[test]
fn python_as_it_comes() {
    loses_nothing("python-plain");
}

#[test]
fn a_static_binary() {
    loses_nothing("static");
}

#[test]
fn node() {
    loses_nothing("node");
}

#[test]
fn go() {
    loses_nothing("go");
}

/// Four workers that share a queue, or two, are as safe as four that have their own.
fn shared_loses_nothing(server: &str, queues: &str) {
    let _machine = machine();
    let (count, queues) = (times().to_string(), format!("--queues {queues}"));
    let common = ["--server", server, "--args", &queues];
    for environment in [LOOPBACK, ENVIRONMENTS[1], ENVIRONMENTS[5]] {
        let arguments = [&common[..], &["--reloads", &count]].concat();
        let Some(report) = trial(environment, &arguments) else {
            return;
        };
        assert_at_most(0, &report, environment);
    }
    let arguments = [&common[..], &["--kills", &count]].concat();
    let Some(report) = trial(LOOPBACK, &arguments) else {
        return;
    };
    assert_at_most(report.killed_connections, &report, LOOPBACK);
    let arguments = [&common[..], &["--scale", "8,2"]].concat();
    let Some(report) = trial(LOOPBACK, &arguments) else {
        return;
    };
    assert_at_most(0, &report, LOOPBACK);
}

#[test]
fn python_with_one_queue() {
    shared_loses_nothing("python-plain", "1");
}

#[test]
fn a_static_binary_with_one_queue() {
    shared_loses_nothing("static", "1");
}

#[test]
fn node_with_two_queues() {
    shared_loses_nothing("node", "2");
}

/// Root gets eBPF: elsewhere, classic programs are those of nobody.
#[test]
fn classic_programs_as_root() {
    let _machine = machine();
    let count = times().to_string();
    let common = ["--server", "static", "--args", "--steering cbpf"];
    for actions in [
        ["--reloads", &count],
        ["--kills", &count],
        ["--scale", "8,2"],
    ] {
        let Some(report) = trial(LOOPBACK, &[&common[..], &actions].concat()) else {
            return;
        };
        assert_at_most(report.killed_connections, &report, LOOPBACK);
    }
}

/// Old workers accept until they are told to stop. Of servers that finish what they have accepted, a reload
/// loses one connection at the most, and kept connections are rescued.
#[test]
fn without_steering() {
    let _machine = machine();
    let count = times().to_string();
    for server in ["static", "go", "node"] {
        let arguments = [
            "--server",
            server,
            "--reloads",
            &count,
            "--args",
            "--steering none",
        ];
        let Some(report) = trial(LOOPBACK, &arguments) else {
            return;
        };
        assert_at_most(times(), &report, LOOPBACK);
    }
}

#[test]
fn new_generations_that_fail_cost_nothing() {
    let _machine = machine();
    let supervisor = Supervisor::builder()
        .args(["-n", "4", "--start-timeout", "500ms"])
        .fixture(
            "misbehave",
            ["--port", "{port}", "--behaviour-file", "{dir}/behaviour"],
        )
        .start();
    supervisor.wait_serving(4);
    let load = Load::start(supervisor.plan()).unwrap();
    for behaviour in [
        "--exit 7",
        "--exit-after-ms 1 --late 50",
        "--hang",
        "--exit 0",
    ] {
        supervisor.write("behaviour", behaviour);
        assert_eq!(
            supervisor.ctl(["reload"]).status.code(),
            Some(1),
            "{behaviour}"
        );
        assert!(load.wait_answered(100, Duration::from_secs(30)));
    }
    let outcome = load.stop();
    assert_eq!(outcome.failures(), 0, "{outcome:#?}");
    assert!(
        outcome.workers.keys().all(|name| name.starts_with("1.")),
        "{outcome:#?}"
    );
}

/// What becomes of clients on another host, kept connections and all, that the server lets in by their address.
fn from_another_host(environment: Environment, whose: &str) -> Option<Report> {
    let server = fixture("misbehave").display().to_string();
    let count = times().to_string();
    let arguments = [
        "--server-command",
        &format!("{server} --port {{port}} --only 10.9.0.2 --drain-on-term"),
        "--mode",
        "keepalive",
        "--reloads",
        &count,
        "--args",
        &format!("--rescue-clients {whose}"),
    ];
    trial(environment, &arguments)
}

/// How many requests came to the server from another address than their client's.
fn mistaken(report: &Report) -> u64 {
    let failed = &report.outcome.failed;
    failed.get(&Failure::BadAnswer).copied().unwrap_or(0)
}

#[test]
fn a_client_of_another_host_keeps_its_address() {
    let _machine = machine();
    let probe = Command::new(supervisor_program())
        .arg("--probe")
        .output()
        .unwrap();
    let probe = String::from_utf8_lossy(&probe.stdout).into_owned();
    if let Some(why) = probe
        .lines()
        .find(|line| line.contains("no   name clients"))
    {
        let name = "a_client_of_another_host_keeps_its_address";
        return drop(writeln!(
            io::stderr(),
            "skipped: {name} needs to name clients:{why}"
        ));
    }
    let [root, nobody] = [ENVIRONMENTS[1], ENVIRONMENTS[4]];
    assert!(root.delay_ms.is_some() && !root.nobody && nobody.delay_ms.is_some() && nobody.nobody);
    let Some(report) = from_another_host(root, "auto") else {
        return;
    };
    assert_at_most(0, &report, root);
    // Without the right to name clients, none is taken for somebody else.
    for (environment, whose) in [(nobody, "auto"), (root, "local")] {
        let Some(report) = from_another_host(environment, whose) else {
            return;
        };
        assert_eq!(mistaken(&report), 0, "{report:#?}");
    }
    // That it matters.
    let Some(report) = from_another_host(root, "all") else {
        return;
    };
    assert!(mistaken(&report) > 0, "{report:#?}");
}

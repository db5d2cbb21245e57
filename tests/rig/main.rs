//! The rigs themselves, tested: a load that miscounts would make every loss test worthless.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used)]

#[path = "harness.rs"]
mod harness;
#[path = "mod.rs"]
mod rig;
#[path = "script.rs"]
mod script;

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use harness::{Supervisor, fixture};
use rig::load::{Failure, Load, Outcome, Plan};
use rig::port::Reservation;
use rig::process_tree::ProcessTree;
use rig::report::Report;
use script::{ANSWER, request, reset, say, serve};

/// How long a load may take until a test can judge it.
const RIG_TIMEOUT: Duration = Duration::from_secs(20);

/// Requests, answered or failed, after which a test judges.
const MIN_REQUESTS: u64 = 20;

fn fresh(converse: fn(TcpStream)) -> Outcome {
    outcome(Plan::new(serve(converse)))
}

fn keep_alive(converse: fn(TcpStream)) -> Outcome {
    outcome(Plan::new(serve(converse)).keep_alive())
}

fn outcome(plan: Plan) -> Outcome {
    let load = Load::start(plan.connections(4)).unwrap();
    let deadline = Instant::now() + RIG_TIMEOUT;
    while load.answered() + load.failed() < MIN_REQUESTS {
        assert!(
            Instant::now() < deadline,
            "the load stands still: {:?}",
            load.stop()
        );
        std::thread::yield_now();
    }
    load.stop()
}

/// There are failures, and all are of this class.
#[track_caller]
fn assert_only(outcome: &Outcome, failure: Failure) {
    assert!(outcome.of(failure) > 0, "{outcome:#?}");
    assert_eq!(outcome.of(failure), outcome.failures(), "{outcome:#?}");
    assert_eq!(outcome.first[0].failure, failure);
}

#[track_caller]
fn assert_lossless(outcome: &Outcome) {
    assert_eq!(outcome.failures(), 0, "{outcome:#?}");
    assert!(outcome.answered >= MIN_REQUESTS, "{outcome:#?}");
}

#[test]
fn nobody_listening_is_refused() {
    let reservation = Reservation::new().unwrap();
    let nobody = (Ipv4Addr::LOCALHOST, reservation.port()).into();
    assert_only(&outcome(Plan::new(nobody)), Failure::Refused);
}

#[test]
fn a_fresh_connection_may_be_reset_or_closed_before_an_answer() {
    let resets = |connection: TcpStream| {
        request(&connection);
        reset(connection);
    };
    assert_only(&fresh(resets), Failure::Fresh);
    let closes = |connection: TcpStream| assert!(request(&connection));
    assert_only(&fresh(closes), Failure::Fresh);
    assert_only(&keep_alive(closes), Failure::Fresh);
}

#[test]
fn a_reused_connection_may_be_reset_or_closed_under_a_request() {
    let resets = |connection: TcpStream| {
        request(&connection);
        say(&connection, ANSWER);
        request(&connection);
        reset(connection);
    };
    assert_only(&keep_alive(resets), Failure::Reused);
    let closes = |connection: TcpStream| {
        request(&connection);
        say(&connection, ANSWER);
        request(&connection);
    };
    assert_only(&keep_alive(closes), Failure::Reused);
}

#[test]
fn an_answer_may_be_cut() {
    let cuts = |connection: TcpStream| {
        request(&connection);
        say(&connection, &ANSWER[..ANSWER.len() - 1]);
    };
    assert_only(&fresh(cuts), Failure::Cut);
    assert_only(&keep_alive(cuts), Failure::Cut);
    let cuts_chunk = |connection: TcpStream| {
        request(&connection);
        say(
            &connection,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhi\n\r\n",
        );
    };
    assert_only(&fresh(cuts_chunk), Failure::Cut);
}

#[test]
fn no_answer_is_a_time_out() {
    let hangs = |connection: TcpStream| {
        request(&connection);
        request(&connection);
    };
    let timeout = Duration::from_millis(20);
    let outcome = outcome(Plan {
        timeout,
        ..Plan::new(serve(hangs))
    });
    assert_only(&outcome, Failure::Timeout);
}

#[test]
fn errors_and_nonsense_are_bad_answers() {
    let fails = |connection: TcpStream| {
        request(&connection);
        say(&connection, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    };
    assert_only(&fresh(fails), Failure::BadAnswer);
    let babbles = |connection: TcpStream| {
        request(&connection);
        say(&connection, b"what?\r\n\r\n");
    };
    assert_only(&fresh(babbles), Failure::BadAnswer);
}

#[test]
fn a_connection_is_reused_as_long_as_the_server_keeps_it() {
    let keeps = |connection: TcpStream| {
        while request(&connection) {
            say(&connection, ANSWER);
        }
    };
    let kept = keep_alive(keeps);
    assert_lossless(&kept);
    assert_eq!(kept.connections, 4);
    assert_eq!(kept.workers.get("w1"), Some(&kept.answered));
    let once = fresh(|connection| {
        request(&connection);
        say(&connection, ANSWER);
    });
    assert_lossless(&once);
    assert_eq!(once.connections, once.answered);
}

#[test]
fn a_server_that_announces_its_close_loses_nothing() {
    let announces = |connection: TcpStream| {
        request(&connection);
        say(
            &connection,
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nhi\n",
        );
    };
    let outcome = keep_alive(announces);
    assert_lossless(&outcome);
    assert_eq!(outcome.connections, outcome.answered);
    assert!(outcome.workers.is_empty(), "nobody told a name");
}

#[test]
fn a_server_that_closes_an_idle_connection_loses_nothing() {
    let closes = |connection: TcpStream| {
        request(&connection);
        say(&connection, ANSWER);
    };
    // Long enough for the close to arrive before the next request on any machine.
    let pause = Duration::from_millis(200);
    let outcome = outcome(Plan {
        pause,
        ..Plan::new(serve(closes)).keep_alive()
    });
    assert_lossless(&outcome);
}

#[test]
fn answers_end_by_chunks_and_by_the_end_of_the_connection() {
    let chunks = |connection: TcpStream| {
        while request(&connection) {
            say(
                &connection,
                b"HTTP/1.1 200 OK\r\nX-Worker: w3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nh",
            );
            say(&connection, b"i\r\n1\r\n\n\r\n0\r\nA-Trailer: x\r\n\r\n");
        }
    };
    let chunked = keep_alive(chunks);
    assert_lossless(&chunked);
    assert_eq!(chunked.connections, 4);
    assert_eq!(chunked.workers.get("w3"), Some(&chunked.answered));
    let ends = |connection: TcpStream| {
        request(&connection);
        say(&connection, b"HTTP/1.0 200 OK\r\n\r\nhello");
    };
    assert_lossless(&keep_alive(ends));
}

#[test]
fn a_family_includes_orphans() {
    let processes = ProcessTree::new();
    let mut shell = Command::new("sh");
    // Two orphans: one has left the session, one has no mark.
    shell.args([
        "-c",
        "(setsid sleep 1000 & env -i sleep 1000 &) ; exec sleep 1000",
    ]);
    processes.adopt(&mut shell);
    let mut child = shell.spawn().unwrap();
    let deadline = Instant::now() + RIG_TIMEOUT;
    while processes.members().len() < 3 {
        assert!(
            Instant::now() < deadline,
            "not all: {:?}",
            processes.members()
        );
    }
    processes.kill();
    assert_eq!(processes.members(), Vec::<i32>::new());
    child.wait().unwrap();
}

/// Runs a test program; none, after saying so, where it cannot be run.
fn run(test: &str, program: &str, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(fixture(program));
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        drop(writeln!(
            std::io::stderr(),
            "skipped: {test} {}",
            said.trim().trim_start_matches("skipped: ")
        ));
        return None;
    }
    assert_eq!(output.status.code(), Some(0), "{said}");
    Some(output)
}

fn trial(test: &str, program: &str, arguments: &[&str]) -> Option<Report> {
    let output = run(test, program, arguments)?;
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_trial_without_a_supervisor_loses_nothing() {
    let name = "a_trial_without_a_supervisor_loses_nothing";
    for server in ["misbehave", "static", "python"] {
        for mode in ["fresh", "keepalive"] {
            let arguments = ["--direct", "--server", server, "--mode", mode];
            let Some(report) = trial(name, "trial", &arguments) else {
                continue;
            };
            assert_eq!(report.outcome.failures(), 0, "{report:#?}");
            assert!(report.outcome.answered >= 100, "{report:#?}");
        }
    }
}

#[test]
fn a_delay_of_d_makes_a_round_trip_of_two() {
    let name = "a_delay_of_d_makes_a_round_trip_of_two";
    let program = fixture("trial").display().to_string();
    let server = ["--direct", "--server", "misbehave", "--connect", "10.9.0.2"];
    let arguments = [["--delay-ms", "10", "--", &program].as_slice(), &server].concat();
    let Some(report) = trial(name, "rig", &arguments) else {
        return;
    };
    assert_eq!(report.outcome.failures(), 0, "{report:#?}");
    // To connect and to ask is one round trip each. Upwards a busy machine knows no bound.
    assert!(
        (40.0..400.0).contains(&report.outcome.p50_ms),
        "{report:#?}"
    );
}

#[test]
fn nobody_has_no_privilege() {
    let status = [
        "--nobody",
        "--refuse",
        "getfd",
        "--",
        "cat",
        "/proc/self/status",
    ];
    let Some(output) = run("nobody_has_no_privilege", "rig", &status) else {
        return;
    };
    let status = String::from_utf8(output.stdout).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_ascii_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned()
    };
    assert_ne!(field("Uid:"), "0");
    let was_root = nix::unistd::geteuid().is_root();
    assert!(!was_root || field("Groups:").is_empty(), "{status}");
    assert_eq!(field("CapEff:"), "0000000000000000");
    assert_eq!(field("Seccomp:"), "2");
}

#[test]
fn the_harness_sees_an_exit() {
    let mut supervisor = Supervisor::builder().args(["--version"]).start();
    assert_eq!(supervisor.wait_exit(), 0);
    supervisor.wait_nobody();
}

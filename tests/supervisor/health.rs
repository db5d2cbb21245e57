//! Workers that serve are checked: who is hung or not well is steered away from and replaced, as long as others are well.

use std::fs;

use nix::sys::signal::Signal;
use reuseport_run::wire::control::{Status, WorkerStatus};

use crate::harness::{Builder, Supervisor};
use crate::rig::load::{Load, Plan};
use crate::support::*;

/// What is seen of a worker is enough at once; what a busy machine makes late is not, in no test.
const FROZEN: [&str; 8] = [
    "--health-interval",
    "500ms",
    "--health-timeout",
    "1s",
    "--health-failures",
    "1000",
    "--drain-timeout",
    "1s",
];

/// A worker that answers badly does so at once, so nobody is taken to be late.
const BAD: [&str; 8] = [
    "--health",
    "http:/health",
    "--health-interval",
    "50ms",
    "--health-timeout",
    "20s",
    "--drain-timeout",
    "2s",
];

/// Two workers or more of which that in slot n answers /health badly while the file `sick.n` is there.
fn sickly(options: &[&str]) -> Builder {
    scripted(
        &[&BAD[..], options].concat(),
        &["--sick", "{dir}/sick.{slot}"],
    )
}

fn fall_sick(supervisor: &Supervisor, slot: u32) {
    touch(supervisor.directory(), &format!("sick.{slot}"));
}

fn get_well(supervisor: &Supervisor, slot: u32) {
    fs::remove_file(supervisor.directory().join(format!("sick.{slot}"))).unwrap();
}

/// The worker that serves in a slot.
fn in_slot(status: &Status, slot: u32) -> &WorkerStatus {
    let mut workers = status.workers.iter();
    let serving = |worker: &&WorkerStatus| worker.slot == slot && worker.phase == "serving";
    workers.find(serving).unwrap()
}

fn pid_of(worker: &WorkerStatus) -> i32 {
    i32::try_from(worker.pid.unwrap()).unwrap()
}

fn is_healthy(worker: &WorkerStatus) -> bool {
    worker.health.as_deref() == Some("healthy")
}

fn wait_healthy(supervisor: &Supervisor, workers: usize) -> Status {
    supervisor.wait_status(|status| {
        status.workers.len() == workers && status.workers.iter().all(is_healthy)
    })
}

/// A worker of two is frozen under load. What waits for it is answered by others, and only what it had accepted may fail.
#[track_caller]
fn a_frozen_worker(builder: Builder, plan: impl Fn(&Supervisor) -> Plan) {
    let supervisor = builder.start();
    let status = wait_healthy(&supervisor, 2);
    let (frozen, other) = (in_slot(&status, 1), in_slot(&status, 0));
    let (pid, other) = (pid_of(frozen), pid_of(other));
    let load = Load::start(plan(&supervisor)).unwrap();
    assert!(load.wait_answered(30, PROGRESS_TIMEOUT));
    send(pid, Signal::SIGSTOP);
    supervisor.wait_for("all its threads to stop", || is_stopped(pid).then_some(()));
    // It accepts nothing any more.
    let held = in_slot(&supervisor.status(), 1).connections.unwrap();
    let mut waiting = Vec::new();
    while in_slot(&supervisor.status(), 1).listeners[0].queue == 0 {
        waiting.push(begin_asking(supervisor.address(), "/").unwrap());
    }
    supervisor.wait_line(&format!(
        "(pid {pid}, generation 1, slot 1): unhealthy: is stopped (SIGSTOP)"
    ));
    supervisor.wait_line(&format!(
        "(pid {pid}, generation 1, slot 1): it gets no new connections"
    ));
    for request in waiting {
        assert!(finish_asking(request).unwrap().starts_with("1."));
    }
    // Its replacement serves, and the one that was not frozen is the same.
    let status = supervisor.wait_status(|status| {
        let serving = status.workers.iter().filter(|it| it.phase == "serving");
        let pids: Vec<i32> = serving.map(pid_of).collect();
        pids.len() == 2 && !pids.contains(&pid) && pids.contains(&other)
    });
    let new = in_slot(&status, 1);
    assert_eq!(new.generation, 1);
    assert!(load.wait_answered(30, PROGRESS_TIMEOUT));
    supervisor.wait_status(|status| status.workers.len() == 2);
    let outcome = load.stop();
    assert!(outcome.failures() <= held, "{held} held: {outcome:#?}");
    without_loss(light(supervisor.address()), || ());
    assert_eq!(supervisor.status().endpoints[0].queue, 0);
}

fn frozen(by: &str) -> Builder {
    let options = [&["-n", "2", "--health", by][..], &FROZEN[..]].concat();
    scripted(&options, &[])
}

#[test]
fn a_frozen_worker_that_is_asked_for_a_connection_is_replaced() {
    a_frozen_worker(frozen("tcp"), |supervisor| light(supervisor.address()));
}

#[test]
fn a_frozen_worker_that_is_asked_a_question_is_replaced() {
    a_frozen_worker(frozen("http:/health"), |supervisor| {
        light(supervisor.address()).keep_alive()
    });
}

#[test]
fn a_frozen_worker_is_replaced_with_classic_programs_too() {
    let builder = frozen("http:/health").args(["--steering", "cbpf"]);
    a_frozen_worker(builder, |supervisor| light(supervisor.address()));
}

#[test]
fn a_frozen_worker_that_is_watched_is_replaced() {
    let options = ["-n", "2", "--health", "notify"];
    let watched = scripted(
        &[&options[..], &FROZEN[..]].concat(),
        &["--watchdog", "{dir}/silent.{slot}"],
    );
    a_frozen_worker(watched, |supervisor| light(supervisor.address()));
}

#[test]
fn a_worker_that_answers_badly_is_replaced_and_nothing_is_lost() {
    for plan in [Plan::keep_alive, |plan: Plan| plan] {
        let supervisor = sickly(&["-n", "2"]).start();
        let before = wait_healthy(&supervisor, 2);
        let (status, _) = without_loss(plan(light(supervisor.address())), || {
            fall_sick(&supervisor, 1);
            let line = supervisor.wait_line("slot 1): unhealthy: ");
            assert!(
                line.contains("answered GET /health (Host: localhost:")
                    && line.ends_with("with status 503"),
                "{line}"
            );
            supervisor.wait_line("is unhealthy, and others are not; it is recycled");
            get_well(&supervisor, 1);
            let old = pid_of(in_slot(&before, 1));
            supervisor.wait_line(&format!("(pid {old}, generation 1, slot 1): gone"));
            wait_healthy(&supervisor, 2)
        });
        assert_eq!(pid_of(in_slot(&status, 0)), pid_of(in_slot(&before, 0)));
        assert_ne!(pid_of(in_slot(&status, 1)), pid_of(in_slot(&before, 1)));
    }
}

#[test]
fn a_worker_that_does_not_answer_any_more_is_replaced() {
    let options = [
        "-n",
        "2",
        "--health",
        "http:/health",
        "--health-interval",
        "200ms",
        "--health-timeout",
        "1s",
        "--health-failures",
        "2",
    ];
    let supervisor = scripted(&options, &["--mute", "{dir}/mute.{slot}"]).start();
    let before = wait_healthy(&supervisor, 2);
    touch(supervisor.directory(), "mute.1");
    supervisor.wait_line("slot 1): unhealthy: did not answer GET /health within 1s");
    fs::remove_file(supervisor.directory().join("mute.1")).unwrap();
    let old = pid_of(in_slot(&before, 1));
    supervisor.wait_line(&format!("(pid {old}, generation 1, slot 1): gone"));
}

#[test]
fn where_all_fail_nobody_is_taken_away_and_that_is_said_once() {
    let supervisor = sickly(&["-n", "2"]).start();
    let before = wait_healthy(&supervisor, 2);
    fall_sick(&supervisor, 0);
    fall_sick(&supervisor, 1);
    supervisor.wait_line("no other worker is healthy, either");
    // Both have failed many more checks by then.
    let lines = supervisor.lines().len();
    without_loss(light(supervisor.address()), || {
        let ill = |worker: &WorkerStatus| {
            let health = worker.health.as_deref().unwrap_or_default();
            health.starts_with("unhealthy: answered GET /health")
        };
        let status = supervisor.status();
        assert!(status.workers.iter().all(ill), "{status:#?}");
        assert_eq!(status.endpoints[0].live, 2);
    });
    get_well(&supervisor, 0);
    get_well(&supervisor, 1);
    let after = wait_healthy(&supervisor, 2);
    assert_eq!(pids(&after), pids(&before));
    let said = supervisor.lines();
    let said = said[lines..]
        .iter()
        .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "));
    assert_eq!(said.count(), 0, "{:#?}", supervisor.lines());
}

#[test]
fn the_only_worker_is_not_taken_away() {
    let supervisor = sickly(&["-n", "1"]).start();
    let before = wait_healthy(&supervisor, 1);
    fall_sick(&supervisor, 0);
    supervisor.wait_line("no other worker is healthy, either");
    without_loss(light(supervisor.address()), || ());
    assert_eq!(pids(&supervisor.status()), pids(&before));
}

#[test]
fn one_that_gets_well_before_its_replacement_begins_serves_again() {
    // While a reload is tried, nobody is replaced.
    let supervisor = sickly(&["-n", "3"]).start();
    wait_healthy(&supervisor, 3);
    let reload = begin_reload_with(&supervisor, &["--canary", "10%"]);
    supervisor.wait_status(|status| status.phase == "canary");
    let before = wait_healthy(&supervisor, 4);
    fall_sick(&supervisor, 2);
    supervisor.wait_line("slot 2): it gets no new connections");
    assert_eq!(supervisor.status().endpoints[0].live, 3);
    get_well(&supervisor, 2);
    supervisor.wait_line("slot 2): healthy again");
    let after = supervisor.wait_status(|status| status.endpoints[0].live == 4);
    assert_eq!(pids(&after), pids(&before));
    supervisor.ctl_ok(["rollback"]);
    assert_eq!(reload.wait_with_output().unwrap().status.code(), Some(1));
}

#[test]
fn a_canary_that_is_not_well_is_withdrawn() {
    let sick = ["--sick", "{dir}/sick.{generation}"];
    let supervisor = scripted(&[&BAD[..], &["-n", "2"]].concat(), &sick).start();
    let before = wait_healthy(&supervisor, 2);
    touch(supervisor.directory(), "sick.2");
    let (output, _) = without_loss(light(supervisor.address()), || {
        let reload = begin_reload_with(&supervisor, &["--canary", "10%"]);
        reload.wait_with_output().unwrap()
    });
    assert_eq!(output.status.code(), Some(1));
    let why = sentence(&output);
    assert!(
        why.contains("was unhealthy: it answered GET /health")
            && why.contains("the old generation serves on"),
        "{why}"
    );
    assert_eq!(pids(&supervisor.wait_serving(2)), pids(&before));
}

#[test]
fn a_soak_ends_when_a_new_worker_is_not_well() {
    let sick = ["--sick", "{dir}/sick.{generation}"];
    let options = [&BAD[..], &["-n", "2", "--soak", "1h"]].concat();
    let supervisor = scripted(&options, &sick).start();
    let before = wait_healthy(&supervisor, 2);
    let (output, _) = without_loss(light(supervisor.address()), || {
        let reload = begin_reload(&supervisor);
        supervisor.wait_status(|status| status.phase == "soaking");
        touch(supervisor.directory(), "sick.2");
        reload.wait_with_output().unwrap()
    });
    assert_eq!(output.status.code(), Some(1));
    let why = sentence(&output);
    assert!(why.contains("was unhealthy: it answered"), "{why}");
    assert_eq!(pids(&supervisor.wait_serving(2)), pids(&before));
    assert_eq!(supervisor.status().reloads_failed, 1);
}

/// Two workers that say that they are well, until there is a file.
fn watched(options: &[&str]) -> Builder {
    let notify = ["-n", "2", "--health", "notify"];
    scripted(
        &[&notify[..], options].concat(),
        &["--watchdog", "{dir}/silent.{slot}"],
    )
}

#[test]
fn a_worker_that_says_nothing_any_more_is_replaced() {
    let options = [
        "--health-interval",
        "1s",
        "--health-timeout",
        "1s",
        "--health-failures",
        "1",
    ];
    let supervisor = watched(&options).start();
    let status = wait_healthy(&supervisor, 2);
    let pid = pid_of(in_slot(&status, 1));
    let environment = environment(pid);
    assert_eq!(value(&environment, "WATCHDOG_USEC"), Some("2000000"));
    assert_eq!(
        value(&environment, "WATCHDOG_PID"),
        Some(pid.to_string().as_str())
    );
    touch(supervisor.directory(), "silent.1");
    supervisor.wait_line("slot 1): unhealthy: did not send WATCHDOG=1 within 2s");
    fs::remove_file(supervisor.directory().join("silent.1")).unwrap();
    supervisor.wait_line(&format!("(pid {pid}, generation 1, slot 1): gone"));
}

#[test]
fn a_worker_that_says_that_it_is_not_well_is_replaced_at_once() {
    let supervisor = watched(&[]).start();
    let status = wait_healthy(&supervisor, 2);
    let pid = pid_of(in_slot(&status, 1));
    // Written elsewhere first: it is read as soon as it is there.
    supervisor.write("trigger", "WATCHDOG=trigger");
    let from = supervisor.directory().join("trigger");
    fs::rename(&from, supervisor.directory().join("silent.1")).unwrap();
    supervisor.wait_line("slot 1): unhealthy: sent WATCHDOG=trigger");
    fs::remove_file(supervisor.directory().join("silent.1")).unwrap();
    supervisor.wait_line(&format!("(pid {pid}, generation 1, slot 1): gone"));
}

#[test]
fn who_is_not_checked_has_no_health() {
    let supervisor = scripted(&["-n", "1"], &[]).start();
    let status = supervisor.wait_serving(1);
    assert_eq!(status.workers[0].health, None);
    assert!(!supervisor.ctl_ok(["status"]).contains("HEALTH"));
}

#[test]
fn what_is_asked_of_workers_is_none_of_their_connections() {
    let supervisor = sickly(&["-n", "2"]).start();
    let status = wait_healthy(&supervisor, 2);
    let shares = status.workers.iter().map(|worker| worker.share);
    assert_eq!(shares.collect::<Vec<_>>(), [None, None], "{status:#?}");
    without_loss(light(supervisor.address()), || ());
    let status = supervisor.status();
    assert!(
        status.workers.iter().all(|it| it.share.is_some()),
        "{status:#?}"
    );
    let table = supervisor.ctl_ok(["status"]);
    assert!(
        table.contains("  HEALTH\n") && table.contains("  healthy\n"),
        "{table}"
    );
}

#[test]
fn a_server_is_not_bothered_by_being_asked_for_a_connection() {
    let script = "
import http.server, sys
class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Quiet).serve_forever()
";
    let options = ["-n", "2", "--health", "tcp", "--health-interval", "50ms"];
    let Some(python) = python() else {
        return;
    };
    let supervisor = Supervisor::builder()
        .args(options)
        .file("server.py", script)
        .command([&python, "{dir}/server.py", "{port}"])
        .start();
    wait_healthy(&supervisor, 2);
    without_loss(light(supervisor.address()), || ());
    let said = supervisor.lines();
    let said: Vec<&String> = said
        .iter()
        .filter(|line| line.contains("Traceback") || line.contains(" WARN "))
        .collect();
    assert_eq!(said, Vec::<&String>::new());
}

//! Some new workers serve first, for a share of the new connections.

use nix::sys::signal::Signal;
use reuseport_run::wire::control::Status;

use crate::harness::Supervisor;
use crate::support::*;

fn is_tried(status: &Status) -> bool {
    let serving = status
        .workers
        .iter()
        .filter(|worker| worker.phase == "serving");
    status.phase == "canary" && serving.count() == 5
}

/// Four workers serve, and one of generation 2 beside them; the client of the reload.
fn on_trial(supervisor: &Supervisor) -> (std::process::Child, i32) {
    let old = pids(&supervisor.wait_serving(4));
    let reload = begin_reload_with(supervisor, &["--canary", "10%"]);
    let status = supervisor.wait_status(is_tried);
    let new = pids(&status).into_iter().find(|pid| !old.contains(pid));
    (reload, new.unwrap())
}

/// Of 100 connections so many went to the new generation.
fn share_of_the_new(supervisor: &Supervisor, connections: usize) -> f64 {
    let answered = (0..connections).map(|_| ask(supervisor.address()).unwrap());
    let new = answered.filter(|worker| worker.starts_with("2.")).count();
    new as f64 * 100.0 / connections as f64
}

#[track_caller]
fn has_its_share(steering: &str) {
    let supervisor = scripted(&["-n", "4", "--steering", steering], &[]).start();
    let (reload, _) = on_trial(&supervisor);
    let share = share_of_the_new(&supervisor, 20_000);
    assert!((8.0..12.0).contains(&share), "{share} %");
    let (said, _) = without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["promote"])
    });
    assert!(said.contains("promoted: generation 2 takes over"), "{said}");
    let output = reload.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", sentence(&output));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        told.contains("1 worker of generation 2 gets a share of the new connections"),
        "{told}"
    );
    assert!((share_of_the_new(&supervisor, 100) - 100.0).abs() < f64::EPSILON);
}

#[test]
fn a_tenth_is_a_tenth() {
    has_its_share("auto");
}

#[test]
fn a_tenth_is_a_tenth_with_classic_programs() {
    has_its_share("cbpf");
}

#[test]
fn its_end_withdraws_it_and_nobody_else_loses_anything() {
    let supervisor = scripted(&["-n", "4"], &[]).start();
    let (reload, new) = on_trial(&supervisor);
    // It answers nobody when it dies; what waits in its queue is answered by others.
    send(new, Signal::SIGSTOP);
    supervisor.wait_for("all its threads to stop", || is_stopped(new).then_some(()));
    let mut waiting = Vec::new();
    while supervisor.status().endpoints[0].queue == 0 {
        waiting.push(begin_asking(supervisor.address(), "/").unwrap());
    }
    send(new, Signal::SIGKILL);
    let output = reload.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        sentence(&output).contains("was killed by signal 9"),
        "{}",
        sentence(&output)
    );
    for request in waiting {
        finish_asking(request).unwrap();
    }
    without_loss(light(supervisor.address()), || ());
    let status = supervisor.wait_serving(4);
    assert!(
        status.workers.iter().all(|worker| worker.generation == 1),
        "{status:#?}"
    );
}

#[test]
fn a_rollback_loses_nothing() {
    let supervisor = scripted(&["-n", "4"], &[]).start();
    for plan in [
        light(supervisor.address()),
        light(supervisor.address()).keep_alive(),
    ] {
        let (reload, _) = on_trial(&supervisor);
        let (said, _) = without_loss(plan, || supervisor.ctl_ok(["rollback"]));
        assert!(
            said.contains("rollback: done, 4 workers of generation 1 serve"),
            "{said}"
        );
        let output = reload.wait_with_output().unwrap();
        assert!(
            sentence(&output).contains("it was rolled back, as asked"),
            "{}",
            sentence(&output)
        );
    }
}

#[test]
fn it_ends_by_itself_unless_it_is_paused() {
    let supervisor = scripted(&["-n", "4"], &[]).start();
    supervisor.wait_serving(4);
    let (said, _) = without_loss(light(supervisor.address()).keep_alive(), || {
        supervisor.ctl_ok([
            "reload",
            "--canary",
            "50%",
            "--canary-workers",
            "2",
            "--for",
            "300ms",
        ])
    });
    let at = |what: &str| {
        said.find(what)
            .unwrap_or_else(|| panic!("no {what}: {said}"))
    };
    assert!(
        at("canary") < at("serving") && at("serving") < at("settling"),
        "{said}"
    );
    let reload = begin_reload_with(&supervisor, &["--canary", "1%", "--for", "1h"]);
    supervisor.wait_status(is_tried);
    assert!(
        supervisor
            .ctl_ok(["pause"])
            .contains("goes on until reuseport-ctl promote")
    );
    supervisor.ctl_ok(["promote"]);
    assert!(reload.wait_with_output().unwrap().status.success());
}

#[test]
fn the_status_says_what_each_gets_and_what_is_waited_for() {
    let supervisor = scripted(&["-n", "4"], &[]).start();
    supervisor.wait_serving(4);
    let (reload, _) = on_trial(&supervisor);
    let status = supervisor.status();
    let weights: Vec<f64> = status.workers.iter().map(|it| it.weight.unwrap()).collect();
    let is_about = |weight: &f64, part: f64| (weight - part).abs() < 1e-6;
    let of_old = weights.iter().filter(|it| is_about(it, 0.225)).count();
    let of_new = weights.iter().filter(|it| is_about(it, 0.1)).count();
    assert_eq!((of_old, of_new), (4, 1), "{weights:?}");
    let change = status.change.unwrap();
    assert_eq!((change.kind.as_str(), change.generation), ("reload", 2));
    assert_eq!(change.waits_for, "promote or rollback");
    let shown = supervisor.ctl_ok(["status"]);
    assert!(shown.contains(": waits for promote or rollback"), "{shown}");
    supervisor.ctl_ok(["rollback"]);
    assert_eq!(reload.wait_with_output().unwrap().status.code(), Some(1));
    assert_eq!(supervisor.wait_serving(4).change, None);
}

/// The trial has no end of its own, and the client need not wait for one.
#[test]
fn who_does_not_wait_is_answered_when_the_new_worker_is_tried() {
    let supervisor = scripted(&["-n", "4"], &[]).start();
    supervisor.wait_serving(4);
    supervisor.ctl_ok(["reload", "--canary", "10%", "--no-wait"]);
    assert!(is_tried(&supervisor.status()));
}

//! Replaced workers stand by while the new ones prove themselves.

use std::process::Child;

use nix::sys::signal::Signal;
use reuseport_run::wire::control::Status;

use crate::harness::Supervisor;
use crate::support::*;

/// Longer than any test takes: what ends a soak here is what the test does.
const SOAK: [&str; 4] = ["-n", "2", "--soak", "1h"];

fn phases(status: &Status) -> Vec<&str> {
    let phases = status.workers.iter().map(|worker| worker.phase.as_str());
    phases.collect()
}

fn is_soaking(status: &Status) -> bool {
    let expected = ["standing-by", "serving", "standing-by", "serving"];
    status.phase == "soaking" && phases(status) == expected
}

/// A reload whose new workers serve while the old ones stand by: its client, and the pids of the old and of the new.
fn soaking(supervisor: &Supervisor) -> (Child, Vec<i32>, Vec<i32>) {
    let old = pids(&supervisor.wait_serving(2));
    let reload = begin_reload(supervisor);
    let status = supervisor.wait_status(is_soaking);
    let new = pids(&status).into_iter().filter(|pid| !old.contains(pid));
    let new = new.collect();
    (reload, old, new)
}

/// Whether none of these workers is left, as the supervisor has said.
fn are_gone(workers: &[i32]) -> bool {
    workers
        .iter()
        .all(|pid| status_field(*pid, "State").is_none())
}

#[test]
fn a_rollback_loses_nothing() {
    let supervisor = scripted(&SOAK, &[]).start();
    for plan in [
        light(supervisor.address()),
        light(supervisor.address()).keep_alive(),
    ] {
        let (reload, old, new) = soaking(&supervisor);
        let (said, outcome) = without_loss(plan, || supervisor.ctl_ok(["rollback"]));
        assert!(
            said.contains("rollback: done, 2 workers of generation 1 serve"),
            "{said}"
        );
        let output = reload.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let why = sentence(&output);
        assert!(
            why.contains("it was rolled back, as asked; the old generation serves on"),
            "{why}"
        );
        assert_eq!(pids(&supervisor.wait_serving(2)), old);
        assert!(
            outcome.workers.keys().any(|name| name.starts_with("1.")),
            "{outcome:#?}"
        );
        assert!(are_gone(&new), "{new:?}");
    }
    assert_eq!(supervisor.status().reloads_failed, 2);
}

#[test]
fn a_new_worker_that_dies_takes_the_reload_back_and_nobody_else_loses_anything() {
    let supervisor = scripted(&SOAK, &[]).start();
    let (reload, old, new) = soaking(&supervisor);
    // It answers nobody when it dies, so nobody is in its hands: what waits in its queue is answered by others.
    send(new[0], Signal::SIGSTOP);
    supervisor.wait_for("all its threads to stop", || {
        is_stopped(new[0]).then_some(())
    });
    let waiting = until_queued(&supervisor);
    send(new[0], Signal::SIGKILL);
    let output = reload.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let why = sentence(&output);
    assert!(
        why.contains("was killed by signal 9 (SIGKILL) after it was ready"),
        "{why}"
    );
    for request in waiting {
        finish_asking(request).unwrap();
    }
    without_loss(light(supervisor.address()), || ());
    let status = supervisor.wait_serving(2);
    assert_eq!(pids(&status), old);
    assert_eq!((status.reloads, status.reloads_failed), (0, 1));
    // The dead one is in no cgroup at all.
    let lines = supervisor.lines();
    let elsewhere = |line: &&String| line.contains("another cgroup");
    assert_eq!(lines.iter().find(elsewhere), None);
}

/// Requests of which one waits at least, for a worker that stands still.
fn until_queued(supervisor: &Supervisor) -> Vec<std::net::TcpStream> {
    let mut requests = Vec::new();
    while supervisor.status().endpoints[0].queue == 0 {
        requests.push(begin_asking(supervisor.address(), "/").unwrap());
    }
    requests
}

#[test]
fn a_promotion_ends_it() {
    let supervisor = scripted(&SOAK, &[]).start();
    let (reload, old, new) = soaking(&supervisor);
    let (said, _) = without_loss(light(supervisor.address()).keep_alive(), || {
        supervisor.ctl_ok(["promote"])
    });
    assert!(said.contains("promoted: generation 2 takes over"), "{said}");
    let output = reload.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", sentence(&output));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("2 old workers stand by, until"), "{told}");
    assert_eq!(pids(&supervisor.wait_serving(2)), new);
    assert!(are_gone(&old), "{old:?}");
}

#[test]
fn it_ends_by_itself() {
    let supervisor = scripted(&["-n", "2", "--soak", "300ms"], &[]).start();
    supervisor.wait_serving(2);
    let (said, _) = without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["reload"])
    });
    let at = |what: &str| {
        said.find(what)
            .unwrap_or_else(|| panic!("no {what}: {said}"))
    };
    assert!(
        at("serving") < at("soaking") && at("soaking") < at("settling"),
        "{said}"
    );
}

#[test]
fn crashes_may_be_let_pass() {
    let options = [&SOAK[..], &["--soak-restarts", "1"]].concat();
    let supervisor = scripted(&options, &[]).start();
    let (reload, old, new) = soaking(&supervisor);
    send(new[0], Signal::SIGKILL);
    let status =
        supervisor.wait_status(|status| is_soaking(status) && !pids(status).contains(&new[0]));
    let again = pids(&status)
        .into_iter()
        .find(|pid| !old.contains(pid) && !new.contains(pid));
    send(again.unwrap(), Signal::SIGKILL);
    let output = reload.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(pids(&supervisor.wait_serving(2)), old);
}

#[test]
fn a_stop_ends_everybody() {
    let mut supervisor = scripted(&SOAK, &[]).start();
    let (reload, _, _) = soaking(&supervisor);
    supervisor.signal(Signal::SIGTERM);
    assert_eq!(supervisor.wait_exit(), 0);
    supervisor.wait_nobody();
    let output = reload.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let why = sentence(&output);
    assert!(
        why.contains("reload given up: the supervisor was told to stop"),
        "{why}"
    );
}

#[test]
fn what_cannot_be_is_said() {
    let supervisor = scripted(&["-n", "1"], &[]).start();
    supervisor.wait_serving(1);
    for (verb, why) in [
        (
            "promote",
            "there is nothing to promote: no new workers are tried (reload --canary), and no old ones stand by (--soak)",
        ),
        (
            "pause",
            "there is nothing to pause: no new workers are tried (reload --canary)",
        ),
        (
            "rollback",
            "there is nothing to go back to: no reload has succeeded since the start",
        ),
    ] {
        let output = supervisor.ctl([verb]);
        assert_eq!(output.status.code(), Some(1));
        assert!(sentence(&output).contains(why), "{}", sentence(&output));
    }
}

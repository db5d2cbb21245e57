//! Ready is a state: what listened once and does not serve takes nothing over.

use nix::sys::signal::Signal;

use crate::harness::Supervisor;
use crate::support::*;

/// Reloads to something that fails; the sentence that `reuseport-ctl` says.
#[track_caller]
fn fails(supervisor: &Supervisor) -> String {
    let before = pids(&supervisor.wait_serving(2));
    let (output, outcome) =
        without_loss(light(supervisor.address()), || supervisor.ctl(["reload"]));
    let sentence = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{sentence}");
    assert!(
        outcome.workers.keys().all(|name| name.starts_with("1.")),
        "{outcome:#?}"
    );
    assert_eq!(pids(&supervisor.wait_serving(2)), before);
    sentence
}

#[test]
fn a_version_that_listens_and_closes_again_takes_nothing_over() {
    let supervisor =
        changeable(&["-n", "2", "--start-timeout", "1s", "--min-uptime", "50ms"]).start();
    supervisor.wait_serving(2);
    supervisor.write("behaviour", "--close-again");
    let sentence = fails(&supervisor);
    let why = format!(
        "it listened on 0.0.0.0:{} and has closed that again",
        supervisor.port()
    );
    assert!(sentence.contains(&why), "{sentence}");
    supervisor.wait_line("waiting for it to listen");
}

#[test]
fn a_version_that_dies_within_its_minimal_uptime_takes_nothing_over() {
    let supervisor = changeable(&["-n", "2", "--min-uptime", "1s"]).start();
    // The first generation, too, has to stay for as long.
    supervisor.wait_status(|status| status.phase == "serving");
    supervisor.write("behaviour", "--exit-after-ms 300");
    let sentence = fails(&supervisor);
    assert!(sentence.contains("exited with code 1"), "{sentence}");
    supervisor.write("behaviour", "");
    supervisor.ctl_ok(["reload"]);
}

#[test]
fn the_death_of_a_new_worker_takes_the_flip_back_while_the_old_one_is_there() {
    let supervisor = scripted(&["-n", "1"], &[]).start();
    let old = pids(&supervisor.wait_serving(1))[0];
    // Its queue does not empty, so that it is not told to stop.
    send(old, Signal::SIGSTOP);
    supervisor.wait_for("all its threads to stop", || is_stopped(old).then_some(()));
    let waiting = begin_asking(supervisor.address(), "/").unwrap();
    supervisor.wait_status(|status| status.endpoints[0].queue == 1);
    let reload = begin_reload(&supervisor);
    let status = supervisor.wait_status(|status| {
        let phases = status.workers.iter().map(|worker| worker.phase.as_str());
        phases.collect::<Vec<_>>() == ["settling", "serving"]
    });
    let new = *pids(&status).iter().find(|pid| **pid != old).unwrap();
    send(new, Signal::SIGKILL);
    let output = reload.wait_with_output().unwrap();
    let sentence = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{sentence}");
    assert!(sentence.contains("was killed by signal 9"), "{sentence}");
    assert!(
        sentence.contains("the old generation serves on"),
        "{sentence}"
    );
    send(old, Signal::SIGCONT);
    assert_eq!(finish_asking(waiting).unwrap(), "1.0");
    assert_eq!(ask(supervisor.address()).unwrap(), "1.0");
    let status = supervisor.wait_serving(1);
    assert_eq!(pids(&status), [old]);
    assert_eq!((status.reloads, status.reloads_failed), (0, 1));
    // And the way to the next version is open.
    supervisor.ctl_ok(["reload"]);
    assert_eq!(ask(supervisor.address()).unwrap(), "3.0");
}

#[test]
fn a_reload_says_how_many_of_the_workers_serve() {
    let options = ["-n", "2", "--quiet-timeout", "0s", "--max-restarts", "0"];
    let supervisor = scripted(&options, &["--drain-on-term", "--hold", "{dir}/go"]).start();
    supervisor.wait_serving(2);
    let held = begin_asking(supervisor.address(), "/hold").unwrap();
    supervisor.wait_line("holds a request");
    let reload = begin_reload(&supervisor);
    // By then the old generation is not there to come back.
    let status = supervisor.wait_status(|status| {
        let mut workers = status.workers.iter();
        workers.any(|worker| worker.phase == "draining")
    });
    let mut workers = status.workers.iter();
    let new = workers.find(|worker| worker.phase == "serving").unwrap();
    send(i32::try_from(new.pid.unwrap()).unwrap(), Signal::SIGKILL);
    supervisor.wait_line("is given up");
    touch(supervisor.directory(), "go");
    finish_asking(held).unwrap();
    let output = reload.wait_with_output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(
        answer
            .contains("reload: done, but only 1 of 2 workers of generation 2 serve; the log says"),
        "{answer}"
    );
}

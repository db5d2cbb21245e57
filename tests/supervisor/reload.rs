//! Reloads that succeed say how far they are; those that fail leave everything as it was.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::Signal;

use crate::harness::{Supervisor, ctl_program, fixture};
use crate::support::*;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_phases_are_told_in_their_order() {
    let supervisor = scripted(&["-n", "2"], &[]).start();
    supervisor.wait_serving(2);
    let output = supervisor.ctl(["reload"]);
    assert_eq!(output.status.code(), Some(0));
    let told = text(&output.stdout) + &text(&output.stderr);
    let phases = [
        "starting",
        "serving",
        "settling",
        "quiescing",
        "draining",
        "gone",
    ];
    let places: Vec<Option<usize>> = phases.iter().map(|phase| told.find(phase)).collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{told}"
    );
    assert!(
        told.contains("done, 2 workers of generation 2 serve"),
        "{told}"
    );
    let status = supervisor.wait_serving(2);
    assert_eq!((status.reloads, status.reloads_failed), (1, 0));
}

#[test]
fn signals_reload() {
    let supervisor = scripted(&["-n", "2"], &[]).start();
    supervisor.wait_serving(2);
    for (count, signal) in [(1, Signal::SIGHUP), (2, Signal::SIGUSR2)] {
        supervisor.signal(signal);
        supervisor.wait_status(|status| status.reloads == count && status.phase == "serving");
        let name = ask(supervisor.address()).unwrap();
        assert!(name.starts_with(&format!("{}.", count + 1)), "{name}");
    }
}

/// Reloads to something that fails, under load; returns the sentence that `reuseport-ctl` says.
#[track_caller]
fn fails(supervisor: &Supervisor) -> String {
    let before = supervisor.wait_serving(2);
    let (output, outcome) =
        without_loss(light(supervisor.address()), || supervisor.ctl(["reload"]));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(
        outcome.workers.keys().all(|name| name.starts_with("1.")),
        "{outcome:#?}"
    );
    let after = supervisor.wait_serving(2);
    assert_eq!(pids(&after), pids(&before));
    assert_eq!(after.reloads_failed, before.reloads_failed + 1);
    assert_eq!(listeners(supervisor.port()).len(), 2);
    let sentence = text(&output.stderr);
    assert_eq!(sentence.trim_end().lines().count(), 1, "{sentence}");
    assert!(
        sentence.contains("the old generation serves on"),
        "{sentence}"
    );
    sentence
}

#[test]
fn a_new_generation_that_does_not_work_leaves_the_old_one_serving() {
    let wrong = crate::rig::port::Reservation::new().unwrap();
    let elsewhere = format!("--wrong-port {}", wrong.port());
    let cases = [
        ("--exit 7", "exited with code 7 before it was ready"),
        ("--hang", "was not ready after 5"),
        (&elsewhere, "but not on 0.0.0.0:"),
    ];
    let options = ["-n", "2", "--start-timeout", "500ms"];
    let supervisor = changeable(&options).start();
    for (behaviour, cause) in cases {
        supervisor.wait_serving(2);
        supervisor.write("behaviour", behaviour);
        let sentence = fails(&supervisor);
        assert!(sentence.contains(cause), "{behaviour}: {sentence}");
        if behaviour.starts_with("--exit") {
            assert!(
                sentence.contains("it wrote: misbehave: I will not work today"),
                "{sentence}"
            );
        }
    }
    supervisor.write("behaviour", "");
    without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["reload"])
    });
    assert!(ask(supervisor.address()).unwrap().starts_with("5."));
}

/// The sentence of a reload that fails, and whether it says that the port answered.
fn port_answer(supervisor: &Supervisor) -> (String, bool) {
    let output = supervisor.ctl(["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let sentence = text(&output.stderr);
    let answer = format!(
        "connected to 127.0.0.1:{} and was answered",
        supervisor.port()
    );
    let is_told = sentence.contains(&answer) && sentence.contains("Limits in the README");
    assert_eq!(
        sentence.contains("while it was starting"),
        is_told,
        "{sentence}"
    );
    (sentence, is_told)
}

#[test]
fn a_server_that_finds_its_port_taken_fails_by_that() {
    let supervisor = changeable(&["-n", "2", "--start-timeout", "1s"]).start();
    supervisor.wait_serving(2);
    // It gives up, or is late.
    for (behaviour, cause, tries) in [
        ("--exit 7", "exited with code 7", false),
        ("--hang", "was not ready after 1s", false),
        ("--try-port", "exited with code 1", true),
        ("--await-port", "was not ready after 1s", true),
    ] {
        supervisor.write("behaviour", behaviour);
        let (sentence, is_told) = port_answer(&supervisor);
        assert!(sentence.contains(cause), "{sentence}");
        assert_eq!(is_told, tries, "{behaviour}: {sentence}");
        supervisor.wait_serving(2);
    }
}

/// The supervisor connects to it, to see whether it accepts, and hangs up when it has gone.
#[test]
fn a_probe_is_not_taken_for_a_server_that_tries_its_port() {
    let builder = changeable(&["-n", "2"]);
    let listen = format!("127.0.0.1:{}", builder.port());
    let supervisor = builder
        .args(["--listen", &listen])
        .file("behaviour", "--take")
        .start();
    supervisor.wait_serving(2);
    supervisor.write("behaviour", "--exit-after-ms 300 --hang");
    let (sentence, is_told) = port_answer(&supervisor);
    assert!(sentence.contains("exited with code 1"), "{sentence}");
    assert!(!is_told, "{sentence}");
}

#[test]
fn a_command_that_cannot_be_executed_any_more_leaves_the_old_generation_serving() {
    let builder = Supervisor::builder().args(["-n", "2"]);
    let link = builder.directory().join("server");
    symlink(fixture("misbehave"), &link).unwrap();
    let supervisor = builder
        .command(["{dir}/server", "--port", "{port}"])
        .start();
    supervisor.wait_serving(2);
    fs::remove_file(&link).unwrap();
    let sentence = fails(&supervisor);
    assert!(sentence.contains("server: no such file"), "{sentence}");
    symlink(supervisor.directory(), &link).unwrap();
    let sentence = fails(&supervisor);
    assert!(sentence.contains("permission denied"), "{sentence}");
}

#[test]
fn a_link_to_the_command_is_followed_anew() {
    let builder = Supervisor::builder().args(["-n", "1"]);
    let directory = builder.directory().to_owned();
    let (one, two) = (directory.join("one"), directory.join("two"));
    copy(&fixture("misbehave"), &one);
    copy(&fixture("misbehave"), &two);
    symlink(&one, directory.join("server")).unwrap();
    let supervisor = builder
        .command(["{dir}/server", "--port", "{port}"])
        .start();
    let runs = || {
        let pid = pids(&supervisor.wait_serving(1))[0];
        fs::read_link(format!("/proc/{pid}/exe")).unwrap()
    };
    assert_eq!(runs(), one);
    symlink(&two, directory.join("new")).unwrap();
    fs::rename(directory.join("new"), directory.join("server")).unwrap();
    supervisor.ctl_ok(["reload"]);
    assert_eq!(runs(), two);
}

#[test]
fn a_link_to_the_directory_is_followed_anew() {
    let builder = scripted(&["-n", "1", "--chdir", "{dir}/current"], &[]);
    let directory = builder.directory().to_owned();
    let (one, two) = (directory.join("one"), directory.join("two"));
    fs::create_dir(&one).unwrap();
    fs::create_dir(&two).unwrap();
    symlink(&one, directory.join("current")).unwrap();
    let supervisor = builder.start();
    let is_in = || {
        let pid = pids(&supervisor.wait_serving(1))[0];
        fs::read_link(format!("/proc/{pid}/cwd")).unwrap()
    };
    assert_eq!(is_in(), one);
    symlink(&two, directory.join("new")).unwrap();
    fs::rename(directory.join("new"), directory.join("current")).unwrap();
    supervisor.ctl_ok(["reload"]);
    assert_eq!(is_in(), two);
}

/// A reload that has begun and cannot end before the file `ready` is there.
fn begin_gated_reload(supervisor: &Supervisor) -> Child {
    fs::remove_file(supervisor.directory().join("ready")).unwrap();
    let reload = begin_reload(supervisor);
    supervisor.wait_status(|status| status.phase == "reloading");
    reload
}

fn gated() -> Supervisor {
    let options = ["-n", "2", "--ready", "notify"];
    let supervisor = scripted(&options, &["--notify", "{dir}/ready"])
        .file("ready", "")
        .start();
    supervisor.wait_serving(2);
    supervisor
}

#[test]
fn a_second_reload_is_denied_while_one_is_under_way() {
    let supervisor = gated();
    let first = begin_gated_reload(&supervisor);
    let second: Output = supervisor.ctl(["reload"]);
    assert_eq!(second.status.code(), Some(1));
    let sentence = text(&second.stderr);
    assert!(
        sentence.contains("a reload is in progress (starting)"),
        "{sentence}"
    );
    touch(supervisor.directory(), "ready");
    assert!(first.wait_with_output().unwrap().status.success());
    assert_eq!(supervisor.wait_serving(2).reloads, 1);
}

#[test]
fn signals_during_a_reload_are_obeyed_once_after_it() {
    let supervisor = gated();
    let first = begin_gated_reload(&supervisor);
    for _ in 0..3 {
        let seen = supervisor.lines().len();
        supervisor.signal(Signal::SIGHUP);
        supervisor.wait_line_after(seen, "a reload is in progress");
    }
    touch(supervisor.directory(), "ready");
    assert!(first.wait_with_output().unwrap().status.success());
    supervisor.wait_status(|status| status.reloads == 2 && status.phase == "serving");
    let status = supervisor.wait_serving(2);
    assert_eq!(status.reloads, 2);
    assert!(ask(supervisor.address()).unwrap().starts_with("3."));
}

#[test]
fn one_worker_can_be_restarted() {
    let supervisor = scripted(&["-n", "2"], &[]).start();
    let before = supervisor.wait_serving(2);
    let victim = before.workers[1].id.to_string();
    without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["restart", &victim])
    });
    let after = supervisor.wait_serving(2);
    assert_eq!(after.workers[0].pid, before.workers[0].pid);
    assert_ne!(after.workers[1].pid, before.workers[1].pid);
    let output = supervisor.ctl(["restart", &victim]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("there is no worker"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_reload_whose_client_has_gone_goes_on() {
    let supervisor = gated();
    let mut first = begin_gated_reload(&supervisor);
    first.kill().unwrap();
    first.wait().unwrap();
    touch(supervisor.directory(), "ready");
    supervisor.wait_status(|status| status.reloads == 1 && status.phase == "serving");
}

#[test]
fn all_generations_may_share_the_sockets() {
    let supervisor = scripted(&["-n", "2", "--steering", "none"], &[]).start();
    supervisor.wait_serving(2);
    let inodes = listeners(supervisor.port());
    supervisor.ctl_ok(["reload"]);
    supervisor.wait_serving(2);
    assert_eq!(listeners(supervisor.port()), inodes);
    assert!(ask(supervisor.address()).unwrap().starts_with("2."));
}

#[test]
fn a_client_may_wait_for_the_change_that_is_under_way() {
    let options = ["-n", "2", "--ready", "notify"];
    let supervisor = scripted(&options, &["--notify", "{dir}/ready"]).start();
    supervisor.wait_status(|status| pids(status).len() == 2);
    let denied = supervisor.ctl(["reload"]);
    assert_eq!(denied.status.code(), Some(1));
    let why = String::from_utf8_lossy(&denied.stderr).into_owned();
    assert!(why.contains("a start is in progress (starting)"), "{why}");

    let mut patient = Command::new(ctl_program());
    patient.env("REUSEPORT_CONTROL", supervisor.control());
    let patient = patient.args(["reload", "--wait"]);
    let patient = patient.stdout(Stdio::piped()).spawn().unwrap();
    supervisor.wait_line("reload: a start is in progress (starting); this reload begins when");
    touch(supervisor.directory(), "ready");
    let output = patient.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains("waiting") && told.contains("reload: done"),
        "{told}"
    );
    assert_eq!(supervisor.status().reloads, 1);
}

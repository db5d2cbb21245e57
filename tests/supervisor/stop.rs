//! The end: what is finished, what is killed, and that nothing is left.

use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::harness::{Supervisor, ctl_program};
use crate::support::*;

/// A server that finishes its requests at the stop signal, and one request that takes its time.
fn with_a_request_under_way(options: &[&str]) -> (Supervisor, std::net::TcpStream) {
    let options = [&["-n", "2"], options].concat();
    let behaviour = ["--drain-on-term", "--hold", "{dir}/go"];
    let supervisor = scripted(&options, &behaviour).start();
    supervisor.wait_serving(2);
    let request = begin_asking(supervisor.address(), "/hold").unwrap();
    supervisor.wait_line("holds a request");
    (supervisor, request)
}

#[test]
fn a_request_under_way_is_finished() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut supervisor, request) = with_a_request_under_way(&[]);
        supervisor.signal(signal);
        // The other worker has nothing to finish and is gone first.
        supervisor.wait_line("gone, exited with code 0");
        touch(supervisor.directory(), "go");
        assert!(finish_asking(request).unwrap().starts_with("1."));
        assert_ends(&mut supervisor, 0);
    }
}

#[test]
fn a_client_may_ask_for_it() {
    let (mut supervisor, request) = with_a_request_under_way(&[]);
    touch(supervisor.directory(), "go");
    assert!(finish_asking(request).is_ok());
    let told = supervisor.ctl_ok(["stop"]);
    assert!(told.contains("stopped"), "{told}");
    assert_ends(&mut supervisor, 0);
}

#[test]
fn at_once_is_at_once() {
    for asked in ["signal", "client"] {
        let (mut supervisor, request) = with_a_request_under_way(&["--pre-stop", "1h"]);
        if asked == "signal" {
            supervisor.signal(Signal::SIGQUIT);
        } else {
            supervisor.ctl_ok(["stop", "--now"]);
        }
        assert!(finish_asking(request).is_err());
        assert_ends(&mut supervisor, 0);
    }
}

#[test]
fn who_does_not_stop_is_killed_with_all_its_processes() {
    let options = ["-n", "2", "--drain-timeout", "200ms"];
    let mut supervisor = scripted(&options, &["--ignore-term", "--fork"]).start();
    supervisor.wait_serving(2);
    supervisor.signal(Signal::SIGTERM);
    supervisor.wait_line("has not exited after 200ms; killing it");
    assert_ends(&mut supervisor, 0);
}

#[test]
fn it_serves_on_before_it_stops_however_often_it_is_told() {
    let options = ["-n", "2", "--pre-stop", "1h"];
    let mut supervisor = scripted(&options, &[]).start();
    supervisor.wait_serving(2);
    supervisor.signal(Signal::SIGTERM);
    let told = supervisor.wait_line("stop: 2 workers serve on for 1h (--pre-stop)");
    assert!(told.contains("QUIT or reuseport-ctl stop --now kills them"));
    let seen = supervisor.lines().len();
    supervisor.signal(Signal::SIGTERM);
    supervisor.wait_line_after(seen, "stop: 2 workers serve on for 59m ");
    without_loss(light(supervisor.address()), || ());
    assert_eq!(supervisor.status().phase, "stopping");
    supervisor.signal(Signal::SIGQUIT);
    assert_ends(&mut supervisor, 0);
}

#[test]
fn a_client_is_told_what_a_stop_waits_for() {
    let (mut supervisor, request) = with_a_request_under_way(&[]);
    let mut stop = Command::new(ctl_program());
    stop.arg("--socket").arg(supervisor.control()).arg("stop");
    let stop = stop.stdout(Stdio::piped()).spawn().unwrap();
    supervisor.wait_line("gone, exited with code 0");
    touch(supervisor.directory(), "go");
    let told = stop.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout);
    assert!(
        told.contains("2 workers finish what is under way, each for at most 30s"),
        "{told}"
    );
    assert!(finish_asking(request).is_ok());
    assert_ends(&mut supervisor, 0);
}

#[test]
fn a_second_term_lets_workers_drain_on() {
    let (mut supervisor, request) = with_a_request_under_way(&[]);
    supervisor.signal(Signal::SIGTERM);
    supervisor.wait_line("gone, exited with code 0");
    let seen = supervisor.lines().len();
    supervisor.signal(Signal::SIGTERM);
    supervisor.wait_line_after(seen, "stop: 1 worker finishes what is under way");
    touch(supervisor.directory(), "go");
    assert!(finish_asking(request).is_ok());
    assert_ends(&mut supervisor, 0);
}

#[test]
fn a_second_interrupt_ends_at_once() {
    for options in [&[][..], &["--pre-stop", "1h"]] {
        let (mut supervisor, request) = with_a_request_under_way(options);
        supervisor.signal(Signal::SIGINT);
        supervisor.wait_line("INT (Ctrl-C), QUIT");
        supervisor.signal(Signal::SIGINT);
        supervisor.wait_line("killed");
        assert!(finish_asking(request).is_err());
        assert_ends(&mut supervisor, 0);
    }
}

#[test]
fn it_serves_on_for_so_long() {
    let mut supervisor = scripted(&["-n", "1", "--pre-stop", "300ms"], &[]).start();
    supervisor.wait_serving(1);
    let began = std::time::Instant::now();
    supervisor.signal(Signal::SIGTERM);
    supervisor.wait_status(|status| status.phase == "stopping");
    assert_ends(&mut supervisor, 0);
    assert!(began.elapsed().as_millis() >= 300);
}

#[test]
fn a_stop_during_the_start_or_a_reload_ends_all_of_it() {
    let hanging = scripted(&["-n", "2"], &["--hang"]).start();
    hanging.wait_status(|status| pids(status).len() == 2);
    stopped(hanging);
    let supervisor = changeable(&["-n", "2"]).start();
    supervisor.wait_serving(2);
    supervisor.write("behaviour", "--hang");
    supervisor.signal(Signal::SIGHUP);
    supervisor.wait_status(|status| pids(status).len() == 4);
    stopped(supervisor);
}

fn stopped(mut supervisor: Supervisor) {
    supervisor.signal(Signal::SIGTERM);
    assert_ends(&mut supervisor, 0);
}

#[test]
fn the_stop_signal_can_be_chosen() {
    let mut supervisor = scripted(&["-n", "1", "--stop-signal", "USR1"], &[]).start();
    supervisor.wait_serving(1);
    supervisor.signal(Signal::SIGTERM);
    assert_ends(&mut supervisor, 0);
    supervisor.wait_line("was killed by signal 10 (SIGUSR1)");
}

#[test]
fn workers_do_not_survive_a_supervisor_that_is_killed() {
    let mut supervisor = scripted(&["-n", "2"], &["--drain-on-term"]).start();
    supervisor.wait_serving(2);
    supervisor.signal(Signal::SIGKILL);
    assert_eq!(supervisor.wait_exit(), 128 + 9);
    supervisor.wait_nobody();
    assert_eq!(listeners(supervisor.port()), Vec::<u64>::new());
    // It could not remove its socket, and that must not be in the way of the next.
    let socket = supervisor.control().to_owned();
    assert!(socket.exists() && UnixStream::connect(&socket).is_err());
    let text = socket.display().to_string();
    let next = Supervisor::builder()
        .through_shell(r#"program=$1; shift 3; exec "$program" "$@""#)
        .args(["-n", "1", "--control", &text])
        .fixture("misbehave", ["--port", "{port}"])
        .start();
    next.wait_line("done, 1 worker of generation 1 serves");
    assert!(UnixStream::connect(&socket).is_ok());
}

/// A stop while one request is held: its worker dies at the stop signal.
fn stopping_with_a_request() -> (Supervisor, std::net::TcpStream) {
    let options = ["-n", "2", "--quiet-timeout", "1h"];
    let supervisor = scripted(&options, &["--hold", "{dir}/go"]).start();
    supervisor.wait_serving(2);
    let request = begin_asking(supervisor.address(), "/hold").unwrap();
    supervisor.wait_line("holds a request");
    supervisor.signal(Signal::SIGTERM);
    supervisor.wait_line("gone, was killed by signal 15 (SIGTERM)");
    (supervisor, request)
}

#[test]
fn a_request_is_finished_by_a_worker_that_dies_of_the_stop_signal() {
    let (mut supervisor, request) = stopping_with_a_request();
    touch(supervisor.directory(), "go");
    assert!(finish_asking(request).unwrap().starts_with("1."));
    assert_ends(&mut supervisor, 0);
}

#[test]
fn who_comes_while_a_request_is_finished_is_refused() {
    for steering in ["ebpf", "cbpf", "none"] {
        if steering == "ebpf" && !is_root() {
            skipped("CAP_BPF");
            continue;
        }
        let options = ["-n", "1", "--steering", steering, "--quiet-timeout", "1h"];
        let mut supervisor = scripted(&options, &["--hold", "{dir}/go"]).start();
        supervisor.wait_serving(1);
        let request = begin_asking(supervisor.address(), "/hold").unwrap();
        supervisor.wait_line("holds a request");
        supervisor.signal(Signal::SIGTERM);
        let refused = |error: std::io::Error| {
            (error.kind() == std::io::ErrorKind::ConnectionRefused).then_some(())
        };
        supervisor.wait_for("a refusal", || refused(ask(supervisor.address()).err()?));
        touch(supervisor.directory(), "go");
        assert!(
            finish_asking(request).unwrap().starts_with("1."),
            "{steering}"
        );
        assert_ends(&mut supervisor, 0);
    }
}

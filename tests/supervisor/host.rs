//! What a host may not let us do, refused by a filter around the supervisor.

use std::process::{Command, Output};

use crate::harness::{Builder, Supervisor, fixture, supervisor_program};
use crate::support::*;

/// A supervisor to which this is refused.
fn without(refused: &str, options: &[&str]) -> Builder {
    let rig = fixture("rig").display().to_string();
    let builder = scripted(options, &[]);
    builder.through([&rig, "--same-network", "--refuse", refused, "--"])
}

fn reload_is_done(supervisor: &Supervisor) {
    supervisor.wait_serving(2);
    let answer = supervisor.ctl_ok(["reload"]);
    assert!(answer.contains("generation 2"), "{answer}");
    supervisor.wait_serving(2);
}

#[test]
fn a_kernel_that_is_too_old_is_named_in_one_sentence() {
    let (code, line) = complaint(without("addfd", &["-n", "2"]));
    assert_eq!(code, 3, "{line}");
    assert!(
        line.contains("Linux 5.9 or later is needed; this is "),
        "{line}"
    );
}

#[test]
fn a_host_without_notifications_is_refused_before_any_worker_is_started() {
    let (code, line) = complaint(without("notifications", &["-n", "2"]));
    assert_eq!(code, 3, "{line}");
    assert!(line.contains("allow seccomp(2), or use --listen"), "{line}");
}

#[test]
fn connections_are_listed_where_sock_diag_is_missing() {
    let supervisor = without("sock-diag", &["-n", "2"]).start();
    let line = supervisor.wait_line("sock_diag");
    assert!(line.contains("modprobe tcp_diag"), "{line}");
    reload_is_done(&supervisor);
}

#[test]
fn a_fence_that_is_refused_is_said_at_the_start() {
    let supervisor = without("membarrier", &["-n", "2"]).start();
    let line = supervisor.wait_line("membarrier");
    assert!(line.contains("100 ms are waited instead"), "{line}");
    reload_is_done(&supervisor);
}

#[test]
fn sockets_that_cannot_be_taken_over_are_said_at_the_start() {
    let supervisor = without("getfd", &["-n", "2"]).start();
    let line = supervisor.wait_line("pidfd_getfd");
    assert!(line.contains("keep-alive"), "{line}");
    reload_is_done(&supervisor);
    let supervisor = without("getfd", &["-n", "2", "--no-rescue"]).start();
    reload_is_done(&supervisor);
    let lines = supervisor.lines();
    assert!(
        !lines.iter().any(|line| line.contains("pidfd_getfd")),
        "{lines:#?}"
    );
}

fn probe(refused: Option<&str>) -> Output {
    let mut command = Command::new(fixture("rig"));
    command.arg("--same-network");
    command.args(refused.into_iter().flat_map(|what| ["--refuse", what]));
    command.arg("--").arg(supervisor_program()).arg("--probe");
    command.output().unwrap()
}

#[test]
fn a_probe_says_what_is_missing_and_what_follows() {
    let output = probe(None);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("Linux "), "{text}");
    assert!(text.contains("yes  intercept bind and listen"), "{text}");
    assert!(text.contains("--steering auto is "), "{text}");
    let output = probe(Some("getfd"));
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("no   take over workers' sockets"), "{text}");
    assert!(text.contains("--cap-add SYS_PTRACE"), "{text}");
    let output = probe(Some("addfd"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("Linux 5.9 or later is needed"), "{text}");
}

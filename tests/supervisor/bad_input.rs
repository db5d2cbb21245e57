//! What cannot work is said in one sentence, with a code that scripts can rely on.

use std::fs;

use crate::harness::Supervisor;
use crate::support::*;

#[test]
fn options_that_make_no_sense() {
    for (option, words) in [
        (
            vec!["--no-such-option"],
            "--no-such-option is not an option",
        ),
        (vec!["-n", "0"], "give a whole number from 1 to 4096"),
        (vec!["-n", "100000"], "give a whole number from 1 to 4096"),
        (vec!["--start-timeout", "soon"], "give a time"),
    ] {
        let (code, line) = complaint(scripted(&option, &[]));
        assert_eq!(code, 2, "{line}");
        assert!(
            line.starts_with("reuseport-run: ") && line.contains(words),
            "{line}"
        );
    }
}

#[test]
fn a_control_socket_that_cannot_be_had() {
    let long = format!("{{dir}}/{}", "x".repeat(108));
    let cases = [
        (long.as_str(), 2, "a socket's path may have 107 bytes"),
        ("{dir}/missing/control.sock", 3, "missing"),
        ("/proc/control.sock", 3, "/proc/control.sock"),
        ("{dir}/file", 3, "is not a socket"),
    ];
    for (path, expected, words) in cases {
        let builder = scripted(&["-n", "1", "--control", path], &[])
            .file("file", "")
            .through_shell(r#"program=$1; shift 3; exec "$program" "$@""#);
        let (code, line) = complaint(builder);
        assert_eq!(code, expected, "{line}");
        assert!(line.contains(words) && line.contains("--control"), "{line}");
    }
}

#[test]
fn a_directory_that_may_not_be_written() {
    if !is_root() {
        return;
    }
    let (code, line) = complaint(as_nobody(scripted(&["-n", "1"], &[]), 0o755, &[]));
    assert_eq!(code, 3, "{line}");
    assert!(
        line.contains("ermission denied") && line.contains("give a --control PATH"),
        "{line}"
    );
}

#[test]
fn too_few_descriptors() {
    let limited = |limit: u32, workers: &str| {
        let wrapper = format!(r#"ulimit -n {limit}; exec "$@""#);
        scripted(&["-n", workers], &[])
            .through_shell(&wrapper)
            .start()
    };
    let sentence = refusal(limited(24, "16"));
    assert!(
        sentence.contains("raise the limit on open files"),
        "{sentence}"
    );
    // With any other number too it ends, with 3 and a sentence.
    for limit in [4, 6, 8, 10, 12, 14, 16, 20] {
        let mut supervisor = limited(limit, "8");
        assert_eq!(supervisor.wait_exit(), 3, "{:#?}", supervisor.lines());
        supervisor.wait_nobody();
        supervisor.wait_line("Too many open files");
        assert!(!supervisor.control().exists());
    }
}

#[test]
fn too_few_processes() {
    if !is_root() {
        return;
    }
    let builder = as_nobody(
        scripted(&["-n", "2"], &[]),
        0o777,
        &["prlimit", "--nproc=1"],
    );
    let sentence = refusal(builder.start());
    assert!(
        sentence.contains("raise the limit on processes"),
        "{sentence}"
    );
}

#[test]
fn a_privileged_port() {
    if !is_root() {
        return;
    }
    let limit = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if limit.trim().parse::<u16>().unwrap() < 2 {
        return skipped("privileged ports");
    }
    let builder = Supervisor::builder()
        .args(["-n", "1"])
        .fixture("misbehave", ["--port", "1"]);
    let mut supervisor = as_nobody(builder, 0o777, &[]).start();
    assert_ends(&mut supervisor, 3);
    let line = supervisor.wait_line("cannot bind 0.0.0.0:1: ");
    assert!(line.contains("CAP_NET_BIND_SERVICE"), "{line}");
}

#[test]
fn an_address_that_is_not_here() {
    let sentence = refusal(scripted(&["-n", "1", "--listen", "192.0.2.1:{port}"], &[]).start());
    assert!(
        sentence.contains("this machine has no such address"),
        "{sentence}"
    );
}

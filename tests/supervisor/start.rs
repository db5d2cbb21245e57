//! The first generation: who is ready when, and what is said when it cannot be started.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::harness::{Supervisor, fixture};
use crate::support::*;

#[test]
fn each_worker_has_a_listener_of_its_own_in_the_kernels_group() {
    let supervisor = scripted(&["-n", "3"], &[]).start();
    let status = supervisor.wait_serving(3);
    let group: BTreeSet<u64> = listeners(supervisor.port()).into_iter().collect();
    assert_eq!(group.len(), 3);
    let mut owned = BTreeSet::new();
    for pid in pids(&status) {
        let sockets = sockets(pid).into_iter().collect();
        let own: Vec<&u64> = group.intersection(&sockets).collect();
        assert_eq!(own.len(), 1, "worker {pid}");
        owned.insert(*own[0]);
    }
    assert_eq!(owned, group);
    let answered = RefCell::new(BTreeSet::new());
    supervisor.wait_for("an answer of every worker", || {
        answered
            .borrow_mut()
            .insert(ask(supervisor.address()).unwrap());
        (answered.borrow().len() == 3).then_some(())
    });
}

#[test]
fn a_worker_that_serves_can_be_reached_at_once() {
    let supervisor = scripted(&["-n", "2"], &["--late", "100"]).start();
    supervisor.wait_line("serving 0.0.0.0:");
    assert!(ask(supervisor.address()).unwrap().starts_with("1."));
}

#[test]
fn a_worker_is_ready_when_it_says_so() {
    let behaviour = ["--notify", "{dir}/ready"];
    let supervisor = scripted(&["-n", "2", "--ready", "notify"], &behaviour).start();
    let listening = supervisor.wait_status(|status| {
        status
            .workers
            .iter()
            .all(|worker| !worker.listeners.is_empty())
    });
    assert_eq!(listening.phase, "starting");
    touch(supervisor.directory(), "ready");
    supervisor.wait_serving(2);
}

#[test]
fn a_child_of_the_worker_may_say_that_it_is_ready() {
    let program = fixture("misbehave").display().to_string();
    // The semicolon keeps the shell from becoming the server.
    let script = r#""$0" --port {port} --notify {dir}/ready; exit"#;
    let supervisor = Supervisor::builder()
        .args(["-n", "1", "--ready", "notify"])
        .command(["sh", "-c", script, &program])
        .start();
    supervisor.wait_status(|status| {
        status
            .workers
            .iter()
            .all(|worker| !worker.listeners.is_empty())
    });
    touch(supervisor.directory(), "ready");
    let status = supervisor.wait_serving(1);
    assert_eq!(ask(supervisor.address()).unwrap(), "1.0");
    let worker = pids(&status)[0];
    assert!(
        fs::read_to_string(format!("/proc/{worker}/comm"))
            .unwrap()
            .starts_with("sh")
    );
}

#[test]
fn a_probe_reaches_the_worker_that_is_asked_and_no_other() {
    let behaviour = ["--health", "{dir}/healthy"];
    let supervisor = scripted(&["-n", "2", "--ready", "http:/health"], &behaviour).start();
    for slot in ["1.0", "1.1"] {
        supervisor.wait_line(&format!("{slot} was asked, healthy: false"));
    }
    assert_eq!(supervisor.status().phase, "starting");
    touch(supervisor.directory(), "healthy");
    supervisor.wait_serving(2);
    let seen = supervisor.lines().len();
    fs::remove_file(supervisor.directory().join("healthy")).unwrap();
    without_loss(light(supervisor.address()), || {
        supervisor.signal(nix::sys::signal::Signal::SIGHUP);
        for slot in ["2.0", "2.1"] {
            supervisor.wait_line_after(seen, &format!("{slot} was asked, healthy: false"));
        }
        touch(supervisor.directory(), "healthy");
        supervisor.wait_status(|status| status.reloads == 1 && status.phase == "serving");
    });
    let lines = supervisor.lines();
    let asked = lines
        .iter()
        .skip(seen)
        .filter(|line| line.contains("was asked"));
    let strays: Vec<&String> = asked.filter(|line| line.contains("1.")).collect();
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn a_probe_names_the_host_and_a_bad_answer_is_told_with_its_status() {
    let cases: [(&[&str], &str); 3] = [
        (&[], "localhost:{port}"),
        (&["--address", "127.0.0.3"], "localhost:{port}"),
        (&["--ready-host", "shop.example"], "shop.example"),
    ];
    for (words, host) in cases {
        let (options, behaviour) = match words {
            ["--ready-host", ..] => (words, &[][..]),
            _ => (&[][..], words),
        };
        let more = [
            "-n",
            "1",
            "--start-timeout",
            "5s",
            "--ready",
            "http:/health",
        ];
        let options = [&more[..], options].concat();
        let behaviour = [&["--health", "{dir}/never"], behaviour].concat();
        let supervisor = scripted(&options, &behaviour).start();
        let host = host.replace("{port}", &supervisor.port().to_string());
        supervisor.wait_line(&format!("was asked, healthy: false, as {host}"));
        let sentence = refusal(supervisor);
        let cause = format!("but answered GET /health (Host: {host}) with status 503");
        assert!(sentence.contains(&cause), "{sentence}");
    }
}

#[test]
fn what_a_worker_lacks_at_the_time_out_is_said() {
    let cases: [(&[&str], &[&str], &str); 4] = [
        (&[], &["--hang"], "it listens on no fixed TCP port"),
        (&["--ready", "notify"], &[], "but did not send READY=1"),
        (
            &["--ready", "http:/health"],
            &["--health", "{dir}/never"],
            // On a busy machine it has not been asked in time.
            "GET /health",
        ),
        (
            &["--listen", "127.0.0.1:{port}"],
            &["--hang"],
            "it listens on no",
        ),
    ];
    for (options, behaviour, cause) in cases {
        let options = [&["-n", "2", "--start-timeout", "400ms"], options].concat();
        let sentence = refusal(scripted(&options, behaviour).start());
        assert!(sentence.contains("was not ready after 4"), "{sentence}");
        assert!(sentence.contains(cause), "{sentence}");
    }
}

#[test]
fn a_worker_that_exits_is_quoted() {
    let sentence = refusal(scripted(&["-n", "2"], &["--exit", "9"]).start());
    assert!(sentence.contains("exited with code 9"), "{sentence}");
    assert!(
        sentence.contains("it wrote: misbehave: I will not work today"),
        "{sentence}"
    );
}

#[test]
fn a_worker_that_is_killed_is_said_to_be() {
    let command = Supervisor::builder()
        .args(["-n", "1"])
        .command(["sh", "-c", "kill -SEGV $$"]);
    let sentence = refusal(command.start());
    assert!(
        sentence.contains("was killed by signal 11 (SIGSEGV)"),
        "{sentence}"
    );
}

#[test]
fn what_cannot_be_executed_is_named() {
    let cases = [
        ("{dir}/missing", "no such file"),
        ("{dir}/plain", "permission denied"),
        ("{dir}/orphaned", "its interpreter is missing"),
        ("{dir}", "ermission denied"),
        ("no-such-program-in-path", "no such file"),
    ];
    for (command, cause) in cases {
        let builder = Supervisor::builder()
            .args(["-n", "2", "--name", "x"])
            .file("plain", "#!/bin/sh\n")
            .file("orphaned", "#!/no/such/interpreter\n")
            .command([command]);
        executable(&builder.directory().join("orphaned"));
        let sentence = refusal(builder.start());
        assert!(sentence.contains("cannot execute"), "{sentence}");
        assert!(
            sentence.to_lowercase().contains(cause),
            "{command}: {sentence}"
        );
    }
}

fn executable(file: &Path) {
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_missing_directory_is_named() {
    let sentence = refusal(scripted(&["-n", "1", "--chdir", "{dir}/gone"], &[]).start());
    assert!(sentence.contains("cannot change to "), "{sentence}");
    assert!(sentence.contains("/gone: No such file"), "{sentence}");
}

#[test]
fn who_holds_the_port_is_named() {
    for options in [
        &["-n", "2"][..],
        &["-n", "2", "--listen", "0.0.0.0:{taken}"],
    ] {
        let stranger = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = stranger.local_addr().unwrap().port().to_string();
        let options: Vec<String> = options
            .iter()
            .map(|o| o.replace("{taken}", &port))
            .collect();
        let builder = Supervisor::builder().args(options);
        let mut supervisor = builder.fixture("misbehave", ["--port", &port]).start();
        assert_ends(&mut supervisor, 3);
        let holder = format!("(pid {})", std::process::id());
        let sentence = supervisor.wait_line(&holder);
        assert!(
            sentence.contains(&format!("cannot bind 0.0.0.0:{port}: it is in use by")),
            "{sentence}"
        );
        supervisor.wait_line("start failed: ");
    }
}

#[test]
fn a_second_start_does_not_join_the_port_of_the_first() {
    let first = scripted(&["-n", "2"], &[]).start();
    let status = first.wait_serving(2);
    let port = first.port().to_string();
    for options in [
        &["-n", "2"][..],
        &["-n", "1", "--listen", "0.0.0.0:{first}"],
    ] {
        let options: Vec<String> = options
            .iter()
            .map(|o| o.replace("{first}", &port))
            .collect();
        let builder = Supervisor::builder().args(options);
        let second = builder.fixture("misbehave", ["--port", &port]).start();
        let (outcome, _) = without_loss(light(first.address()), || {
            let mut second = second;
            let code = second.wait_exit();
            (code, second.wait_line("it is in use by "))
        });
        assert_eq!(outcome.0, 3);
        let holders: Vec<i32> = pids(&status).into_iter().chain([first.pid()]).collect();
        let is_named = holders
            .iter()
            .any(|pid| outcome.1.contains(&format!("(pid {pid})")));
        assert!(is_named, "{}: none of {holders:?}", outcome.1);
    }
    assert_eq!(listeners(first.port()).len(), 2);
}

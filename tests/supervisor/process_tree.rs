//! A worker is more than a process: daemons, children that still answer, and others that leave it.

use std::thread;

use nix::sys::signal::Signal;

use crate::harness::Supervisor;
use crate::support::*;

const ADVICE: &str = "daemon off;";

/// The number that a process said after these words.
fn number(line: &str, words: &str) -> i32 {
    let at = line.find(words).unwrap() + words.len();
    line[at..].trim().parse().unwrap()
}

fn is_gone(pid: i32) -> Option<()> {
    status_field(pid, "State").is_none().then_some(())
}

#[test]
fn a_start_of_what_goes_into_the_background_fails_and_leaves_nothing() {
    for behaviour in ["--daemonise", "--daemonise-early"] {
        let mut supervisor = scripted(&["-n", "2"], &[behaviour]).start();
        supervisor.wait_line(ADVICE);
        // Nor is anybody left.
        assert_ends(&mut supervisor, 3);
    }
}

#[test]
fn a_reload_to_what_goes_into_the_background_fails_and_leaves_nothing() {
    let supervisor = changeable(&["-n", "2"]).start();
    let before = pids(&supervisor.wait_serving(2));
    supervisor.write("behaviour", "--daemonise");
    let (output, outcome) =
        without_loss(light(supervisor.address()), || supervisor.ctl(["reload"]));
    let sentence = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{sentence}");
    assert!(sentence.contains(ADVICE), "{sentence}");
    assert!(outcome.workers.keys().all(|name| name.starts_with("1.")));
    supervisor.wait_status(|status| pids(status) == before);
    supervisor.wait_for("everybody else to be gone", || {
        let own = supervisor.pid();
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap();
        let children = children.split_ascii_whitespace();
        (children.count() == before.len()).then_some(())
    });
}

/// A request that a child holds, while the worker has ended.
fn held(options: &[&str]) -> (Supervisor, thread::JoinHandle<String>) {
    let options = [
        &["-n", "1", "--no-rescue", "--quiet-timeout", "0s"],
        options,
    ]
    .concat();
    let supervisor = scripted(&options, &["--fork-each", "--hold", "{dir}/answer"]).start();
    supervisor.wait_serving(1);
    let request = begin_asking(supervisor.address(), "/hold").unwrap();
    supervisor.wait_line("misbehave: 1.0 holds a request");
    let answer = thread::spawn(move || match finish_asking(request) {
        Ok(name) => name,
        Err(error) => error.to_string(),
    });
    (supervisor, answer)
}

#[test]
fn a_child_that_answers_has_the_time_that_its_worker_has() {
    let (supervisor, answer) = held(&[]);
    let old = pids(&supervisor.wait_serving(1))[0];
    supervisor.signal(Signal::SIGHUP);
    supervisor.wait_for("the first process to be gone", || is_gone(old));
    // It is waited for, and nothing else is to be seen of that.
    supervisor.wait_status(|status| status.workers.iter().any(|it| it.phase == "draining"));
    touch(supervisor.directory(), "answer");
    assert_eq!(answer.join().unwrap(), "1.0");
    supervisor.wait_line("reload: done");
}

#[test]
fn a_child_that_answers_for_too_long_is_killed_with_its_group() {
    let (supervisor, answer) = held(&["--drain-timeout", "1s"]);
    supervisor.ctl_ok(["reload"]);
    supervisor.wait_line("has not exited after 1s; killing it");
    assert_ne!(answer.join().unwrap(), "1.0");
}

#[test]
fn a_process_that_has_left_its_worker_is_named_or_ended() {
    for (mode, is_ended) in [("group", false), ("tree", true)] {
        let options = ["-n", "1", "--kill-mode", mode];
        let supervisor = scripted(&options, &["--session-child"]).start();
        supervisor.wait_serving(1);
        let stray = number(&supervisor.wait_line("misbehave: session "), "session ");
        supervisor.ctl_ok(["reload"]);
        supervisor.wait_line(&format!(
            "process {stray} (sleep), which has left its group"
        ));
        if is_ended {
            supervisor.wait_for("it to be gone", || is_gone(stray));
        } else {
            assert!(is_gone(stray).is_none());
            send(stray, Signal::SIGKILL);
        }
        for pid in pids(&supervisor.status()) {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            for child in children.unwrap().split_ascii_whitespace() {
                send(child.parse().unwrap(), Signal::SIGKILL);
            }
        }
    }
}

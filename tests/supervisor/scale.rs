//! More workers, and fewer.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::harness::ctl_program;
use crate::support::*;

#[test]
fn to_a_number_and_by_a_difference() {
    let supervisor = scripted(&["-n", "2"], &[]).start();
    let before = supervisor.wait_serving(2);
    for (to, workers) in [("6", 6), ("+1", 7), ("-2", 5), ("5", 5), ("2", 2)] {
        without_loss(light(supervisor.address()), || {
            supervisor.ctl_ok(["scale", to])
        });
        let status = supervisor.wait_serving(workers);
        assert_eq!(status.workers_wanted as usize, workers);
        assert_eq!(listeners(supervisor.port()).len(), workers);
    }
    // The first two were never touched.
    assert_eq!(pids(&supervisor.status()), pids(&before));
}

#[test]
fn not_to_none_and_not_to_too_many() {
    let supervisor = scripted(&["-n", "2"], &[]).start();
    let before = supervisor.wait_serving(2);
    for to in ["0", "100000", "-2", "-100", "+100000"] {
        let output = supervisor.ctl(["scale", to]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{to}: {said}");
        assert!(said.contains("from 1 to 4096"), "{to}: {said}");
    }
    assert_eq!(pids(&supervisor.wait_serving(2)), pids(&before));
}

#[test]
fn signals_scale() {
    let supervisor = scripted(&["-n", "1"], &[]).start();
    supervisor.wait_serving(1);
    supervisor.signal(Signal::SIGTTIN);
    supervisor.wait_serving(2);
    supervisor.signal(Signal::SIGTTOU);
    supervisor.wait_serving(1);
    let seen = supervisor.lines().len();
    supervisor.signal(Signal::SIGTTOU);
    supervisor.wait_line_after(seen, "cannot run 0 workers");
    supervisor.wait_serving(1);
}

#[test]
fn the_number_is_in_the_workers_environment() {
    let supervisor = scripted(&["-n", "2"], &[]).start();
    supervisor.wait_serving(2);
    supervisor.ctl_ok(["scale", "3"]);
    let pids = pids(&supervisor.wait_serving(3));
    let number = |pid| value(&environment(pid), "REUSEPORT_WORKERS").map(str::to_owned);
    // An environment cannot be changed from outside: the older ones learn it at the next reload.
    let numbers: Vec<_> = pids.into_iter().map(number).collect();
    assert_eq!(
        numbers,
        ["2", "2", "3"].map(|number| Some(number.to_owned()))
    );
}

#[test]
fn a_scale_up_that_fails_leaves_all_as_it_was() {
    let supervisor = changeable(&["-n", "2"]).start();
    let before = supervisor.wait_serving(2);
    supervisor.write("behaviour", "--exit 3");
    let (output, _) = without_loss(light(supervisor.address()), || {
        supervisor.ctl(["scale", "4"])
    });
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("scale failed: ") && said.contains("exited with code 3"),
        "{said}"
    );
    let after = supervisor.wait_serving(2);
    assert_eq!(pids(&after), pids(&before));
    assert_eq!(after.workers_wanted, 2);
    assert_eq!(listeners(supervisor.port()).len(), 2);
}

/// Workers shut their listeners down one after the other, and the kernel moves the last listener of the group into
/// the place of each: nobody but those that stay may get a connection.
#[track_caller]
fn assert_order_does_not_matter(change: &[&str], stays: &str, order: &[u32]) {
    let options = ["-n", "4", "--steering", "cbpf", "--drain-timeout", "1h"];
    let behaviour = ["--shutdown-when", "{dir}/leave-{slot}"];
    let mut supervisor = scripted(&options, &behaviour).start();
    supervisor.wait_serving(4);
    let mut request = Command::new(ctl_program());
    request
        .arg("--socket")
        .arg(supervisor.control())
        .args(change);
    let mut client = request.stdout(Stdio::null()).spawn().unwrap();
    supervisor.wait_line(&format!("{} old workers were told to stop", order.len()));
    for slot in order {
        let open = listeners(supervisor.port()).len();
        touch(supervisor.directory(), &format!("leave-{slot}"));
        supervisor.wait_for("a listener less", || {
            (listeners(supervisor.port()).len() < open).then_some(())
        });
        for _ in 0..100 {
            let worker = ask(supervisor.address()).unwrap();
            assert!(worker.starts_with(stays), "{slot} has left: {worker}");
        }
    }
    supervisor.signal(Signal::SIGQUIT);
    assert_ends(&mut supervisor, 0);
    client.wait().unwrap();
}

#[test]
fn workers_of_a_reload_may_shut_down_in_any_order() {
    for order in [[0, 1, 2, 3], [2, 0, 3, 1]] {
        assert_order_does_not_matter(&["reload"], "2.", &order);
    }
}

#[test]
fn all_but_one_may_shut_down_in_any_order() {
    for order in [[1, 2, 3], [3, 1, 2]] {
        assert_order_does_not_matter(&["scale", "1"], "1.0", &order);
    }
}

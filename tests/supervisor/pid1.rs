//! The first process of a container: orphans are its children, and nobody reaps them but it.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{Supervisor, fixture};
use crate::support::*;

#[test]
fn orphans_are_reaped() {
    let program = fixture("misbehave").display().to_string();
    // The inner shell ends, and what it started has no parent any more.
    let orphan = "while ! test -e {dir}/go; do sleep 0.01; done";
    let script =
        format!("(sh -c 'echo $$ > {{dir}}/orphan; {orphan}' &)\nexec \"$0\" --port {{port}}");
    let supervisor = Supervisor::builder()
        .args(["-n", "1"])
        .command(["sh", "-c", &script, &program])
        .start();
    supervisor.wait_serving(1);
    let orphan = supervisor.wait_for("the orphan", || {
        let text = fs::read_to_string(supervisor.directory().join("orphan")).ok()?;
        text.trim().parse::<i32>().ok()
    });
    supervisor.wait_for("its adoption", || {
        (status_field(orphan, "PPid")? == supervisor.pid().to_string()).then_some(())
    });
    touch(supervisor.directory(), "go");
    // A zombie would still have a state.
    supervisor.wait_for("its reaping", || {
        status_field(orphan, "State").is_none().then_some(())
    });
    supervisor.wait_serving(1);
}

#[test]
fn as_the_first_process_it_drains_and_ends() {
    let new = ["unshare", "--pid", "--fork", "--mount-proc"];
    let can = Command::new(new[0]).args(&new[1..]).arg("true").output();
    if !can.is_ok_and(|output| output.status.success()) {
        return skipped("to make a process namespace");
    }
    let mut supervisor = scripted(&["-n", "2"], &["--drain-on-term", "--hold", "{dir}/go"])
        .through(new)
        .start();
    let status = supervisor.wait_serving(2);
    assert_eq!(status.pid, 1);
    without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["reload"])
    });
    let request = begin_asking(supervisor.address(), "/hold").unwrap();
    supervisor.wait_line("holds a request");
    let unshare = supervisor.pid();
    let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).unwrap();
    send(children.trim().parse().unwrap(), Signal::SIGTERM);
    supervisor.wait_line("gone, exited with code 0");
    touch(supervisor.directory(), "go");
    assert!(finish_asking(request).unwrap().starts_with("2."));
    assert_ends(&mut supervisor, 0);
}

//! How rescuers end, and what happens when they end too early or not at all.

use nix::sys::signal::Signal;

use super::*;

/// A reload whose rescuer has an idle connection and one with a request under way: the supervisor,
/// the reload, the rescuer, and the clients.
fn amid_a_reload(options: &[&str], behaviour: &[&str]) -> (Supervisor, Child, i32, Client, Client) {
    let options = [&["-n", "1"], options].concat();
    let behaviour = [&["--hold", "{dir}/go"], behaviour].concat();
    let supervisor = scripted(&options, &behaviour).start();
    supervisor.wait_serving(1);
    let (idle, _) = Client::served(supervisor.address());
    let mut busy = Client::connect(supervisor.address());
    busy.request("/hold");
    supervisor.wait_line("holds a request");
    let reload = begin(&supervisor, &["reload"]);
    let rescuer = wait_holding(&supervisor, 2);
    (supervisor, reload, rescuer, idle, busy)
}

/// The old worker is left to itself: what it has begun it finishes, what is idle ends with it.
fn assert_as_without(supervisor: &Supervisor, reload: Child, mut idle: Client, mut busy: Client) {
    touch(supervisor.directory(), "go");
    assert_eq!(busy.answer().unwrap().worker(), "1.0");
    assert_succeeds(supervisor, reload);
    assert!(idle.rest().is_empty() && busy.rest().is_empty());
    supervisor.wait_serving(1);
    assert_eq!(supervisor.members().len(), 2, "{:?}", supervisor.members());
}

#[test]
fn one_that_is_killed_is_missed_and_no_more() {
    // The worker dies at its stop signal, which must not come before its time.
    let options = ["--quiet-timeout", "8s"];
    let (supervisor, reload, rescuer, idle, busy) = amid_a_reload(&options, &[]);
    send(rescuer, Signal::SIGKILL);
    let line = supervisor.wait_line(&format!("rescuer (pid {rescuer})"));
    assert!(
        line.contains("WARN") && line.contains("died before its time"),
        "{line}"
    );
    assert_as_without(&supervisor, reload, idle, busy);
    let warnings = supervisor.lines();
    let warnings: Vec<&String> = warnings
        .iter()
        .filter(|line| line.contains(" WARN "))
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
}

#[test]
fn one_that_hangs_holds_nothing_up() {
    let options = ["--quiet-timeout", "2s"];
    let (supervisor, reload, rescuer, idle, busy) = amid_a_reload(&options, &["--drain-on-term"]);
    send(rescuer, Signal::SIGSTOP);
    let line = supervisor.wait_line(&format!("rescuer (pid {rescuer})"));
    assert!(line.contains("does not answer"), "{line}");
    assert_as_without(&supervisor, reload, idle, busy);
}

#[test]
fn one_that_is_killed_with_idle_connections_is_missed_too() {
    let supervisor = scripted(&["-n", "1", "--protocol", "http1"], &[]).start();
    supervisor.wait_serving(1);
    let (mut idle, _) = Client::served(supervisor.address());
    supervisor.ctl_ok(["reload"]);
    let rescuer = wait_holding(&supervisor, 1);
    send(rescuer, Signal::SIGKILL);
    assert!(idle.rest().is_empty());
    supervisor.wait_line(&format!("rescuer (pid {rescuer}) died before its time"));
    supervisor.ctl_ok(["reload"]);
}

#[test]
fn there_may_be_two() {
    let supervisor = scripted(&["-n", "1", "--protocol", "http1"], &[]).start();
    supervisor.wait_serving(1);
    let (mut first, _) = Client::served(supervisor.address());
    supervisor.ctl_ok(["reload"]);
    let (mut second, answer) = Client::served(supervisor.address());
    assert_eq!(answer.worker(), "2.0");
    supervisor.ctl_ok(["reload"]);
    supervisor.wait_status(|status| rescuers(status).len() == 2);
    assert_eq!(supervisor.members().len(), 4);
    for client in [&mut second, &mut first] {
        assert_eq!(client.ask("/").unwrap().worker(), "3.0");
    }
    drop((first, second));
    let status = supervisor.wait_status(|status| rescuers(status).is_empty());
    let figures = status
        .rescues
        .iter()
        .map(|rescue| (rescue.held, rescue.rescued));
    assert_eq!(figures.collect::<Vec<_>>(), [(1, 1), (1, 1)]);
    assert_eq!(supervisor.members().len(), 2);
}

/// A supervisor whose rescuer has an idle connection, and one whose request the new worker holds.
fn with_a_rescue_under_way() -> (Supervisor, Client, Client) {
    let behaviour = ["--drain-on-term", "--hold", "{dir}/go"];
    let supervisor = scripted(&["-n", "1", "--protocol", "http1"], &behaviour).start();
    supervisor.wait_serving(1);
    let (idle, _) = Client::served(supervisor.address());
    let (mut busy, _) = Client::served(supervisor.address());
    supervisor.ctl_ok(["reload"]);
    wait_holding(&supervisor, 2);
    busy.request("/hold");
    supervisor.wait_line("2.0 holds a request");
    (supervisor, idle, busy)
}

#[test]
fn they_end_with_the_supervisor() {
    let (mut supervisor, mut idle, mut busy) = with_a_rescue_under_way();
    supervisor.signal(Signal::SIGTERM);
    supervisor.wait_status(|status| status.phase == "stopping");
    touch(supervisor.directory(), "go");
    assert_eq!(busy.answer().unwrap().worker(), "2.0");
    assert!(idle.rest().is_empty());
    assert_ends(&mut supervisor, 0);
}

#[test]
fn they_do_not_outlive_a_supervisor_that_is_killed() {
    let (mut supervisor, mut idle, mut busy) = with_a_rescue_under_way();
    supervisor.signal(Signal::SIGKILL);
    assert_eq!(supervisor.wait_exit(), 128 + 9);
    assert!(idle.rest().is_empty());
    // The worker drains, and what the rescuer has of it is finished.
    touch(supervisor.directory(), "go");
    assert_eq!(busy.answer().unwrap().worker(), "2.0");
    assert!(busy.rest().is_empty());
    supervisor.wait_nobody();
}

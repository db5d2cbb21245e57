//! Not only reloads retire workers; and a crash does not.

use nix::sys::signal::Signal;

use super::*;

/// Two workers, each with a client: of slot 0, of slot 1.
fn one_client_each() -> (Supervisor, [Client; 2]) {
    let supervisor = scripted(&["-n", "2", "--protocol", "http1"], &[]).start();
    supervisor.wait_serving(2);
    let client_of = |slot| {
        loop {
            let (client, answer) = Client::served(supervisor.address());
            if answer.worker() == slot {
                break client;
            }
        }
    };
    let clients = ["1.0", "1.1"].map(client_of);
    (supervisor, clients)
}

#[track_caller]
fn assert_moved(supervisor: &Supervisor, mut moved: Client, mut stayed: Client, to: &str) {
    let answer = moved.ask("/").unwrap();
    assert!(
        answer.is_last() && answer.worker().ends_with(to),
        "{answer:?}"
    );
    assert!(!stayed.ask("/").unwrap().is_last());
    drop(moved);
    let rescue = wait_rescued(supervisor);
    assert!(rescue.rescued >= 1 && rescue.given_up == 0, "{rescue:?}");
}

#[test]
fn a_scale_down() {
    let (supervisor, [stays, moves]) = one_client_each();
    supervisor.ctl_ok(["scale", "1"]);
    assert_moved(&supervisor, moves, stays, ".0");
}

#[test]
fn a_restart_of_one() {
    let (supervisor, [stays, moves]) = one_client_each();
    supervisor.ctl_ok(["restart", "1"]);
    assert_moved(&supervisor, moves, stays, "");
}

#[test]
fn not_a_crash() {
    let (supervisor, [mut dies, mut stays]) = one_client_each();
    send(pids(&supervisor.status())[0], Signal::SIGKILL);
    assert!(dies.rest().is_empty());
    assert_eq!(stays.ask("/").unwrap().worker(), "1.1");
    let status = supervisor.wait_serving(2);
    assert!(status.rescues.is_empty(), "{status:#?}");
    assert_eq!(supervisor.members().len(), 3);
}

//! What waits in the listener of a worker that will not accept it any more.

use nix::sys::signal::Signal;

use super::*;

/// A worker that has stopped, with clients in its queue; every second one has not asked yet.
fn stuck(options: &[&str]) -> (Supervisor, i32, Vec<TcpStream>, Vec<Client>) {
    let options = [&["-n", "1", "--drain-timeout", "300ms"], options].concat();
    let supervisor = scripted(&options, &[]).start();
    let worker = pids(&supervisor.wait_serving(1))[0];
    send(worker, Signal::SIGSTOP);
    supervisor.wait_for("all its threads to stop", || {
        is_stopped(worker).then_some(())
    });
    let (mut asked, mut silent) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        asked.push(begin_asking(supervisor.address(), "/").unwrap());
        silent.push(Client::connect(supervisor.address()));
    }
    supervisor.wait_status(|status| status.endpoints[0].queue == 12);
    (supervisor, worker, asked, silent)
}

#[track_caller]
fn assert_answered(supervisor: &Supervisor, asked: Vec<TcpStream>, silent: Vec<Client>) {
    for client in asked {
        assert_eq!(finish_asking(client).unwrap(), "2.0");
    }
    for mut client in silent {
        let answer = client.ask("/").unwrap();
        assert_eq!((answer.worker(), answer.is_last()), ("2.0", true));
    }
    let rescue = wait_rescued(supervisor);
    assert_eq!(
        (rescue.held, rescue.rescued, rescue.given_up),
        (12, 12, 0),
        "{rescue:?}"
    );
    assert_eq!(listeners(supervisor.port()).len(), 1);
}

#[test]
fn of_a_worker_that_hangs_when_it_is_to_retire() {
    let (supervisor, _, asked, silent) = stuck(&["--settle-timeout", "200ms"]);
    supervisor.ctl_ok(["reload"]);
    let line = supervisor.wait_line("12 connections wait in its listeners after 200ms");
    assert!(!line.contains("lost"), "{line}");
    supervisor.wait_line("a rescuer accepts what waits for worker 0");
    assert_answered(&supervisor, asked, silent);
}

#[test]
fn of_a_worker_that_is_killed_while_it_settles() {
    let (supervisor, worker, asked, silent) = stuck(&["--settle-timeout", "50s"]);
    let reload = begin(&supervisor, &["reload"]);
    supervisor.wait_status(|status| status.workers.iter().any(|w| w.phase == "settling"));
    send(worker, Signal::SIGKILL);
    assert_succeeds(&supervisor, reload);
    assert_answered(&supervisor, asked, silent);
}

#[test]
fn of_a_slot_that_is_given_up() {
    let supervisor = changeable(&["-n", "2", "--max-restarts", "1"]).start();
    let worker = pids(&supervisor.wait_serving(2))[0];
    send(worker, Signal::SIGSTOP);
    supervisor.wait_for("all its threads to stop", || {
        is_stopped(worker).then_some(())
    });
    // The sibling answers its part of them.
    let clients = (0..40).map(|_| begin_asking(supervisor.address(), "/").unwrap());
    let clients: Vec<TcpStream> = clients.collect();
    supervisor.wait_status(|status| status.workers[0].listeners[0].queue > 0);
    supervisor.write("behaviour", "--exit 5");
    send(worker, Signal::SIGKILL);
    supervisor.wait_line("is given up");
    for client in clients {
        assert_eq!(finish_asking(client).unwrap(), "1.1");
    }
    let rescue = wait_rescued(&supervisor);
    assert!(
        rescue.held > 0 && rescue.held == rescue.rescued,
        "{rescue:?}"
    );
}

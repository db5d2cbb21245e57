//! What the service is, and how it may change: which ports a new worker owes.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use nix::sys::signal::Signal;

use crate::rig::port::Reservation;
use crate::support::*;

#[test]
fn a_port_that_a_worker_opens_when_it_is_ready_is_owed_by_nobody() {
    let late = Reservation::new().unwrap();
    let port = late.port().to_string();
    let options = ["-n", "2", "--ready", "notify", "--start-timeout", "5s"];
    let behaviour = [
        "--notify",
        "{dir}/ready",
        "--late-port",
        &port,
        "{dir}/open-{slot}",
    ];
    let supervisor = scripted(&options, &behaviour).file("ready", "").start();
    let before = pids(&supervisor.wait_serving(2));
    let open = || {
        touch(supervisor.directory(), "open-0");
        supervisor.wait_status(|status| status.endpoints.len() == 2);
        fs::remove_file(supervisor.directory().join("open-0")).unwrap();
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), late.port());
        assert!(ask(address).unwrap().ends_with(".0"), "it is managed");
    };

    open();
    send(before[0], Signal::SIGKILL);
    supervisor.wait_status(|status| {
        let now = pids(status);
        let serve = status.workers.iter().all(|it| it.phase == "serving");
        serve && now.len() == 2 && !now.contains(&before[0])
    });
    supervisor.wait_for("the late port to be closed", || {
        listeners(late.port()).is_empty().then_some(())
    });

    open();
    supervisor.ctl_ok(["reload"]);
    let status = supervisor.wait_serving(2);
    assert_eq!((status.reloads, status.endpoints.len()), (1, 1));
    assert_eq!(listeners(late.port()), Vec::<u64>::new());
}

#[test]
fn addresses_change_where_that_is_accepted() {
    let other = Reservation::new().unwrap();
    let supervisor = changeable(&["-n", "2", "--start-timeout", "1s"]).start();
    supervisor.wait_serving(2);
    supervisor.write("behaviour", &format!("--wrong-port {}", other.port()));

    let refused = supervisor.ctl(["reload"]);
    assert_eq!(refused.status.code(), Some(1));
    let sentence = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(sentence.contains("reload --accept-changes"), "{sentence}");
    assert!(ask(supervisor.address()).unwrap().starts_with("1."));

    supervisor.ctl_ok(["reload", "--accept-changes"]);
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), other.port());
    assert!(ask(address).unwrap().starts_with("3."));
    assert_eq!(listeners(supervisor.port()), Vec::<u64>::new());
    supervisor.wait_line("does not listen on 0.0.0.0:");

    // From now on these are the addresses of the service.
    supervisor.ctl_ok(["reload"]);
    assert!(ask(address).unwrap().starts_with("4."));
}

//! Listeners that their workers have let go of.

use std::{fs, io};

use nix::sys::signal::Signal;

use crate::harness::Supervisor;
use crate::rescue::Client;
use crate::rig::port::Reservation;
use crate::support::*;

/// Two workers, of which one closes a listener.
fn with_a_listener_closed(options: &[&str], behaviour: &[&str]) -> Supervisor {
    let options = [&["-n", "2"], options].concat();
    let behaviour = [&["--close-when", "{dir}/close-{slot}"], behaviour].concat();
    let supervisor = scripted(&options, &behaviour).start();
    supervisor.wait_serving(2);
    touch(supervisor.directory(), "close-0");
    supervisor.wait_line("1.0 has closed a listener");
    supervisor
}

/// Who comes before it is known is passed on, who comes later is not sent there.
#[test]
fn nobody_waits_for_a_worker_that_has_closed_its_listener() {
    for steering in ["ebpf", "cbpf", "none"] {
        if steering == "ebpf" && !is_root() {
            skipped("CAP_BPF");
            continue;
        }
        let supervisor = with_a_listener_closed(&["--steering", steering], &[]);
        for _ in 0..40 {
            assert_eq!(ask(supervisor.address()).unwrap(), "1.1", "{steering}");
        }
        if steering != "none" {
            supervisor.wait_line("slot 0): has closed its listener on");
            supervisor.wait_for("the listener to be closed", || {
                (listeners(supervisor.port()).len() == 1).then_some(())
            });
        }
        // A worker of a reload has all that it opens, and keeps it.
        fs::remove_file(supervisor.directory().join("close-0")).unwrap();
        supervisor.ctl_ok(["reload"]);
    }
}

/// A debug port, say, that is open for a while.
#[test]
fn the_last_listener_of_an_address_closes_the_address() {
    // To the end: nobody else is to answer there.
    let reserved = Reservation::new().unwrap();
    let port = reserved.port().to_string();
    let supervisor = with_a_listener_closed(&[], &["--two-ports", &port]);
    touch(supervisor.directory(), "close-1");
    supervisor.wait_line("1.1 has closed a listener");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], reserved.port()));
    // Whoever comes first may wait until it is looked who has the listeners.
    supervisor.wait_for("a refusal", || {
        let error = ask(address).err()?;
        (error.kind() == io::ErrorKind::ConnectionRefused).then_some(())
    });
    assert!(ask(supervisor.address()).unwrap().starts_with("1."));
}

/// Clients wait when it is seen that the last worker has closed its listener. What a rescuer accepted of them would come
/// back to the rescuer, again and again.
#[test]
fn who_waits_at_an_address_that_nobody_serves_any_more_is_refused() {
    for steering in ["auto", "none"] {
        let reserved = Reservation::new().unwrap();
        let port = reserved.port().to_string();
        let close = ["--close-when", "{dir}/close-{slot}", "--two-ports", &port];
        let supervisor = scripted(&["-n", "2", "--steering", steering], &close).start();
        let status = supervisor.wait_serving(2);
        supervisor.wait_for("the other listeners", || {
            (listeners(reserved.port()).len() == 2).then_some(())
        });
        // It sees nothing before there are clients.
        let pid = i32::try_from(status.pid).unwrap();
        send(pid, Signal::SIGSTOP);
        touch(supervisor.directory(), "close-0");
        touch(supervisor.directory(), "close-1");
        let here = listeners(reserved.port());
        let is_let_go = |pid: &i32| !sockets(*pid).iter().any(|inode| here.contains(inode));
        supervisor.wait_for("both to have closed a listener", || {
            pids(&status).iter().all(is_let_go).then_some(())
        });
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], reserved.port()));
        let mut clients: Vec<_> = (0..8).map(|_| Client::connect(address)).collect();
        clients.iter_mut().for_each(|client| client.request("/"));
        send(pid, Signal::SIGCONT);
        // Each is reset, or closed: it can go elsewhere.
        for client in &mut clients {
            assert!(client.rest().is_empty(), "{steering}");
        }
        supervisor.wait_for("the listeners to be closed", || {
            listeners(reserved.port()).is_empty().then_some(())
        });
        assert!(ask(supervisor.address()).unwrap().starts_with("1."));
    }
}

/// An idle server wakes nobody, and neither does one whose queues are emptied.
#[test]
fn a_shared_listener_is_not_abandoned_while_one_has_it() {
    let supervisor = with_a_listener_closed(&["--queues", "1"], &[]);
    for _ in 0..40 {
        assert_eq!(ask(supervisor.address()).unwrap(), "1.1");
    }
    assert_eq!(listeners(supervisor.port()).len(), 1);
}

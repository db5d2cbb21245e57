//! Workers that die unasked.

use std::fs;
use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::harness::Supervisor;
use crate::support::*;

/// Waits until no worker is the one that it was, and all serve.
fn replaced(supervisor: &Supervisor, before: &[i32]) -> Vec<i32> {
    let status = supervisor.wait_status(|status| {
        let now = pids(status);
        let serving = status
            .workers
            .iter()
            .all(|worker| worker.phase == "serving");
        serving && now.len() == before.len() && now.iter().all(|pid| !before.contains(pid))
    });
    pids(&status)
}

#[test]
fn what_waits_in_the_queue_of_a_killed_worker_is_answered_by_the_next() {
    let supervisor = scripted(&["-n", "1"], &[]).start();
    let before = pids(&supervisor.wait_serving(1));
    let inodes = listeners(supervisor.port());
    send(before[0], Signal::SIGSTOP);
    supervisor.wait_for("all its threads to stop", || {
        is_stopped(before[0]).then_some(())
    });
    let waiting: Vec<TcpStream> = (0..10)
        .map(|_| begin_asking(supervisor.address(), "/").unwrap())
        .collect();
    supervisor.wait_status(|status| status.endpoints[0].queue == 10);
    send(before[0], Signal::SIGKILL);
    for request in waiting {
        assert_eq!(finish_asking(request).unwrap(), "1.0");
    }
    supervisor.wait_line("restarting it at once");
    replaced(&supervisor, &before);
    assert_eq!(listeners(supervisor.port()), inodes);
}

#[test]
fn a_worker_may_be_killed_by_any_signal() {
    let supervisor = scripted(&["-n", "2"], &[]).start();
    let mut before = pids(&supervisor.wait_serving(2));
    let real_time = libc::SIGRTMIN();
    for (number, words) in [
        (libc::SIGABRT, "signal 6 (SIGABRT)"),
        (real_time, "a real-time signal"),
    ] {
        // By number: the last one has no name.
        let kill = format!("kill -{number} {}", before[0]);
        assert!(
            std::process::Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
        supervisor.wait_line(words);
        let status = supervisor.wait_status(|status| {
            status
                .workers
                .iter()
                .all(|worker| worker.phase == "serving")
                && pids(status).len() == 2
                && !pids(status).contains(&before[0])
        });
        before = pids(&status);
    }
}

#[test]
fn restarts_slow_down() {
    let supervisor = changeable(&["-n", "1", "--max-restarts", "3"]).start();
    let before = pids(&supervisor.wait_serving(1));
    supervisor.write("behaviour", "--exit-after-ms 20");
    send(before[0], Signal::SIGKILL);
    let line = supervisor.wait_line("restarting it at once");
    assert!(line.contains("was killed by signal 9 (SIGKILL)"), "{line}");
    for when in ["restarting it in 100ms", "restarting it in 200ms"] {
        let line = supervisor.wait_line(when);
        assert!(line.contains("exited with code 1"), "{line}");
        assert!(
            line.contains("it wrote: misbehave: I have worked enough"),
            "{line}"
        );
    }
}

#[test]
fn a_crash_loop_is_held_until_the_next_reload() {
    let options = ["-n", "2", "--max-restarts", "1"];
    let supervisor = changeable(&options).start();
    let before = supervisor.wait_serving(2);
    let sibling = before.workers[1].pid;
    supervisor.write("behaviour", "--exit 5");
    send(pids(&before)[0], Signal::SIGKILL);
    let line = supervisor.wait_line("is given up");
    assert!(line.contains("slot 0 crashed 2 times within 1m"), "{line}");
    let held = supervisor.wait_status(|status| {
        status
            .workers
            .iter()
            .any(|worker| worker.phase == "given-up")
    });
    let phases: Vec<&str> = held
        .workers
        .iter()
        .map(|worker| worker.phase.as_str())
        .collect();
    assert_eq!(phases, ["given-up", "serving"]);
    assert_eq!((held.workers[0].pid, held.workers[1].pid), (None, sibling));
    without_loss(light(supervisor.address()), || ());
    supervisor.write("behaviour", "");
    supervisor.ctl_ok(["reload"]);
    supervisor.wait_serving(2);
    assert!(ask(supervisor.address()).unwrap().starts_with("2."));
}

#[test]
fn a_held_slot_can_be_restarted() {
    let options = ["-n", "2", "--max-restarts", "0"];
    let supervisor = scripted(&options, &[]).start();
    let before = supervisor.wait_serving(2);
    send(pids(&before)[0], Signal::SIGKILL);
    let held = supervisor.wait_status(|status| status.workers[0].phase == "given-up");
    supervisor.ctl_ok(["restart".to_owned(), held.workers[0].id.to_string()]);
    supervisor.wait_serving(2);
}

#[test]
fn when_all_are_held_it_ends() {
    let mut supervisor = scripted(&["-n", "2", "--max-restarts", "0"], &[]).start();
    let before = supervisor.wait_serving(2);
    for pid in pids(&before) {
        send(pid, Signal::SIGKILL);
    }
    assert_ends(&mut supervisor, 4);
}

#[test]
fn a_crash_loop_may_end_it() {
    let options = ["-n", "2", "--max-restarts", "0", "--crash-loop", "exit"];
    let mut supervisor = scripted(&options, &[]).start();
    let before = supervisor.wait_serving(2);
    send(pids(&before)[0], Signal::SIGKILL);
    assert_ends(&mut supervisor, 4);
    supervisor.wait_line("is given up");
}

#[test]
fn what_a_worker_started_dies_with_it() {
    let script = "sleep 1000 & echo $! > {dir}/child.$REUSEPORT_GENERATION; exec $0 --port {port}";
    let program = crate::harness::fixture("misbehave").display().to_string();
    let supervisor = Supervisor::builder()
        .args(["-n", "1"])
        .command(["sh", "-c", script, &program])
        .start();
    let before = pids(&supervisor.wait_serving(1));
    let child: i32 = fs::read_to_string(supervisor.directory().join("child.1"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(supervisor.members().contains(&child));
    send(before[0], Signal::SIGKILL);
    replaced(&supervisor, &before);
    supervisor.wait_for("its child to die", || {
        (!supervisor.members().contains(&child)).then_some(())
    });
}

#[test]
fn siblings_answer_meanwhile() {
    let options = ["-n", "2", "--max-restarts", "100"];
    let supervisor = changeable(&options).start();
    let before = supervisor.wait_serving(2);
    // It comes back only to hang: nobody takes what is steered to it.
    supervisor.write("behaviour", "--hang");
    send(pids(&before)[0], Signal::SIGKILL);
    supervisor.wait_line("restarting it at once");
    let (_, outcome) = without_loss(light(supervisor.address()), || ());
    assert!(
        outcome.workers.keys().all(|name| name == "1.1"),
        "{outcome:#?}"
    );
}

/// HAProxy, for one, asks `SO_ACCEPTCONN` first, and calls listen(2) only where the answer is no.
#[test]
fn a_replacement_need_not_listen_where_its_socket_does() {
    for options in [
        &["-n", "2"][..],
        &["-n", "2", "--queues", "1"],
        &["-n", "2", "--steering", "none"],
    ] {
        let supervisor = scripted(options, &["--listen-once"]).start();
        let before = pids(&supervisor.wait_serving(2));
        send(before[0], Signal::SIGKILL);
        supervisor.wait_status(|status| {
            !pids(status).contains(&before[0])
                && status.workers.len() == 2
                && status.workers.iter().all(|it| it.phase == "serving")
        });
        supervisor.ctl_ok(["reload"]);
    }
}

/// It waits for its socket with epoll before it binds it, as some event loops do.
const WAITS_FIRST: &str = r#"
import os, select, socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setblocking(False)
epoll = select.epoll()
epoll.register(s, select.EPOLLIN)
s.bind(("0.0.0.0", {port}))
s.listen(128)
name = os.environ["REUSEPORT_GENERATION"] + "." + os.environ["REUSEPORT_WORKER"]
while True:
    for number, _ in epoll.poll():
        assert number == s.fileno()
        c, _ = s.accept()
        c.recv(4096)
        c.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Worker: {name}\r\nConnection: close\r\n\r\n".encode())
        c.close()
"#;

#[test]
fn a_replacement_hears_of_connections_that_it_waited_for_before_it_bound() {
    let Some(builder) = scripted_python(&["-n", "1"], WAITS_FIRST) else {
        return;
    };
    let supervisor = builder.start();
    let before = pids(&supervisor.wait_serving(1));
    assert_eq!(ask(supervisor.address()).unwrap(), "1.0");
    send(before[0], Signal::SIGKILL);
    replaced(&supervisor, &before);
    assert_eq!(ask(supervisor.address()).unwrap(), "1.0");
}

/// Takes so long from bind(2) to listen(2) that it is probed, where it gets the listener of the worker before it; and serves
/// one client after the other.
const IS_PROBED: &str = r#"
import os, select, socket
s = socket.socket()
s.bind(("0.0.0.0", {port}))
if s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
    select.select([s], [], [])
s.listen(128)
name = os.environ["REUSEPORT_GENERATION"] + "." + os.environ["REUSEPORT_WORKER"]
while True:
    c, _ = s.accept()
    try:
        if c.recv(4096):
            c.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Worker: {name}\r\nConnection: close\r\n\r\n".encode())
    except OSError:
        pass
    c.close()
"#;

#[test]
fn a_probe_ends_when_its_worker_listens_by_itself() {
    let Some(builder) = scripted_python(&["-n", "1"], IS_PROBED) else {
        return;
    };
    let supervisor = builder.start();
    let before = pids(&supervisor.wait_serving(1));
    send(before[0], Signal::SIGKILL);
    replaced(&supervisor, &before);
    assert_eq!(ask(supervisor.address()).unwrap(), "1.0");
}

//! Queues that several workers share (`--queues`).

use std::net::{Ipv4Addr, TcpStream};

use nix::sys::signal::Signal;
use reuseport_run::wire::control::{Status, WorkerStatus};

use crate::rig::load::{Failure, Load, Plan};
use crate::rig::server::Kind;
use crate::support::*;

/// Which workers share a queue, by slot; queues in their order.
fn shared(status: &Status) -> Vec<Vec<u32>> {
    let slots = |workers: &[u64]| {
        let all = status.workers.iter();
        let of = all.filter(|worker| workers.contains(&worker.id));
        of.map(|worker| worker.slot).collect()
    };
    let queues = status.queues.iter();
    queues.map(|queue| slots(&queue.workers)).collect()
}

/// The inodes of the listeners on `port` that a process has.
fn listeners_of(pid: i32, port: u16) -> Vec<u64> {
    let all = listeners(port);
    let own = sockets(pid).into_iter();
    own.filter(|inode| all.contains(inode)).collect()
}

#[test]
fn workers_share_queues_in_turn() {
    let supervisor = scripted(&["-n", "5", "--queues", "2"], &[]).start();
    let status = supervisor.wait_serving(5);
    let port = supervisor.port();
    assert_eq!(listeners(port).len(), 2);
    assert_eq!(shared(&status), [vec![0, 2, 4], vec![1, 3]]);
    let inodes: Vec<Vec<u64>> = pids(&status)
        .into_iter()
        .map(|pid| listeners_of(pid, port))
        .collect();
    assert!(inodes.iter().all(|own| own.len() == 1), "{inodes:?}");
    assert_eq!([&inodes[0], &inodes[1]], [&inodes[2], &inodes[3]]);
    assert!(inodes[0] == inodes[4] && inodes[0] != inodes[1]);
    assert_eq!(
        (status.endpoints[0].listeners, status.endpoints[0].live),
        (2, 2)
    );
}

#[test]
fn status_shows_the_queues_and_whose_they_are() {
    let supervisor = scripted(&["-n", "3", "--queues", "2"], &[]).start();
    supervisor.wait_serving(3);
    let table = supervisor.ctl_ok(["status"]);
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip_while(|line| !line.starts_with("QUEUE"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0],
        ["QUEUE", "GEN", "WAITING", "SHARE", "WORKERS"],
        "{table}"
    );
    let row = |row: &[&str]| (row[0].to_owned(), row[1].to_owned(), row[4..].join(" "));
    let text = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(row(&rows[1]), text("0", "1", "0 2"), "{table}");
    assert_eq!(row(&rows[2]), text("1", "1", "1"), "{table}");
}

#[test]
fn more_queues_than_workers_are_no_more_than_workers() {
    let supervisor = scripted(&["-n", "2", "--queues", "3"], &[]).start();
    supervisor.wait_serving(2);
    assert_eq!(listeners(supervisor.port()).len(), 2);
    for (to, queues) in [("4", 3), ("2", 2)] {
        without_loss(light(supervisor.address()), || {
            supervisor.ctl_ok(["scale", to])
        });
        let status = supervisor.wait_serving(to.parse().unwrap());
        assert_eq!(listeners(supervisor.port()).len(), queues, "{status:#?}");
    }
}

#[test]
fn a_reload_replaces_the_queues() {
    for queues in ["1", "2"] {
        let supervisor = scripted(&["-n", "4", "--queues", queues], &[]).start();
        supervisor.wait_serving(4);
        let before = listeners(supervisor.port());
        let plan = Plan::new(supervisor.address()).connections(16);
        let (_, outcome) = without_loss(plan, || {
            for _ in 0..3 {
                supervisor.ctl_ok(["reload"]);
            }
        });
        assert!(
            outcome.workers.keys().any(|name| name.starts_with("4.")),
            "{outcome:#?}"
        );
        let after = listeners(supervisor.port());
        assert_eq!(after.len().to_string(), queues);
        assert!(after.iter().all(|inode| !before.contains(inode)));
        assert_eq!(
            shared(&supervisor.wait_serving(4)).len().to_string(),
            queues
        );
    }
}

/// Node listens with an epoll instance and a listener that does not block; Python's http.server
/// polls one that does, and dies at once at the stop signal.
#[test]
fn real_servers_share_a_queue_through_reloads() {
    for kind in [Kind::Node, Kind::PythonPlain, Kind::Python] {
        let options = ["-n", "3", "--queues", "1"];
        let Some(builder) = real(&options, kind, Ipv4Addr::LOCALHOST.into()) else {
            continue;
        };
        let supervisor = builder.start();
        supervisor.wait_serving(3);
        assert_eq!(listeners(supervisor.port()).len(), 1, "{kind:?}");
        without_loss(light(supervisor.address()), || {
            supervisor.ctl_ok(["reload"]);
            supervisor.ctl_ok(["scale", "+1"]);
            supervisor.ctl_ok(["scale", "-2"]);
        });
        assert_eq!(listeners(supervisor.port()).len(), 1, "{kind:?}");
    }
}

#[test]
fn a_killed_worker_loses_no_more_than_it_had_accepted() {
    let options = ["-n", "3", "--queues", "1", "--max-restarts", "100"];
    let supervisor = scripted(&options, &[]).start();
    supervisor.wait_serving(3);
    let before = listeners(supervisor.port());
    let load = Load::start(light(supervisor.address())).unwrap();
    for slot in [0, 1, 2, 0, 1, 2] {
        let killed = supervisor.status().workers[slot].clone();
        send(i32::try_from(killed.pid.unwrap()).unwrap(), Signal::SIGKILL);
        supervisor.wait_status(|status| {
            let workers = &status.workers;
            let same = |worker: &&WorkerStatus| same_place(worker, &killed);
            let serving = workers.iter().filter(|worker| worker.phase == "serving");
            let replaced = workers.iter().find(same);
            serving.count() == 3 && replaced.is_some_and(|worker| worker.id != killed.id)
        });
    }
    let outcome = load.stop();
    // Each of the four clients has one request under way.
    assert!(outcome.failures() <= 6 * 4, "{outcome:#?}");
    let refused = outcome.failed.get(&Failure::Refused);
    assert_eq!(refused.copied().unwrap_or(0), 0, "{outcome:#?}");
    assert_eq!(listeners(supervisor.port()), before, "the queue stays");
}

fn same_place(worker: &WorkerStatus, other: &WorkerStatus) -> bool {
    (worker.slot, worker.queue) == (other.slot, other.queue)
}

#[test]
fn what_waits_is_taken_by_who_is_left() {
    let supervisor = changeable(&["-n", "2", "--queues", "1"]).start();
    let before = supervisor.wait_serving(2);
    // Whoever comes after them only hangs.
    supervisor.write("behaviour", "--hang");
    let pids = pids(&before);
    for pid in &pids {
        send(*pid, Signal::SIGSTOP);
    }
    supervisor.wait_for("all threads to stop", || {
        pids.iter().all(|pid| is_stopped(*pid)).then_some(())
    });
    let waiting: Vec<TcpStream> = (0..10)
        .map(|_| begin_asking(supervisor.address(), "/").unwrap())
        .collect();
    supervisor.wait_status(|status| status.endpoints[0].queue == 10);
    let shown = supervisor.status();
    assert_eq!(shown.queues[0].listeners[0].queue, 10);
    send(pids[0], Signal::SIGKILL);
    supervisor.wait_line("restarting it at once");
    send(pids[1], Signal::SIGCONT);
    for request in waiting {
        assert_eq!(finish_asking(request).unwrap(), "1.1");
    }
}

#[test]
fn a_restart_replaces_all_workers_of_the_queue_and_no_others() {
    let supervisor = scripted(&["-n", "4", "--queues", "2"], &[]).start();
    let before = supervisor.wait_serving(4);
    let second = before.workers[1].id.to_string();
    without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["restart".to_owned(), second])
    });
    let after = supervisor.wait_serving(4);
    let is_same = |slot: usize| pids(&before)[slot] == pids(&after)[slot];
    assert_eq!([0, 1, 2, 3].map(is_same), [true, false, true, false]);
    assert_eq!(listeners(supervisor.port()).len(), 2);
}

#[test]
fn a_worker_that_shuts_its_listener_down_when_it_stops_takes_no_queue_from_others() {
    let options = ["-n", "3", "--queues", "1", "--drain-timeout", "200ms"];
    let supervisor = scripted(&options, &["--shutdown-on-term"]).start();
    supervisor.wait_serving(3);
    without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["scale", "2"]);
        supervisor.ctl_ok(["reload"]);
    });
    supervisor.wait_serving(2);
}

#[test]
fn a_queue_that_was_shut_down_is_opened_again_by_the_next_worker() {
    let options = ["-n", "1", "--queues", "1", "--drain-timeout", "200ms"];
    let supervisor = scripted(&options, &["--shutdown-on-term"]).start();
    let before = pids(&supervisor.wait_serving(1));
    send(before[0], Signal::SIGTERM);
    supervisor.wait_for("the listener to be shut down", || {
        listeners(supervisor.port()).is_empty().then_some(())
    });
    send(before[0], Signal::SIGKILL);
    supervisor.wait_status(|status| {
        let now = pids(status);
        status.workers[0].phase == "serving" && now != before && now.len() == 1
    });
    let status = supervisor.wait_serving(1);
    assert_eq!(
        (status.endpoints[0].listeners, status.endpoints[0].live),
        (1, 1)
    );
    without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["reload"])
    });
}

/// The one open file has one `O_NONBLOCK`: who comes later must not set it back while the others
/// wait with epoll.
#[test]
fn a_replacement_does_not_make_its_siblings_listener_block() {
    let script = "
import os, selectors, socket, time
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(('127.0.0.1', int(os.environ['THE_PORT'])))
print('blocking %s at bind' % os.get_blocking(listener.fileno()), flush=True)
listener.setblocking(False)
listener.listen()
time.sleep(1000)
";
    let Some(builder) = scripted_python(&["-n", "2", "--queues", "1"], script) else {
        return;
    };
    let port = builder.port().to_string();
    let supervisor = builder.env("THE_PORT", &port).start();
    let before = pids(&supervisor.wait_serving(2));
    let lines = supervisor.output().len();
    assert_eq!(lines, 2, "each has said what it had");
    send(before[0], Signal::SIGKILL);
    supervisor.wait_for("its replacement to bind", || {
        let said = supervisor.output();
        said.get(lines)
            .map(|line| assert_eq!(line, "blocking False at bind"))
    });
}

#[test]
fn passed_sockets_are_shared_too() {
    let options = ["-n", "3", "--queues", "1", "--listen", "0.0.0.0:{port}"];
    let supervisor = scripted(&options, &[]).start();
    supervisor.wait_serving(3);
    assert_eq!(listeners(supervisor.port()).len(), 1);
    without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["reload"])
    });
    assert_eq!(listeners(supervisor.port()).len(), 1);
}

/// A server that waits in accept(2) on what it was passed.
const BLOCKING: &str = "
import socket
listener = socket.socket(fileno=3)
while True:
    connection, _ = listener.accept()
    connection.recv(4096)
    connection.send(b'HTTP/1.1 200 OK\\r\\nX-Worker: me\\r\\nContent-Length: 0\\r\\n\\r\\n')
    connection.close()
";

/// Servers that accept what they were passed and call nothing that could be heard: one waits in
/// accept(2), one with epoll, where the kernel may wake the same one every time.
#[test]
fn each_worker_is_seen_to_use_a_passed_socket_that_it_shares() {
    let polling = "
import os, select, socket
listener = socket.socket(fileno=3)
listener.setblocking(False)
epoll = select.epoll()
epoll.register(listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)
while True:
    epoll.poll()
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        continue
    connection.setblocking(True)
    connection.recv(4096)
    connection.send(b'HTTP/1.1 200 OK\\r\\nX-Worker: me\\r\\nContent-Length: 0\\r\\n\\r\\n')
    connection.close()
";
    for script in [BLOCKING, polling] {
        for ready in ["listen", "http:/"] {
            let options = ["-n", "3", "--queues", "1", "--ready", ready];
            let Some(builder) = scripted_python(&options, script) else {
                return;
            };
            let supervisor = builder.args(["--listen", "127.0.0.1:{port}"]).start();
            supervisor.wait_serving(3);
            assert_eq!(listeners(supervisor.port()).len(), 1);
            without_loss(light(supervisor.address()), || {
                supervisor.ctl_ok(["reload"])
            });
        }
    }
}

#[test]
fn a_worker_that_never_uses_what_it_shares_fails_the_reload() {
    let sometimes = "
import os, time
if os.path.exists('{dir}/idle') and os.environ['REUSEPORT_WORKER'] == '1':
    time.sleep(1000)
";
    let script = sometimes.to_owned() + BLOCKING;
    let options = ["-n", "2", "--queues", "1", "--start-timeout", "2s"];
    let Some(builder) = scripted_python(&options, &script) else {
        return;
    };
    let supervisor = builder.args(["--listen", "127.0.0.1:{port}"]).start();
    let before = supervisor.wait_serving(2);
    touch(supervisor.directory(), "idle");
    let (output, _) = without_loss(light(supervisor.address()), || supervisor.ctl(["reload"]));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("generation 2, slot 1"), "{said}");
    let after = supervisor.wait_serving(2);
    assert_eq!(pids(&after), pids(&before));
}

#[test]
fn without_steering_generations_share_what_their_workers_share() {
    let options = ["-n", "4", "--queues", "2", "--steering", "none"];
    let supervisor = scripted(&options, &["--drain-on-term"]).start();
    supervisor.wait_serving(4);
    let before = listeners(supervisor.port());
    supervisor.ctl_ok(["reload"]);
    supervisor.wait_serving(4);
    assert_eq!(listeners(supervisor.port()), before);
    assert_eq!(before.len(), 2);
    assert!(ask(supervisor.address()).unwrap().starts_with("2."));
}

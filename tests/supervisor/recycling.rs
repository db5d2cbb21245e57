//! Workers that have reached a limit are replaced, one after the other, and nothing is lost.

use std::cell::Cell;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use reuseport_run::supervisor::steering::ebpf::{Counting, GroupMaps};
use reuseport_run::wire::control::Status;

use crate::harness::{Supervisor, ctl_program};
use crate::rig::load::{Load, Plan};
use crate::support::*;

/// What is asked for at /grow is kept, at /spin a thread never rests; and a file makes it large from the start.
const GREEDY: &str = r#"
import os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

here = os.path.dirname(__file__)
kept = []

def spin():
    while True:
        pass

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/grow":
            kept.append(b"x" * (128 << 20))
        if self.path == "/spin":
            threading.Thread(target=spin, daemon=True).start()
        self.send_response(200)
        self.send_header("X-Worker", os.environ["REUSEPORT_GENERATION"] + "." + os.environ["REUSEPORT_WORKER"])
        self.end_headers()

if os.path.exists(os.path.join(here, "large")):
    kept.append(b"x" * (128 << 20))
ThreadingHTTPServer(("127.0.0.1", int(os.environ["TEST_PORT"])), Handler).serve_forever()
"#;

fn greedy(options: &[&str]) -> Option<Supervisor> {
    let builder = scripted_python(options, GREEDY)?;
    let port = builder.port().to_string();
    Some(builder.env("TEST_PORT", &port).start())
}

/// Whether connections can be counted here; says that the test was skipped if not.
fn can_count() -> bool {
    let can = GroupMaps::create(Counting::Yes).is_ok();
    if !can {
        skipped("eBPF");
    }
    can
}

fn has_recycled(status: &Status, count: u64) -> bool {
    status.recyclings.done >= count
}

/// Workers are recycled under a load that loses nothing, and there are never fewer that get new connections.
#[track_caller]
fn loses_nothing(options: &[&str], plan: impl Fn(Plan) -> Plan, count: u64) {
    let supervisor = scripted(options, &[]).start();
    supervisor.wait_serving(2);
    let before = supervisor.status().recyclings.done;
    let (fewest, outcome) = without_loss(plan(light(supervisor.address())), || {
        let fewest = Cell::new(u32::MAX);
        supervisor.wait_status(|status| {
            fewest.set(fewest.get().min(status.endpoints[0].live));
            has_recycled(status, before + count)
        });
        fewest.get()
    });
    assert_eq!(fewest, 2, "{outcome:#?}");
    let status = supervisor.status();
    assert_eq!(status.recyclings.failed, 0, "{:?}", status.recyclings);
    assert_eq!((status.reloads, status.reloads_failed), (0, 0));
}

#[test]
fn workers_that_were_given_enough_connections_are_replaced_without_loss() {
    if can_count() {
        let options = ["-n", "2", "--max-connections-served", "50"];
        loses_nothing(&options, |plan| plan, 6);
    }
}

#[test]
fn nor_is_anything_lost_on_kept_connections() {
    if can_count() {
        // Each worker has more than that when all have come back from another.
        let options = ["-n", "2", "--max-connections-served", "2"];
        loses_nothing(&options, Plan::keep_alive, 6);
    }
}

#[test]
fn nor_with_a_shared_queue() {
    if can_count() {
        let options = ["-n", "2", "--queues", "1", "--max-connections-served", "50"];
        let supervisor = scripted(&options, &[]).start();
        supervisor.wait_serving(2);
        without_loss(light(supervisor.address()), || {
            supervisor.wait_status(|status| has_recycled(status, 3))
        });
    }
}

#[test]
fn workers_of_an_age_are_replaced_without_loss() {
    loses_nothing(&["-n", "2", "--max-age", "500ms"], |plan| plan, 4);
    let steered = [
        "-n",
        "2",
        "--max-age",
        "500ms",
        "--strategy",
        "rolling",
        "--steering",
        "cbpf",
    ];
    loses_nothing(&steered, Plan::keep_alive, 4);
}

#[test]
fn what_is_counted_is_shown() {
    if !can_count() {
        return;
    }
    let options = ["-n", "2", "--max-connections-served", "1000000"];
    let supervisor = scripted(&options, &[]).start();
    let status = supervisor.wait_serving(2);
    let listening = status.workers.iter().map(|it| it.usage.connections_served);
    assert_eq!(listening.collect::<Vec<_>>(), [Some(0), Some(0)]);
    for _ in 0..40 {
        ask(supervisor.address()).unwrap();
    }
    let served = |status: &Status| -> u64 {
        let served = status
            .workers
            .iter()
            .filter_map(|it| it.usage.connections_served);
        served.sum()
    };
    let status = supervisor.wait_status(|status| served(status) >= 40);
    assert_eq!(served(&status), 40);
    let table = supervisor.ctl_ok(["status"]);
    assert!(table.contains("SERVED"), "{table}");
    assert_eq!(status.workers[0].usage.rss, None, "nobody has asked");
}

#[test]
fn a_worker_that_has_grown_is_replaced() {
    let Some(supervisor) = greedy(&["-n", "1", "--max-rss", "100M"]) else {
        return;
    };
    let status = supervisor.wait_serving(1);
    let old = pids(&status);
    let rss = supervisor
        .wait_status(|status| status.workers[0].usage.rss.is_some())
        .workers[0]
        .usage
        .rss;
    assert!(rss > Some(1 << 20) && rss < Some(100 << 20), "{rss:?}");
    ask_for(supervisor.address(), "/grow").unwrap();
    let why = supervisor.wait_line("of memory, and may have 10");
    assert!(
        why.contains("(--max-rss); it is recycled when its turn has come"),
        "{why}"
    );
    supervisor.wait_line("recycling: done, 1 worker of generation 1 serves");
    let status = supervisor.wait_serving(1);
    assert_ne!(pids(&status), old);
    assert_eq!(status.recyclings.done, 1);
    let last = status.recyclings.last.unwrap();
    assert!(last.starts_with("worker 0 has 1"), "{last}");
}

#[test]
fn the_memory_of_children_counts() {
    // Each of the two has less than that.
    let server = r#"
import os, signal, time
if os.fork() == 0:
    x = b"x" * (60 << 20)
    while True:
        time.sleep(1)
y = b"y" * (60 << 20)
import socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(os.environ["TEST_PORT"])))
s.listen()
while True:
    s.accept()[0].close()
"#;
    let Some(builder) = scripted_python(&["-n", "1", "--max-rss", "1G"], server) else {
        return;
    };
    let port = builder.port().to_string();
    let supervisor = builder.env("TEST_PORT", &port).start();
    supervisor.wait_status(|status| {
        let worker = status.workers.first();
        worker.is_some_and(|it| it.usage.rss > Some(120 << 20))
    });
}

#[test]
fn a_worker_that_never_rests_is_replaced() {
    let options = ["-n", "1", "--max-cpu", "20%", "--max-cpu-window", "1s"];
    let Some(supervisor) = greedy(&options) else {
        return;
    };
    supervisor.wait_serving(1);
    ask_for(supervisor.address(), "/spin").unwrap();
    let why = supervisor.wait_line("% of a processor over 1s, and may use 2");
    assert!(why.contains("(--max-cpu)"), "{why}");
    supervisor.wait_line("recycling: done, 1 worker of generation 1 serves");
}

#[test]
fn a_worker_that_is_too_large_when_it_is_ready_has_failed_to_start() {
    let Some(builder) = scripted_python(&["-n", "2", "--max-rss", "100M"], GREEDY) else {
        return;
    };
    let port = builder.port().to_string();
    let builder = builder.env("TEST_PORT", &port);
    touch(builder.directory(), "large");
    let why = refusal(builder.start());
    assert!(
        why.contains("of memory as soon as it is ready, and --max-rss is 100.0 MiB"),
        "{why}"
    );
}

#[test]
fn such_a_generation_does_not_replace_the_one_before() {
    let Some(supervisor) = greedy(&["-n", "2", "--max-rss", "100M"]) else {
        return;
    };
    let old = pids(&supervisor.wait_serving(2));
    touch(supervisor.directory(), "large");
    let output = supervisor.ctl(["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let why = sentence(&output);
    assert!(
        why.contains("and --max-rss is 100.0 MiB") && why.contains("the old generation serves on"),
        "{why}"
    );
    assert_eq!(pids(&supervisor.wait_serving(2)), old);
    // Nor does such a worker replace one that has grown: that serves on, and is not forgotten.
    ask_for(supervisor.address(), "/grow").unwrap();
    let failed = supervisor.wait_line("it could not be replaced and serves on; trying again in");
    assert!(failed.contains("(--max-rss)"), "{failed}");
    supervisor.wait_line("it could not be replaced (failed 2 times) and serves on");
    let status = supervisor.status();
    assert!(status.recyclings.failed >= 2 && status.recyclings.done == 0);
    assert_eq!(pids(&supervisor.wait_serving(2)), old);
}

/// The workers that serve; those of a recycling before may be on their way still.
fn serving(status: &Status) -> Vec<u64> {
    let serving = status.workers.iter().filter(|it| it.phase == "serving");
    serving.map(|it| it.id).collect()
}

/// A client that has asked for something and waits for the end.
fn begin(supervisor: &Supervisor, words: &[&str]) -> std::process::Child {
    let mut client = Command::new(ctl_program());
    let client = client.arg("--socket").arg(supervisor.control()).args(words);
    let client = client.stdout(Stdio::piped()).stderr(Stdio::piped());
    client.spawn().unwrap()
}

#[test]
fn an_operator_is_not_turned_away_for_a_recycling() {
    let supervisor = changeable(&["-n", "2", "--max-age", "1s"]).start();
    supervisor.wait_serving(2);
    // The replacement never listens.
    supervisor.write("behaviour", "--hang");
    let is_recycling = |status: &Status| {
        let starts = status.workers.iter().any(|it| it.phase == "starting");
        status.phase == "recycling" && starts
    };
    let status = supervisor.wait_status(is_recycling);
    let hanging = status.workers.iter().find(|it| it.phase == "starting");
    let hanging = hanging.and_then(|it| it.pid).unwrap();
    let recycled = status.workers.iter().find(|it| it.recycling.is_some());
    let why = recycled.and_then(|it| it.recycling.as_ref()).unwrap();
    assert!(why.contains("(--max-age)"), "{why}");
    let reload = begin(&supervisor, &["reload"]);
    let waits = "reload: a recycling is in progress (starting); this reload begins when";
    supervisor.wait_line(waits);
    let scale = begin(&supervisor, &["scale", "3"]);
    supervisor.wait_line("scale: a recycling is in progress (starting); this scale begins when");
    supervisor.write("behaviour", "");
    send(i32::try_from(hanging).unwrap(), Signal::SIGKILL);
    for client in [reload, scale] {
        let output = client.wait_with_output().unwrap();
        let told = sentence(&output);
        assert!(output.status.success(), "{told}");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(told.contains("waiting"), "{told}");
    }
    assert!(supervisor.status().recyclings.failed >= 1);
}

#[test]
fn a_canary_is_not_disturbed_by_a_recycling() {
    let supervisor = scripted(&["-n", "2", "--max-age", "300ms"], &[]).start();
    supervisor.wait_serving(2);
    let reload = begin(&supervisor, &["reload", "--canary", "50%"]);
    let status = supervisor.wait_status(|status| status.phase == "canary");
    let marked = supervisor.wait_status(|status| {
        let marked = status.workers.iter().filter(|it| it.recycling.is_some());
        marked.count() == 3
    });
    assert_eq!(serving(&marked), serving(&status), "nobody is replaced");
    supervisor.ctl_ok(["promote"]);
    let output = reload.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", sentence(&output));
}

#[test]
fn without_the_right_to_count_nothing_is_started() {
    if !is_root() {
        return;
    }
    let options = ["-n", "1", "--max-connections-served", "500"];
    let (code, line) = complaint(as_nobody(scripted(&options, &[]), 0o755, &[]));
    assert_eq!(code, 3, "{line}");
    assert!(
        line.contains("--max-connections-served: connections are counted by the eBPF program")
            && line.contains("CAP_BPF")
            && line.contains("or use --max-age"),
        "{line}"
    );
}

#[test]
fn a_stop_is_not_kept_waiting_by_recyclings() {
    let mut supervisor = scripted(&["-n", "2", "--max-age", "300ms"], &[]).start();
    supervisor.wait_status(|status| has_recycled(status, 1));
    let load = Load::start(light(supervisor.address())).unwrap();
    supervisor.ctl_ok(["stop"]);
    assert_ends(&mut supervisor, 0);
    load.stop();
}

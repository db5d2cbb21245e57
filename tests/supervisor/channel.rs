//! Workers that talk with the supervisor as programs of Node do: with the one that forked them, and with a cluster's
//! primary.

use std::fs;

use crate::harness::{Builder, Supervisor};
use crate::support::*;

const CLUSTER_JS: &str = include_str!("../fixture/cluster.js");

/// A supervisor of a program of Node; none, after saying so, where there is no Node.
fn scripted_node(options: &[&str], script: &str, arguments: &[&str]) -> Option<Builder> {
    let node = node()?;
    let builder = Supervisor::builder()
        .args(options.iter().copied())
        .file("app.js", script);
    let words = [node.as_str(), "{dir}/app.js"].into_iter();
    Some(builder.command(words.chain(arguments.iter().copied())))
}

fn cluster(options: &[&str]) -> Option<Supervisor> {
    let options = [&["-n", "2", "--channel", "cluster"], options].concat();
    let supervisor = scripted_node(&options, CLUSTER_JS, &["{port}", "127.0.0.1"])?.start();
    supervisor.wait_serving(2);
    Some(supervisor)
}

#[test]
fn a_program_for_nodes_cluster_serves_with_a_listener_for_each_worker_and_reloads_without_loss() {
    let Some(supervisor) = cluster(&[]) else {
        return;
    };
    let at = supervisor.address();
    supervisor.wait_line(&format!("worker 1 listens at {at}"));
    supervisor.wait_line(&format!("worker 2 listens at {at}"));
    assert_eq!(listeners(supervisor.port()).len(), 2);
    for plan in [light(at), light(at).keep_alive()] {
        without_loss(plan, || {
            for _ in 0..3 {
                supervisor.ctl_ok(["reload"]);
            }
        });
    }
    let status = supervisor.wait_serving(2);
    assert!(
        status.generations.iter().any(|it| it.generation == 7),
        "{status:#?}"
    );
}

/// Its stop is that of its primary: it ends by itself, and not of the signal.
#[test]
fn a_worker_of_a_cluster_ends_as_its_primary_has_it_end() {
    let Some(mut supervisor) = cluster(&["--stop-message-timeout", "60s"]) else {
        return;
    };
    let seen = supervisor.lines().len();
    supervisor.ctl_ok(["reload"]);
    let gone = supervisor.wait_line_after(seen, "gone, ");
    assert!(gone.contains("exited with code 0"), "{gone}");
    supervisor.ctl_ok(["stop"]);
    assert_ends(&mut supervisor, 0);
}

/// What it does by itself is the end of a worker, which is replaced like any other.
#[test]
fn a_worker_that_leaves_its_cluster_is_replaced() {
    let Some(supervisor) = cluster(&[]) else {
        return;
    };
    let before = pids(&supervisor.status());
    ask_for(supervisor.address(), "/leave").unwrap();
    supervisor.wait_status(|status| {
        let now = pids(status);
        now.len() == 2 && now.iter().any(|pid| !before.contains(pid))
    });
    supervisor.wait_serving(2);
}

const READY_JS: &str = "
const http = require('node:http');
const fs = require('node:fs');
const name = process.env.REUSEPORT_GENERATION + '.' + process.env.REUSEPORT_WORKER;
const server = http.createServer((request, response) => {
  response.setHeader('X-Worker', name);
  response.end();
});
server.listen(Number(process.argv[2]), '127.0.0.1', () => console.error('listens'));
const timer = setInterval(() => {
  if (!fs.existsSync(process.argv[3])) return;
  clearInterval(timer);
  process.send('ready');
}, 10);
process.on('message', (message) => {
  console.error('heard ' + message + ', connected ' + process.connected);
  if (message === 'shutdown') {
    process.disconnect();
    server.close();
    server.closeIdleConnections();
  }
});
process.on('disconnect', () => console.error('disconnected'));
";

#[test]
fn a_program_says_that_it_is_ready_and_hears_that_it_is_to_stop() {
    let options = [
        "-n",
        "1",
        "--channel",
        "node",
        "--ready",
        "channel",
        "--stop-message",
        "shutdown",
        "--stop-message-timeout",
        "60s",
    ];
    let Some(builder) = scripted_node(&options, READY_JS, &["{port}", "{dir}/go"]) else {
        return;
    };
    let go = builder.directory().join("go");
    let mut supervisor = builder.start();
    supervisor.wait_line("listens");
    let waits = supervisor.status();
    assert!(
        waits.workers.iter().all(|it| it.phase == "starting"),
        "{waits:#?}"
    );
    fs::write(&go, "").unwrap();
    supervisor.wait_serving(1);
    without_loss(light(supervisor.address()).keep_alive(), || {
        supervisor.ctl_ok(["reload"])
    });
    supervisor.wait_line("heard shutdown, connected true");
    supervisor.wait_line("disconnected");
    supervisor.wait_line("gone, exited with code 0");
    supervisor.ctl_ok(["stop"]);
    assert_ends(&mut supervisor, 0);
}

/// Half a line, garbage, a line of 100 MB, and never a look at what is said to it: all of that harms itself alone.
const RUDE_PY: &str = "
import os, sys, threading
from http.server import HTTPServer, BaseHTTPRequestHandler
class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(200)
        self.send_header('X-Worker', os.environ['REUSEPORT_GENERATION'] + '.' + os.environ['REUSEPORT_WORKER'])
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *_): pass
channel = int(os.environ['NODE_CHANNEL_FD'])
def write(data):
    while data: data = data[os.write(channel, data):]
def be_rude():
    write(b'garbage\\n\\xff\\xfe\\n{half}\\n')
    for _ in range(100): write(b'x' * (1 << 20))
    write(b'\\n')
    print('has said all', file=sys.stderr, flush=True)
    while True: write(b'{\"cmd\":\"NODE_CLUSTER\",\"act\":\"online\",\"seq\":1}\\n' * 1000)
server = HTTPServer(('127.0.0.1', {port}), Handler)
threading.Thread(target=be_rude, daemon=True).start()
server.serve_forever()
";

#[test]
fn a_worker_that_talks_badly_harms_nobody_else() {
    let options = ["-n", "1", "--channel", "node"];
    let Some(builder) = scripted_python(&options, RUDE_PY) else {
        return;
    };
    let supervisor = builder.start();
    supervisor.wait_serving(1);
    supervisor.wait_line("is no JSON, and is dropped");
    supervisor.wait_line("bytes over its channel is dropped");
    supervisor.wait_line("has said all");
    supervisor.wait_line("does not read what is said to it over its channel: a message is dropped");
    without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["reload"])
    });
    let memory = status_field(supervisor.pid(), "VmHWM").unwrap();
    let kilobytes: u64 = memory.trim_end_matches(" kB").trim().parse().unwrap();
    assert!(kilobytes < 100_000, "{memory}");
}

/// What a supervisor of ours was given by a program of Node is not the workers'.
#[test]
fn without_a_channel_nothing_is_said_of_one() {
    let builder = scripted(&["-n", "1"], &[]).env("NODE_CHANNEL_FD", "3");
    let supervisor = builder.env("NODE_UNIQUE_ID", "7").start();
    let status = supervisor.wait_serving(1);
    let environment = environment(pids(&status)[0]);
    for name in ["NODE_CHANNEL_FD", "NODE_UNIQUE_ID"] {
        assert_eq!(value(&environment, name), None);
    }
}

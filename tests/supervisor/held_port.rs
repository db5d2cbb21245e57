//! Servers that bind a socket only to keep the port for themselves, as granian's master does, and listen on another.

use nix::sys::signal::Signal;

use crate::support::*;

const SERVER: &str = "
import os, socket
from http.server import HTTPServer, BaseHTTPRequestHandler
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('X-Worker', str(os.getpid()))
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *_): pass
holds = socket.socket()
holds.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
holds.bind(('0.0.0.0', {port}))
server = HTTPServer(('0.0.0.0', {port}), Handler, bind_and_activate=False)
server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
server.server_bind()
server.socket.listen(128)
server.serve_forever()
";

#[track_caller]
fn serves_after_a_kill_and_a_reload(options: &[&str], count: usize) {
    let Some(builder) = scripted_python(options, SERVER) else {
        return;
    };
    let supervisor = builder.start();
    let before = pids(&supervisor.wait_serving(2));
    let queues = listeners(supervisor.port());
    assert_eq!(queues.len(), count);
    send(before[0], Signal::SIGKILL);
    let after = supervisor.wait_status(|status| {
        let now = pids(status);
        let are_serving = status
            .workers
            .iter()
            .all(|worker| worker.phase == "serving");
        now.len() == 2 && are_serving && !now.contains(&before[0])
    });
    assert_eq!(listeners(supervisor.port()), queues, "{after:#?}");
    without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["reload"])
    });
    assert_eq!(listeners(supervisor.port()).len(), count);
}

#[test]
fn with_queues_of_their_own() {
    serves_after_a_kill_and_a_reload(&["-n", "2"], 2);
}

#[test]
fn with_one_queue_for_all() {
    serves_after_a_kill_and_a_reload(&["-n", "2", "--queues", "1"], 1);
}

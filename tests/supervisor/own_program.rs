//! Servers that attach steering programs of their own.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::support::*;

/// Gives its listener a program that leads all connections to the first one of the group: before it is bound, before
/// it listens, and at each request.
const SERVER: &str = "
import ctypes, os, struct
from http.server import HTTPServer, BaseHTTPRequestHandler
code = ctypes.create_string_buffer(struct.pack('HBBI', 0x06, 0, 0, 0))
program = struct.pack('HP', 1, ctypes.addressof(code))
SOL_SOCKET, ATTACH, DETACH = 1, 51, 68
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        listener = self.server.socket
        if self.path == '/detach': listener.setsockopt(SOL_SOCKET, DETACH, 0)
        else: listener.setsockopt(SOL_SOCKET, ATTACH, program)
        self.send_response(200)
        self.send_header('X-Worker', str(os.getpid()))
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *_): pass
server = HTTPServer(('0.0.0.0', {port}), Handler, bind_and_activate=False)
server.socket.setsockopt(SOL_SOCKET, 15, 1)
server.socket.setsockopt(SOL_SOCKET, ATTACH, program)
server.server_bind()
server.socket.setsockopt(SOL_SOCKET, ATTACH, program)
server.socket.listen(128)
server.serve_forever()
";

#[test]
fn a_servers_own_program_takes_nothing_away() {
    let Some(builder) = scripted_python(&["-n", "2"], SERVER) else {
        return;
    };
    let supervisor = builder.start();
    supervisor.wait_serving(2);
    let warning = supervisor.wait_line("a BPF program of its own");
    assert!(warning.contains("WARN"), "{warning}");
    for path in ["/", "/detach"] {
        let answered = RefCell::new(BTreeSet::new());
        supervisor.wait_for("an answer of both workers", || {
            let worker = ask_for(supervisor.address(), path).unwrap();
            answered.borrow_mut().insert(worker);
            (answered.borrow().len() == 2).then_some(())
        });
    }
    without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["reload"])
    });
    // Each worker has asked for it at each request, and is told of once.
    let warnings = supervisor.lines();
    let warnings = warnings
        .iter()
        .filter(|it| it.contains("BPF program of its own"));
    assert_eq!(warnings.count(), 1);
}

//! Servers that choose among listeners by a BPF program of their own.

use std::collections::BTreeSet;

use crate::harness::Supervisor;
use crate::support::*;

const TWO: &[&str] = &["-n", "2"];

/// Says who it is, and at `{moment}` gives its group a program that always answers 0: the first member gets all. What it
/// does to sockets that are nobody else's must be done: one of UDP, and one of TCP on port 0.
const CHOOSY: &str = "
import ctypes, os, socket, struct
from http.server import HTTPServer, BaseHTTPRequestHandler
CBPF, DETACH = 51, 68
RETURN_0 = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0))
def attach(s):
    s.setsockopt(socket.SOL_SOCKET, CBPF, struct.pack('HxxxxxxP', 1, ctypes.addressof(RETURN_0)))
def detach(s):
    s.setsockopt(socket.SOL_SOCKET, DETACH, struct.pack('i', 0))
def shared(kind):
    s = socket.socket(socket.AF_INET, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return s
def has_program(s):
    try: detach(s)
    except FileNotFoundError: return False
    attach(s)
    return True
mine = [shared(socket.SOCK_DGRAM), shared(socket.SOCK_STREAM)]
for s in mine:
    s.bind(('127.0.0.1', 0))
    assert not has_program(s)
    attach(s)
    assert has_program(s)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('X-Worker', os.environ['REUSEPORT_GENERATION'] + '.' + os.environ['REUSEPORT_WORKER'])
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *_): pass
class Server(HTTPServer):
    request_queue_size = 128
    allow_reuse_port = True
server = Server(('0.0.0.0', {port}), Handler, bind_and_activate=False)
moment = '{moment}'
server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
if moment == 'before bind': attach(server.socket)
server.server_bind()
if moment == 'before listen': attach(server.socket)
server.server_activate()
if moment == 'at last': attach(server.socket)
if moment == 'removes it': detach(server.socket)
server.serve_forever()
";

/// Serves, with the options and the moment of the program.
fn choosy(options: &[&str], moment: &str) -> Option<Supervisor> {
    let builder = scripted_python(options, &CHOOSY.replace("{moment}", moment))?;
    let supervisor = builder.start();
    supervisor.wait_serving(2);
    Some(supervisor)
}

/// Both workers get connections, and a reload under load loses none.
fn is_steered_by_us(supervisor: &Supervisor, generation: u32) {
    let answered = std::cell::RefCell::new(BTreeSet::new());
    supervisor.wait_for("an answer of both workers", || {
        let mut answered = answered.borrow_mut();
        answered.insert(ask(supervisor.address()).unwrap());
        (answered.len() == 2).then_some(())
    });
    let ours = |name: &String| name.starts_with(&format!("{generation}."));
    assert!(answered.borrow().iter().all(ours), "{answered:?}");
}

fn is_swallowed(moment: &str) {
    let Some(supervisor) = choosy(TWO, moment) else {
        return;
    };
    is_steered_by_us(&supervisor, 1);
    without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["reload"])
    });
    supervisor.wait_serving(2);
    is_steered_by_us(&supervisor, 2);
    let lines = supervisor.lines();
    let said = lines
        .iter()
        .filter(|line| line.contains("the server's own choice is not made"));
    // Once a generation, however many workers it has.
    assert_eq!(said.count(), 2, "{lines:#?}");
}

#[test]
fn a_program_that_a_server_attaches_to_its_listener_does_not_replace_the_steering() {
    is_swallowed("at last");
}

#[test]
fn a_program_that_is_attached_between_bind_and_listen_does_not_replace_the_steering() {
    is_swallowed("before listen");
}

/// The kernel would give the socket a group of its own, and no later worker could be bound.
#[test]
fn a_program_that_is_attached_before_bind_keeps_nobody_from_binding() {
    is_swallowed("before bind");
}

#[test]
fn a_server_that_removes_the_program_does_not_remove_the_steering() {
    is_swallowed("removes it");
}

#[test]
fn without_steering_the_servers_own_program_decides() {
    let Some(supervisor) = choosy(&["-n", "2", "--steering", "none"], "at last") else {
        return;
    };
    let names: BTreeSet<String> = (0..30)
        .map(|_| ask(supervisor.address()).unwrap())
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let lines = supervisor.lines();
    assert!(
        !lines.iter().any(|line| line.contains("own choice")),
        "{lines:#?}"
    );
}

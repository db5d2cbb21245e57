//! Listeners of servers that know nothing of us.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::sys::signal::Signal;

use crate::harness::{Builder, Supervisor};
use crate::rig::load::Plan;
use crate::rig::server::Kind;
use crate::support::*;

/// Serves, and reloads without loss; returns the supervisor.
#[track_caller]
fn serves_and_reloads(builder: Builder, workers: usize, ip: IpAddr) -> Supervisor {
    let supervisor = builder.start();
    supervisor.wait_serving(workers);
    let address = SocketAddr::new(ip, supervisor.port());
    without_loss(light(address), || supervisor.ctl_ok(["reload"]));
    supervisor.wait_serving(workers);
    supervisor
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const TWO: &[&str] = &["-n", "2"];

#[test]
fn one_address_of_ipv4() {
    serves_and_reloads(scripted(TWO, &["--address", "127.0.0.1"]), 2, V4);
}

#[test]
fn one_address_of_ipv6() {
    serves_and_reloads(scripted(TWO, &["--address", "::1"]), 2, V6);
}

#[test]
fn both_families_with_one_socket() {
    let supervisor = serves_and_reloads(scripted(TWO, &["--dual"]), 2, V6);
    without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["reload"])
    });
    assert_eq!(listeners(supervisor.port()).len(), 2);
}

/// A worker that has both on one port.
const TWO_FAMILIES: &str = "
import http.server, os, socket, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('X-Worker', self.server.family)
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *_): pass
class Four(http.server.ThreadingHTTPServer):
    family, request_queue_size = 'v4', 128
class Six(http.server.ThreadingHTTPServer):
    address_family, family, request_queue_size = socket.AF_INET6, 'v6', 128
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()
six = Six(('::', {port}), Handler)
four = Four(('0.0.0.0', {port}), Handler)
threading.Thread(target=four.serve_forever).start()
six.serve_forever()
";

#[test]
fn both_families_with_a_socket_each_on_one_port() {
    let Some(builder) = scripted_python(TWO, TWO_FAMILIES) else {
        return;
    };
    let supervisor = serves_and_reloads(builder, 2, V6);
    let port = supervisor.port();
    assert_eq!(ask((V4, port).into()).unwrap(), "v4");
    assert_eq!(ask((V6, port).into()).unwrap(), "v6");
    assert_eq!(supervisor.status().endpoints.len(), 2);
    assert_eq!(listeners(port).len(), 4);
}

#[test]
fn several_ports_of_one_worker() {
    let second = crate::rig::port::Reservation::new().unwrap();
    let port = second.port().to_string();
    let supervisor = scripted(TWO, &["--two-ports", &port]).start();
    // Of a first generation nobody knows that there is a second port to come.
    supervisor.wait_status(|status| {
        status.phase == "serving"
            && status.workers.len() == 2
            && status.endpoints.len() == 2
            && status.endpoints.iter().all(|endpoint| endpoint.live == 2)
    });
    let other = SocketAddr::new(V4, second.port());
    without_loss(light(supervisor.address()), || {
        without_loss(light(other), || supervisor.ctl_ok(["reload"]))
    });
    assert_eq!(listeners(second.port()).len(), 2);
}

#[test]
fn several_processes_may_accept() {
    let supervisor = serves_and_reloads(scripted(TWO, &["--fork"]), 2, V4);
    for pid in pids(&supervisor.wait_serving(2)) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        assert_eq!(children.split_ascii_whitespace().count(), 1, "worker {pid}");
    }
}

/// A child process has the listener too, and so much memory that it takes a while to die.
const HEAVY_CHILD: &str = "
import mmap, os, signal
from http.server import HTTPServer, BaseHTTPRequestHandler
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('X-Worker', 'heavy')
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *_): pass
server = HTTPServer(('0.0.0.0', {port}), Handler, bind_and_activate=False)
server.server_bind()
ready, tell = os.pipe()
if os.fork() == 0:
    memory = mmap.mmap(-1, 128 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(15) # MADV_NOHUGEPAGE
    for page in range(0, len(memory), 4096): memory[page] = 1
    os.write(tell, b'.')
    while True: signal.pause()
os.read(ready, 1)
server.socket.listen(128)
server.serve_forever()
";

#[test]
fn a_worker_has_gone_when_all_its_processes_have() {
    let Some(builder) = scripted_python(TWO, HEAVY_CHILD) else {
        return;
    };
    let supervisor = serves_and_reloads(builder, 2, V4);
    let lines = supervisor.lines();
    let held = lines.iter().find(|line| line.contains("is still held by"));
    assert_eq!(held, None);
}

#[test]
fn a_listener_that_is_shut_down_at_the_stop_signal_loses_nothing() {
    for workers in [1, 4] {
        let options = ["-n", &workers.to_string(), "--drain-timeout", "200ms"];
        let builder = scripted(&options, &["--shutdown-on-term"]);
        let supervisor = serves_and_reloads(builder, workers, V4);
        assert_eq!(listeners(supervisor.port()).len(), workers);
    }
}

#[test]
fn a_listener_that_a_grandchild_holds_gets_no_connection() {
    let supervisor = serves_and_reloads(scripted(TWO, &["--grandchild-holds"]), 2, V4);
    supervisor.wait_line("is still held by ");
    // The sleepers cannot accept: a single connection to them would time out.
    let (_, outcome) = without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["reload"])
    });
    assert!(outcome.answered > 0);
}

/// What a server may do to sockets before it serves.
const CLUMSY: &str = "
import os, socket
from http.server import HTTPServer, BaseHTTPRequestHandler
here = os.path.dirname(os.path.abspath(__file__)) + '/' + os.environ['REUSEPORT_GENERATION'] + '.'
def tcp(): 
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return s
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(('127.0.0.1', 0))
udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
local = socket.socket(socket.AF_UNIX)
local.bind(here + os.environ['REUSEPORT_WORKER'] + '.sock')
local.listen()
free = tcp()
free.bind(('127.0.0.1', 0))
free.listen()
assert free.getsockname()[1] != 0
assert free.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
unbound = tcp()
unbound.listen()
for _ in range(3):
    with tcp() as s:
        s.bind(('0.0.0.0', {port}))
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('X-Worker', 'clumsy')
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *_): pass
server = HTTPServer(('0.0.0.0', {port}), Handler, bind_and_activate=False)
server.server_bind()
server.socket.listen(5)
server.socket.listen(128)
server.serve_forever()
";

#[test]
fn only_tcp_on_a_fixed_port_is_managed_and_a_bind_may_be_repeated() {
    let Some(builder) = scripted_python(TWO, CLUMSY) else {
        return;
    };
    let supervisor = serves_and_reloads(builder, 2, V4);
    let status = supervisor.wait_serving(2);
    assert_eq!(status.endpoints.len(), 1, "{status:#?}");
    assert!(
        status
            .workers
            .iter()
            .all(|worker| worker.listeners[0].backlog == 128)
    );
}

/// Listens to see whether the port is free, and then again.
const CAUTIOUS: &str = "
import os, socket
from http.server import HTTPServer, BaseHTTPRequestHandler
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('X-Worker', 'cautious')
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *_): pass
class Server(HTTPServer):
    request_queue_size = 128
for _ in range(2):
    Server(('0.0.0.0', {port}), Handler).server_close()
Server(('0.0.0.0', {port}), Handler).serve_forever()
";

#[test]
fn a_listener_that_was_closed_and_opened_again_is_one_listener() {
    let Some(builder) = scripted_python(TWO, CAUTIOUS) else {
        return;
    };
    let supervisor = serves_and_reloads(builder, 2, V4);
    let status = supervisor.wait_serving(2);
    assert_eq!(listeners(supervisor.port()).len(), 2, "{status:#?}");
}

/// Makes a socket of Multipath TCP, if the kernel has it.
const MULTIPATH: &str = "
import socket
from http.server import HTTPServer, BaseHTTPRequestHandler
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        protocol = self.server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
        self.send_header('X-Worker', str(protocol))
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *_): pass
server = HTTPServer(('0.0.0.0', {port}), Handler, bind_and_activate=False)
server.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.server_bind()
server.socket.listen(128)
server.serve_forever()
";

#[test]
fn multipath_tcp_becomes_plain_tcp() {
    const IPPROTO_MPTCP: i32 = 262;
    let kind = socket2::Type::STREAM;
    if socket2::Socket::new(socket2::Domain::IPV4, kind, Some(IPPROTO_MPTCP.into())).is_err() {
        return skipped("a kernel with Multipath TCP");
    }
    let Some(builder) = scripted_python(TWO, MULTIPATH) else {
        return;
    };
    let supervisor = serves_and_reloads(builder, 2, V4);
    assert_eq!(ask(supervisor.address()).unwrap(), "6");
}

/// Binds and listens again and again while signals come, each of which restarts the call.
const STORM: &str = "
import os, signal, socket, threading, time
signal.signal(signal.SIGURG, lambda *_: None)
signal.siginterrupt(signal.SIGURG, False)
def storm():
    while True:
        os.kill(os.getpid(), signal.SIGURG)
        time.sleep(0.001)
threading.Thread(target=storm, daemon=True).start()
from http.server import HTTPServer, BaseHTTPRequestHandler
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('X-Worker', 'storm')
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *_): pass
for _ in range(100):
    with socket.socket() as s:
        s.bind(('0.0.0.0', {port}))
server = HTTPServer(('0.0.0.0', {port}), Handler)
for _ in range(100):
    server.socket.listen(128)
server.serve_forever()
";

#[test]
fn signals_during_bind_and_listen_do_no_harm() {
    let Some(builder) = scripted_python(TWO, STORM) else {
        return;
    };
    serves_and_reloads(builder, 2, V4);
}

fn of_kind(kind: Kind) {
    if let Some(builder) = real(TWO, kind, Ipv4Addr::UNSPECIFIED.into()) {
        serves_and_reloads(builder, 2, V4);
    }
}

#[test]
fn a_static_binary() {
    of_kind(Kind::Static);
}

#[test]
fn go() {
    of_kind(Kind::Go);
}

#[test]
fn node() {
    of_kind(Kind::Node);
}

#[test]
fn python_as_it_comes() {
    if let Some(builder) = real(TWO, Kind::PythonPlain, Ipv4Addr::UNSPECIFIED.into()) {
        // Its queue is of 5; one client at a time does not overflow it.
        let supervisor = builder.start();
        supervisor.wait_serving(2);
        let one = Plan {
            connections: 1,
            ..light(supervisor.address())
        };
        without_loss(one, || supervisor.ctl_ok(["reload"]));
    }
}

#[test]
fn nginx_with_a_master() {
    of_kind(Kind::NginxMaster);
}

#[test]
fn gunicorn_with_several_processes() {
    if let Some(builder) = real(TWO, Kind::Gunicorn, Ipv4Addr::UNSPECIFIED.into()) {
        serves_and_reloads(builder.env("WEB_CONCURRENCY", "2"), 2, V4);
    }
}

#[test]
fn uvicorn() {
    of_kind(Kind::Uvicorn);
}

/// Its listener is or is not blocking, and is or is not closed on exec.
const FLAGS: &str = "
import os, selectors, socket, sys
even = int(os.environ['REUSEPORT_WORKER']) % 2 == 0
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setblocking(even)
listener.set_inheritable(not even)
listener.bind(('0.0.0.0', {port}))
listener.listen(128)
poll = selectors.DefaultSelector()
poll.register(listener, selectors.EVENT_READ)
while poll.select():
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        continue
    with connection:
        connection.setblocking(True)
        connection.recv(4096)
        connection.send(b'HTTP/1.1 200 OK\\r\\nX-Worker: flags\\r\\nContent-Length: 0\\r\\n\\r\\n')
";

#[test]
fn a_socket_that_is_replaced_keeps_the_workers_flags() {
    let Some(builder) = scripted_python(TWO, FLAGS) else {
        return;
    };
    let supervisor = builder.start();
    let before = pids(&supervisor.wait_serving(2));
    let flags = before
        .iter()
        .map(|pid| listener_flags(*pid, supervisor.port()));
    let expected: Vec<(bool, bool)> = flags.collect();
    assert_eq!(expected, [(false, true), (true, false)]);
    let inodes = listeners(supervisor.port());
    before.iter().for_each(|pid| send(*pid, Signal::SIGKILL));
    let status = supervisor.wait_status(|status| {
        let now = pids(status);
        status
            .workers
            .iter()
            .all(|worker| worker.phase == "serving")
            && now.len() == 2
            && now.iter().all(|pid| !before.contains(pid))
    });
    let flags = pids(&status)
        .into_iter()
        .map(|pid| listener_flags(pid, supervisor.port()));
    assert_eq!(flags.collect::<Vec<_>>(), expected);
    assert_eq!(sorted(listeners(supervisor.port())), sorted(inodes));
    assert_eq!(ask(supervisor.address()).unwrap(), "flags");
}

fn sorted(mut inodes: Vec<u64>) -> Vec<u64> {
    inodes.sort_unstable();
    inodes
}

/// Whether a worker's listener is nonblocking, and whether it is closed on exec.
fn listener_flags(pid: i32, port: u16) -> (bool, bool) {
    let listeners = listeners(port);
    let directory = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let is_listener = |entry: &fs::DirEntry| {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy().into_owned();
        listeners
            .iter()
            .any(|inode| target == format!("socket:[{inode}]"))
    };
    let entry = directory.flatten().find(is_listener).unwrap();
    let number = entry.file_name();
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", number.display())).unwrap();
    let flags = i32::from_str_radix(&field(&info, "flags").unwrap(), 8).unwrap();
    (flags & libc::O_NONBLOCK != 0, flags & libc::O_CLOEXEC != 0)
}

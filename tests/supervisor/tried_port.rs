//! Servers that first try whether their port is free, as CherryPy does, and find the old generation there.

use crate::support::*;

const SERVER: &str = "
import socket, sys
from http.server import HTTPServer, BaseHTTPRequestHandler
trial = socket.socket()
if trial.connect_ex(('127.0.0.1', {port})) == 0:
    trial.close()
    sys.exit('Port {port} is in use')
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('X-Worker', 'some')
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *_): pass
HTTPServer(('0.0.0.0', {port}), Handler).serve_forever()
";

#[test]
fn a_failure_names_the_trial_of_the_port() {
    let Some(builder) = scripted_python(&["-n", "1"], SERVER) else {
        return;
    };
    let supervisor = builder.start();
    supervisor.wait_serving(1);
    let output = supervisor.ctl(["reload"]);
    let sentence = String::from_utf8_lossy(&output.stderr);
    let expected = format!(
        "exited with code 1 before it was ready; a process of this host connected to 0.0.0.0:{} meanwhile",
        supervisor.port()
    );
    assert!(sentence.contains(&expected), "{sentence}");
    assert!(sentence.contains("is in use"), "{sentence}");
}

#[test]
fn a_failure_without_a_trial_names_none() {
    let supervisor = changeable(&["-n", "1"]).start();
    supervisor.wait_serving(1);
    ask(supervisor.address()).unwrap();
    supervisor.write("behaviour", "--exit 5");
    let output = supervisor.ctl(["reload"]);
    let sentence = String::from_utf8_lossy(&output.stderr);
    assert!(sentence.contains("exited with code 5"), "{sentence}");
    assert!(!sentence.contains("connected to"), "{sentence}");
}

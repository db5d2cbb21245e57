//! The control socket: what it tells is true, and no client can do harm.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use nix::sys::signal::Signal;

use crate::harness::{Supervisor, ctl_program};
use crate::support::*;

fn two() -> Supervisor {
    let supervisor = scripted(&["-n", "2"], &[]).start();
    supervisor.wait_serving(2);
    supervisor
}

fn connect(supervisor: &Supervisor) -> UnixStream {
    connect_to(supervisor.control())
}

fn connect_to(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Reads until the supervisor hangs up.
fn read_all(mut stream: &UnixStream) -> String {
    let mut answer = Vec::new();
    // It may hang up with a reset, when it has not read all.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

const STATUS: &[u8] = b"{\"verb\":\"status\"}\n";

#[test]
fn only_its_user_may_use_it() {
    let supervisor = two();
    let mode = fs::metadata(supervisor.control())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn another_user_is_turned_away_even_where_the_mode_allows_it() {
    if !is_root() {
        return;
    }
    let supervisor = two();
    let open = fs::Permissions::from_mode(0o666);
    fs::set_permissions(supervisor.control(), open).unwrap();
    fs::set_permissions(supervisor.directory(), fs::Permissions::from_mode(0o755)).unwrap();
    // The client's own program may be where that user cannot look, so the shell's is not used.
    let script = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n\
                  try: s.sendall(b'{\"verb\":\"stop\"}\\n'); print(s.recv(100))\n\
                  except OSError as error: print(error)";
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "/usr/bin/python3",
        "-c",
        script,
    ]);
    let Ok(output) = command.arg(supervisor.control()).output() else {
        return skipped("setpriv");
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return skipped(&format!("a Python for all users: {said}"));
    }
    supervisor.wait_line("a client of user 65534 was turned away");
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!answer.contains("reply"), "{answer}");
    supervisor.wait_serving(2);
}

#[test]
fn one_that_lives_is_not_replaced() {
    let first = two();
    let text = first.control().display().to_string();
    let mut second = Supervisor::builder()
        .through_shell(r#"program=$1; shift 3; exec "$program" "$@""#)
        .args(["-n", "1", "--control", &text])
        .fixture("misbehave", ["--port", "{port}"])
        .start();
    assert_eq!(second.wait_exit(), 3);
    let line = second.wait_line("a supervisor answers on ");
    assert!(
        line.contains("give this one another --name or --control"),
        "{line}"
    );
    assert_eq!(second.lines().len(), 1);
    first.wait_serving(2);
}

#[test]
fn a_hundred_clients_at_once_are_answered() {
    let supervisor = two();
    let socket = supervisor.control();
    let ask = || {
        let mut stream = connect_to(socket);
        stream.write_all(STATUS).unwrap();
        read_all(&stream)
    };
    thread::scope(|scope| {
        // Of more than 128, with those that have asked before and are still there, one that has connected and said
        // nothing yet makes room: on a busy machine an honest one.
        let clients: Vec<_> = (0..100).map(|_| scope.spawn(ask)).collect();
        for client in clients {
            let answer = client.join().unwrap();
            assert!(
                answer.starts_with("{\"reply\":\"status\"") && answer.ends_with('\n'),
                "{answer}"
            );
        }
    });
}

#[test]
fn what_is_not_understood_is_said() {
    let supervisor = two();
    for garbage in [
        "hello\n",
        "\n",
        "{\"verb\":\"reload\",\"canary\":{\"percent\":0,\"workers\":1}}\n",
        "{\"verb\":\"reload\",\"canary\":{\"percent\":100,\"workers\":1}}\n",
        "{\"verb\":\"reload\",\"canary\":{\"percent\":10,\"workers\":0}}\n",
        "{}\n",
        "{\"verb\":\"fly\"}\n",
        "\u{0}\u{7f}\n",
        "[[[[[[\n",
        "{\"verb\":\"scale\",\"to\":{\"exactly\":-1}}\n",
    ] {
        let mut stream = connect(&supervisor);
        stream.write_all(garbage.as_bytes()).unwrap();
        let answer = read_all(&stream);
        assert!(
            answer.contains("\"denied\"") && answer.contains("not understood"),
            "{garbage:?}: {answer}"
        );
    }
    supervisor.wait_serving(2);
}

#[test]
fn rude_clients_are_bounded_and_others_are_served() {
    let supervisor = two();
    let before = memory(&supervisor);
    let mut rude = Vec::new();
    for round in 0..200 {
        let mut stream = connect(&supervisor);
        // Which of these writes succeeds does not matter.
        let _ = match round % 4 {
            0 => stream.write_all(b"{\"verb\":"),
            1 => stream.write_all(&[b'x'; 1 << 20]),
            2 => stream.write_all(STATUS),
            _ => stream
                .write_all(STATUS)
                .and_then(|()| stream.shutdown(Shutdown::Both)),
        };
        rude.push(stream);
        if round % 20 == 0 {
            supervisor.wait_serving(2);
        }
    }
    supervisor.wait_serving(2);
    let after = memory(&supervisor);
    assert!(after < before + 8 * 1024, "from {before} kB to {after} kB");
    drop(rude);
    supervisor.ctl_ok(["reload"]);
}

/// What a supervisor has in memory, in kB.
fn memory(supervisor: &Supervisor) -> u64 {
    let text = status_field(supervisor.pid(), "VmRSS").unwrap();
    text.trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn the_status_is_what_is() {
    let supervisor = two();
    let status = supervisor.status();
    assert_eq!(i32::try_from(status.pid).unwrap(), supervisor.pid());
    assert_eq!(status.name, "misbehave");
    assert_eq!(status.generations.len(), 1);
    let endpoint = &status.endpoints[0];
    assert_eq!(endpoint.address, format!("0.0.0.0:{}", supervisor.port()));
    assert_eq!(
        (endpoint.listeners, endpoint.live, endpoint.queue),
        (2, 2, 0)
    );
    let members = supervisor.members();
    assert!(pids(&status).iter().all(|pid| members.contains(pid)));
    let table = supervisor.ctl_ok(["status"]);
    for worker in &status.workers {
        assert!(table.contains(&worker.pid.unwrap().to_string()), "{table}");
    }
    assert!(
        table.contains(&endpoint.address) && table.contains("serving"),
        "{table}"
    );
}

#[test]
fn open_connections_are_counted_by_worker() {
    let supervisor = two();
    let connections: Vec<TcpStream> = (0..6)
        .map(|_| TcpStream::connect(supervisor.address()).unwrap())
        .collect();
    let status = supervisor.wait_status(|status| {
        let by_worker: Option<u64> = status.workers.iter().map(|worker| worker.connections).sum();
        status.endpoints[0].connections == Some(6) && by_worker == Some(6)
    });
    assert_eq!(status.endpoints[0].queue, 0);
    drop(connections);
    supervisor.wait_status(|status| status.endpoints[0].connections == Some(0));
}

#[test]
fn what_waits_in_queues_is_counted() {
    let supervisor = scripted(&["-n", "1"], &[]).start();
    let worker = pids(&supervisor.wait_serving(1))[0];
    send(worker, Signal::SIGSTOP);
    supervisor.wait_for("all its threads to stop", || {
        is_stopped(worker).then_some(())
    });
    let waiting: Vec<TcpStream> = (0..5)
        .map(|_| TcpStream::connect(supervisor.address()).unwrap())
        .collect();
    let status = supervisor.wait_status(|status| status.endpoints[0].queue == 5);
    let listener = &status.workers[0].listeners[0];
    assert_eq!(
        (listener.queue, listener.backlog, listener.live),
        (5, 128, true)
    );
    send(worker, Signal::SIGCONT);
    supervisor.wait_status(|status| status.endpoints[0].queue == 0);
    drop(waiting);
}

#[test]
fn nobody_there_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none.sock");
    let mut command = Command::new(ctl_program());
    let output = command
        .arg("--socket")
        .arg(&socket)
        .arg("status")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_client_that_waits_for_a_reload_is_told_when_the_supervisor_stops() {
    let supervisor = changeable(&["-n", "1"]).start();
    supervisor.wait_serving(1);
    supervisor.write("behaviour", "--hang");
    let mut stream = connect(&supervisor);
    stream.write_all(b"{\"verb\":\"reload\"}\n").unwrap();
    supervisor.wait_status(|status| status.phase == "reloading");
    supervisor.signal(Signal::SIGTERM);
    let answer = read_all(&stream);
    assert!(
        answer.contains("the supervisor was told to stop"),
        "{answer}"
    );
}

#[test]
fn a_socket_whose_file_is_removed_is_made_again() {
    let supervisor = two();
    let notify = supervisor.directory().join("ctl.sock.notify");
    for path in [supervisor.control(), &notify] {
        fs::remove_file(path).unwrap();
        supervisor.wait_for("the file", || path.exists().then_some(()));
    }
    supervisor.wait_line("made the control socket");
    supervisor.ctl_ok(["reload"]);
    let mut supervisor = supervisor;
    supervisor.signal(Signal::SIGTERM);
    assert_ends(&mut supervisor, 0);
}

#[test]
fn a_socket_that_could_not_be_made_again_is_tried_anew_at_hup() {
    let supervisor = two();
    supervisor.write("ctl.sock", "something else");
    supervisor.wait_line("is gone and cannot be made again: ");
    fs::remove_file(supervisor.control()).unwrap();
    supervisor.signal(Signal::SIGHUP);
    supervisor.wait_status(|status| status.reloads == 1 && status.phase == "serving");
}

//! Listeners that are made for the workers and passed to them (`--listen`).

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};

use nix::sys::signal::Signal;

use crate::harness::{Builder, Supervisor, ctl_program, fixture, supervisor_program};
use crate::rig::load::Plan;
use crate::rig::port::Reservation;
use crate::support::*;

/// Takes the sockets that it is passed and never calls listen; each answers its own number.
const TAKER: &str = "
import os, socket, threading
def serve(number):
    listener = socket.socket(fileno=number)
    name = '{}.{}.{}'.format(os.environ['REUSEPORT_GENERATION'], os.environ['REUSEPORT_WORKER'], number)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection, name)).start()
def answer(connection, name):
    with connection:
        connection.recv(4096)
        connection.send(('HTTP/1.1 200 OK\\r\\nX-Worker: %s\\r\\nContent-Length: 0\\r\\n\\r\\n' % name).encode())
for number in range(3, 3 + int(os.environ['LISTEN_FDS'])):
    threading.Thread(target=serve, args=(number,)).start()
";

fn taker(options: &[&str]) -> Option<Builder> {
    scripted_python(
        &[&["-n", "2", "--listen", "127.0.0.1:{port}"], options].concat(),
        TAKER,
    )
}

#[test]
fn a_passed_socket_goes_by_all_its_names() {
    let second = Reservation::new().unwrap();
    let other = format!("127.0.0.1:{}", second.port());
    let Some(builder) = taker(&["--listen", &other]) else {
        return;
    };
    let supervisor = builder.start();
    let status = supervisor.wait_serving(2);
    let port = supervisor.port();
    for worker in &status.workers {
        let pid = i32::try_from(worker.pid.unwrap()).unwrap();
        let environment = environment(pid);
        let expected = [
            ("LISTEN_FDS", "2".to_owned()),
            ("LISTEN_PID", pid.to_string()),
            ("LISTEN_FDNAMES", format!("{port}:{}", second.port())),
            (
                "SERVER_STARTER_PORT",
                format!("127.0.0.1:{port}=3;{other}=4"),
            ),
            ("SERVER_STARTER_GENERATION", "1".to_owned()),
            ("EINHORN_FD_COUNT", "2".to_owned()),
            ("EINHORN_FD_0", "3".to_owned()),
            ("EINHORN_FD_1", "4".to_owned()),
            ("PORT", port.to_string()),
        ];
        for (name, expected) in expected {
            assert_eq!(value(&environment, name), Some(expected.as_str()), "{name}");
        }
    }
    assert!(ask(supervisor.address()).unwrap().ends_with(".3"));
    assert!(
        ask((Ipv4Addr::LOCALHOST, second.port()).into())
            .unwrap()
            .ends_with(".4")
    );
}

#[test]
fn the_commands_arguments_are_filled_in() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("configuration.toml");
    let script = "import sys, os; open(sys.argv[5] + sys.argv[3], 'w').write(' '.join(sys.argv[1:5])); exec(open(sys.argv[6]).read())";
    // Not as an argument here: the harness fills in its own {port}.
    let arguments = ["-c", script, "{fd}", "{port}", "{worker}", "{generation}"];
    let words: Vec<String> = [python.as_str()]
        .iter()
        .chain(&arguments)
        .map(ToString::to_string)
        .collect();
    let seen = directory.path().join("seen.").display().to_string();
    let server = directory.path().join("server.py").display().to_string();
    fs::write(&server, TAKER).unwrap();
    let words: Vec<String> = words.into_iter().chain([seen.clone(), server]).collect();
    let command = format!("command = {}\n", serde_json::to_string(&words).unwrap());
    fs::write(&configuration, command).unwrap();
    let supervisor = Supervisor::builder()
        .args(["-n", "2", "--listen", "127.0.0.1:{port}", "--config"])
        .args([configuration.display().to_string()])
        .start();
    supervisor.wait_serving(2);
    for slot in 0..2 {
        let expected = format!("3 {} {slot} 1", supervisor.port());
        assert_eq!(
            fs::read_to_string(format!("{seen}{slot}")).unwrap(),
            expected
        );
    }
}

#[test]
fn a_server_that_takes_the_socket_is_ready_when_it_accepts_and_reloads() {
    let Some(builder) = taker(&[]) else { return };
    let supervisor = builder.start();
    supervisor.wait_serving(2);
    let (_, outcome) = without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["reload"])
    });
    assert!(
        outcome.workers.keys().any(|name| name.starts_with("2.")),
        "{outcome:#?}"
    );
    assert_eq!(listeners(supervisor.port()).len(), 2);
}

#[test]
fn a_server_that_binds_the_address_itself_gets_the_prepared_socket() {
    let options = ["-n", "2", "--listen", "0.0.0.0:{port}"];
    let supervisor = scripted(&options, &[]).start();
    let status = supervisor.wait_serving(2);
    assert_eq!(listeners(supervisor.port()).len(), 2, "{status:#?}");
    without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["reload"])
    });
    assert_eq!(listeners(supervisor.port()).len(), 2);
}

#[test]
fn a_crashed_workers_socket_is_passed_on() {
    let Some(builder) = taker(&[]) else { return };
    let supervisor = builder.start();
    let before = pids(&supervisor.wait_serving(2));
    let mut inodes = listeners(supervisor.port());
    before.iter().for_each(|pid| send(*pid, Signal::SIGKILL));
    supervisor.wait_status(|status| {
        let serving = status
            .workers
            .iter()
            .filter(|worker| worker.phase == "serving");
        serving.count() == 2 && pids(status).iter().all(|pid| !before.contains(pid))
    });
    let mut now = listeners(supervisor.port());
    inodes.sort_unstable();
    now.sort_unstable();
    assert_eq!(now, inodes);
    assert!(ask(supervisor.address()).is_ok());
}

#[test]
fn ipv6_is_passed_too() {
    let Some(builder) = scripted_python(&["-n", "2", "--listen", "[::]:{port}"], TAKER) else {
        return;
    };
    let supervisor = builder.start();
    supervisor.wait_serving(2);
    let six = (Ipv6Addr::LOCALHOST, supervisor.port()).into();
    without_loss(light(six), || supervisor.ctl_ok(["reload"]));
    // [::] takes both families.
    assert!(ask(supervisor.address()).is_ok());
}

#[test]
fn all_generations_may_share_the_sockets() {
    let Some(builder) = taker(&["--steering", "none"]) else {
        return;
    };
    let supervisor = builder.start();
    supervisor.wait_serving(2);
    let inodes = listeners(supervisor.port());
    supervisor.ctl_ok(["reload"]);
    assert_eq!(listeners(supervisor.port()), inodes);
    assert!(ask(supervisor.address()).unwrap().starts_with("2."));
}

#[test]
fn uvicorn_takes_a_descriptor() {
    let builder = real(
        &["-n", "2"],
        crate::rig::server::Kind::Uvicorn,
        Ipv4Addr::LOCALHOST.into(),
    );
    let Some(builder) = builder else { return };
    let Some(python) = python() else { return };
    let app = [
        "-m",
        "uvicorn",
        "--fd",
        "{fd}",
        "--app-dir",
        "{dir}",
        "--log-level",
        "warning",
        "app:asgi",
    ];
    let command = [python.as_str()].into_iter().chain(app);
    let supervisor = builder
        .args(["--listen", "127.0.0.1:{port}"])
        .command(command)
        .start();
    supervisor.wait_serving(2);
    let plan = Plan {
        connections: 2,
        ..light(supervisor.address())
    };
    without_loss(plan, || supervisor.ctl_ok(["reload"]));
}

/// A supervisor whose worker is a supervisor.
fn nested(inner: &str) -> Builder {
    let inner_program = supervisor_program().display().to_string();
    let script = format!("exec {inner_program} --control {{dir}}/inner.sock {inner}");
    Supervisor::builder()
        .args(["-n", "1"])
        .command(["sh", "-c", &script])
}

#[test]
fn one_in_another_says_that_it_needs_listen() {
    let program = fixture("misbehave").display().to_string();
    let mut supervisor = nested(&format!("-n 2 {program} --port {{port}}")).start();
    assert_ends(&mut supervisor, 3);
    let sentence = supervisor.wait_line("exited with code 3");
    assert!(sentence.contains("ERROR start failed: "), "{sentence}");
    assert!(
        sentence.contains("seccomp notifications do not nest"),
        "{sentence}"
    );
    assert!(sentence.contains("use --listen ADDR"), "{sentence}");
}

#[test]
fn one_in_another_works_with_listen() {
    let Some(python) = python() else { return };
    let inner = format!("-n 2 --listen 127.0.0.1:{{port}} {python} {{dir}}/server.py");
    let supervisor = nested(&inner).file("server.py", TAKER).start();
    supervisor.wait_serving(1);
    let socket = supervisor.directory().join("inner.sock");
    let status = || {
        let mut command = std::process::Command::new(ctl_program());
        let output = command
            .arg("--socket")
            .arg(&socket)
            .args(["status", "--json"])
            .output()
            .unwrap();
        serde_json::from_slice::<reuseport_run::wire::control::Status>(&output.stdout).ok()
    };
    supervisor.wait_for("the inner one to serve", || {
        status().filter(|status| status.phase == "serving" && status.workers.len() == 2)
    });
    assert!(ask(supervisor.address()).unwrap().starts_with("1."));
}

//! What workers, and others, say to `NOTIFY_SOCKET`.

use std::io::{IoSlice, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use crate::harness::{Supervisor, fixture};
use crate::support::*;

fn notify_socket(supervisor: &Supervisor) -> PathBuf {
    supervisor.directory().join("ctl.sock.notify")
}

/// As sd_notify_barrier(3) does: returns when the descriptor that is sent along is closed.
fn barrier(supervisor: &Supervisor) {
    let (mut end, other) = UnixStream::pair().unwrap();
    end.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    let descriptors = [other.as_raw_fd()];
    let address = UnixAddr::new(&notify_socket(supervisor)).unwrap();
    let sent = sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(b"BARRIER=1")],
        &[ControlMessage::ScmRights(&descriptors)],
        MsgFlags::empty(),
        Some(&address),
    );
    sent.unwrap();
    drop(other);
    assert_eq!(end.read_to_end(&mut Vec::new()).unwrap(), 0);
}

/// What it has warned of until now: a line that comes after all others has been read.
fn warnings(supervisor: &Supervisor) -> Vec<String> {
    supervisor.signal(Signal::SIGUSR1);
    supervisor.wait_line("asked for by signal USR1");
    let lines = supervisor.lines().into_iter();
    lines
        .filter(|line| line.contains(" WARN  a notification ") || line.contains("notifications"))
        .collect()
}

#[test]
fn a_barrier_is_answered_by_closing_its_descriptor() {
    let supervisor = scripted(&["-n", "1"], &[]).start();
    supervisor.wait_serving(1);
    barrier(&supervisor);
    assert_eq!(warnings(&supervisor), Vec::<String>::new());
}

#[test]
fn a_worker_may_speak_by_systemd_notify() {
    if Command::new("systemd-notify")
        .arg("--version")
        .output()
        .is_err()
    {
        return skipped("systemd-notify");
    }
    let program = fixture("misbehave").display().to_string();
    let script = r#"systemd-notify --ready; exec "$0" --port {port}"#;
    let supervisor = Supervisor::builder()
        .args(["-n", "2", "--ready", "notify"])
        .command(["sh", "-c", script, &program])
        .start();
    supervisor.wait_serving(2);
    assert_eq!(warnings(&supervisor), Vec::<String>::new());
}

#[test]
fn strangers_are_warned_of_once() {
    let supervisor = scripted(&["-n", "1"], &[]).start();
    supervisor.wait_serving(1);
    let socket = UnixDatagram::unbound().unwrap();
    let address = notify_socket(&supervisor);
    for _ in 0..500 {
        socket.send_to(b"READY=1\n\xff\xff", &address).unwrap();
    }
    barrier(&supervisor);
    supervisor.wait_line("which is no worker's; it is passed over");
    assert_eq!(warnings(&supervisor).len(), 1);
}

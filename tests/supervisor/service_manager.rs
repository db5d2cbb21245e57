//! What a service manager is told, and that the units in `deploy/` are ones that it takes.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Builder, Supervisor, ctl_program, supervisor_program};
use crate::support::*;

/// A service manager's end: a socket to which the supervisor tells of itself.
struct Manager(UnixDatagram);

impl Manager {
    fn of(builder: Builder) -> (Self, Supervisor) {
        let socket = UnixDatagram::bind(builder.directory().join("manager")).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let supervisor = builder.env("NOTIFY_SOCKET", "{dir}/manager").start();
        (Self(socket), supervisor)
    }

    /// The lines of the next notification.
    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        // Where a time-out is set, a stop and a continuation of this process interrupt it (signal(7)).
        let length = loop {
            match self.0.recv(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received.expect("a notification"),
            }
        };
        let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The next notification that is more than a status.
    fn next_state(&self) -> Vec<String> {
        let is_state = |line: &String| !line.starts_with("STATUS=");
        loop {
            let lines = self.next();
            if lines.iter().any(is_state) {
                return lines;
            }
        }
    }

    /// Waits for a notification that is more than a status; it must begin with this line.
    #[track_caller]
    fn expect(&self, first: &str) -> Vec<String> {
        let lines = self.next_state();
        assert_eq!(lines[0], first, "{lines:?}");
        lines
    }
}

fn usec(lines: &[String]) -> u64 {
    let value = lines
        .iter()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    value.unwrap().parse().unwrap()
}

fn monotonic_usec() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    u64::try_from(Duration::from(now).as_micros()).unwrap()
}

#[test]
fn it_hears_of_the_start_of_each_reload_and_of_the_end() {
    let (manager, mut supervisor) = Manager::of(scripted(&["-n", "2"], &[]));
    let ready = manager.expect("READY=1");
    assert_eq!(ready[1], "STATUS=serving");
    supervisor.wait_serving(2);

    let before = monotonic_usec();
    supervisor.signal(Signal::SIGHUP);
    // systemd takes a reload for the one that it asked for only if it began after its signal.
    let reloading = manager.expect("RELOADING=1");
    assert!((before..=monotonic_usec()).contains(&usec(&reloading)));
    manager.expect("READY=1");
    supervisor.ctl_ok(["reload"]);
    manager.expect("RELOADING=1");
    manager.expect("READY=1");

    supervisor.signal(Signal::SIGTERM);
    manager.expect("STOPPING=1");
    assert_ends(&mut supervisor, 0);
}

#[test]
fn it_hears_of_no_start_before_the_workers_serve() {
    let options = ["-n", "2", "--ready", "notify"];
    let builder = scripted(&options, &["--notify", "{dir}/ready"]);
    let (manager, supervisor) = Manager::of(builder);
    assert_eq!(manager.next(), ["STATUS=start: starting (generation 1)"]);
    touch(supervisor.directory(), "ready");
    assert_eq!(manager.next(), ["STATUS=start: serving (generation 1)"]);
    manager.expect("READY=1");
}

#[test]
fn a_start_that_fails_is_never_ready() {
    let builder = scripted(&["-n", "1"], &["--exit", "7"]);
    let (manager, mut supervisor) = Manager::of(builder);
    manager.expect("STOPPING=1");
    assert_eq!(supervisor.wait_exit(), 3);
}

#[test]
fn a_reload_that_cannot_begin_is_begun_and_over() {
    let builder = scripted(&["-n", "1", "--env-file", "{dir}/variables"], &[]);
    let builder = builder.file("variables", "A=1\n");
    let (manager, supervisor) = Manager::of(builder);
    manager.expect("READY=1");
    supervisor.wait_serving(1);
    supervisor.write("variables", "nonsense\n");
    for _ in 0..2 {
        supervisor.signal(Signal::SIGHUP);
        manager.expect("RELOADING=1");
        let ready = manager.expect("READY=1");
        assert!(ready[1].contains("line 1: give NAME=VALUE"), "{ready:?}");
    }
    supervisor.write("variables", "A=2\n");
    supervisor.ctl_ok(["reload"]);
    manager.expect("RELOADING=1");
    assert_eq!(manager.expect("READY=1")[1], "STATUS=serving");
}

#[test]
fn a_reload_that_fails_is_over_and_says_why() {
    let (manager, supervisor) = Manager::of(changeable(&["-n", "1"]));
    manager.expect("READY=1");
    supervisor.write("behaviour", "--exit 7");
    supervisor.signal(Signal::SIGHUP);
    manager.expect("RELOADING=1");
    let over = manager.expect("READY=1");
    assert!(over[1].contains("reload failed"), "{over:?}");
}

#[test]
fn an_empty_name_is_no_service_manager() {
    let supervisor = scripted(&["-n", "1"], &[]).env("NOTIFY_SOCKET", "").start();
    supervisor.wait_line("start: done");
    let lines = supervisor.lines();
    let warned = lines.iter().any(|line| line.contains("service manager"));
    assert!(!warned, "{lines:#?}");
}

/// The units, with the programs of this build in the place of those that they name.
fn verify(unit: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("deploy").join(unit)).unwrap();
    let program = |path: std::path::PathBuf| path.display().to_string();
    let text = text
        .replace("/usr/bin/reuseport-run", &program(supervisor_program()))
        .replace("/usr/bin/reuseport-ctl", &program(ctl_program()))
        .replace("/usr/local/bin/server", "/bin/true");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(unit);
    fs::write(&path, text).unwrap();
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&path)
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let of_unit: Vec<&str> = said.lines().filter(|line| line.contains(unit)).collect();
    Some(of_unit.join("\n"))
}

/// The version of systemd; none where it is not there.
fn systemd_version() -> Option<u32> {
    let output = Command::new("systemd-analyze").arg("--version").output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    let number = text.split_whitespace().nth(1)?;
    number
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// A systemd of this version or later takes the unit.
fn takes(unit: &str, from: u32) {
    match systemd_version() {
        Some(version) if version >= from => {
            let complaints = verify(unit).unwrap();
            assert_eq!(complaints, "", "{unit}");
        }
        Some(_) => skipped(&format!("systemd {from} or later")),
        None => skipped("systemd-analyze"),
    }
}

#[test]
fn every_systemd_takes_the_unit_that_is_for_all() {
    takes("reuseport-run.service", 0);
}

#[test]
fn systemd_takes_the_unit_that_reloads_by_a_signal() {
    takes("reuseport-run-notify-reload.service", 253);
}

//! What a worker finds at its start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::harness::{Supervisor, fixture};
use crate::support::*;

/// A supervisor whose workers first run a shell script, then serve.
fn after(options: &[&str], script: &str) -> Supervisor {
    after_shell(options, script, r#"exec "$@""#)
}

fn after_shell(options: &[&str], script: &str, wrapper: &str) -> Supervisor {
    let program = fixture("misbehave").display().to_string();
    let script = format!("{script}\nexec \"$0\" --port {{port}}");
    let supervisor = Supervisor::builder()
        .through_shell(wrapper)
        .args(options.iter().copied())
        .command(["sh", "-c", &script, &program])
        .start();
    supervisor.wait_line("done, ");
    supervisor
}

fn read(supervisor: &Supervisor, name: &str) -> String {
    fs::read_to_string(supervisor.directory().join(name)).unwrap()
}

#[test]
fn its_place_is_told() {
    let supervisor = scripted(&["-n", "2"], &[]).start();
    let status = supervisor.wait_serving(2);
    for (slot, pid) in pids(&status).into_iter().enumerate() {
        let environment = environment(pid);
        assert_eq!(
            value(&environment, "REUSEPORT_WORKER"),
            Some(slot.to_string().as_str())
        );
        assert_eq!(value(&environment, "REUSEPORT_WORKERS"), Some("2"));
        assert_eq!(value(&environment, "REUSEPORT_GENERATION"), Some("1"));
        let notify = value(&environment, "NOTIFY_SOCKET").unwrap();
        assert!(Path::new(notify).exists(), "{notify}");
    }
}

#[test]
fn what_was_meant_for_the_supervisor_is_not_passed_on() {
    let builder = scripted(&["-n", "1"], &[])
        .env("REUSEPORT_DRAIN_TIMEOUT", "5s")
        .env("REUSEPORT_LOG", "info")
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDNAMES", "x")
        .env("SERVER_STARTER_PORT", "80=3")
        .env("EINHORN_FD_COUNT", "1")
        .env("WATCHDOG_USEC", "60000000")
        .env("WATCHDOG_PID", "1")
        .env("NOTIFY_SOCKET", "{dir}/outer")
        .env("KEPT", "yes");
    let supervisor = builder.start();
    let status = supervisor.wait_serving(1);
    let environment = environment(pids(&status)[0]);
    let outer = supervisor.directory().join("outer").display().to_string();
    assert_ne!(value(&environment, "NOTIFY_SOCKET"), Some(outer.as_str()));
    assert_eq!(value(&environment, "KEPT"), Some("yes"));
    let own = [
        "REUSEPORT_WORKER",
        "REUSEPORT_WORKERS",
        "REUSEPORT_GENERATION",
        "NOTIFY_SOCKET",
    ];
    let prefixes = [
        "REUSEPORT_",
        "LISTEN_",
        "SERVER_STARTER_",
        "EINHORN_",
        "WATCHDOG_",
    ];
    let leaked = environment.iter().filter(|(name, _)| {
        prefixes.iter().any(|prefix| name.starts_with(prefix)) && !own.contains(&name.as_str())
    });
    assert_eq!(leaked.collect::<Vec<_>>(), Vec::<&(String, String)>::new());
}

/// The descriptors of a worker that shows them and ends, and what they are. A shell would have more.
fn descriptors(options: &[&str]) -> BTreeMap<i32, String> {
    let mut supervisor = Supervisor::builder()
        .args(options.iter().copied())
        .command(["ls", "-l", "/proc/self/fd"])
        .start();
    assert_eq!(supervisor.wait_exit(), 3);
    let shown = |line: &String| {
        let (number, target) = line.rsplit_once(" -> ")?;
        let number = number.rsplit(' ').next()?.parse().ok()?;
        Some((number, target.to_owned()))
    };
    supervisor.wait_for("its descriptors", || {
        let all: BTreeMap<i32, String> = supervisor.output().iter().filter_map(shown).collect();
        // The last one is that of the directory which it reads; the order is that of the names.
        let is_own = |target: &String| target.starts_with("/proc/") && target.ends_with("/fd");
        let is_complete = all.values().any(is_own) && all.contains_key(&2);
        is_complete.then(|| {
            all.into_iter()
                .filter(|(_, target)| !is_own(target))
                .collect()
        })
    })
}

/// These, and what whoever runs the tests has left open for everyone: that is not the supervisor's.
fn with_inherited<const N: usize>(numbers: [i32; N]) -> BTreeSet<i32> {
    let own = fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let inherited = own.filter(|entry| {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let flags = field(&text, "flags").and_then(|flags| i32::from_str_radix(&flags, 8).ok());
        flags.is_some_and(|flags| flags & libc::O_CLOEXEC == 0)
    });
    let inherited = inherited.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    inherited.chain(numbers).collect()
}

#[test]
fn it_has_three_descriptors_and_reads_nothing() {
    let descriptors = descriptors(&["-n", "1"]);
    assert_eq!(numbers(&descriptors), with_inherited([0, 1, 2]));
    assert_eq!(descriptors[&0], "/dev/null");
}

#[test]
fn it_has_the_passed_descriptors_and_no_more() {
    let descriptors = descriptors(&["-n", "1", "--listen", "0.0.0.0:{port}"]);
    assert_eq!(numbers(&descriptors), with_inherited([0, 1, 2, 3]));
    assert!(descriptors[&3].starts_with("socket:"), "{descriptors:?}");
}

fn numbers(descriptors: &BTreeMap<i32, String>) -> BTreeSet<i32> {
    descriptors.keys().copied().collect()
}

#[test]
fn its_limit_on_open_files_is_the_one_that_was_given() {
    let wrapper = r#"ulimit -Sn 500; ulimit -Hn 1000; exec "$@""#;
    let script = "ulimit -Sn > {dir}/soft; ulimit -Hn > {dir}/hard";
    let supervisor = after_shell(&["-n", "1"], script, wrapper);
    assert_eq!(read(&supervisor, "soft").trim(), "500");
    assert_eq!(read(&supervisor, "hard").trim(), "1000");
}

#[test]
fn its_signals_are_those_that_the_supervisor_was_given() {
    let supervisor = after(&["-n", "1"], "cat /proc/self/status > {dir}/status");
    let status = read(&supervisor, "status");
    let mask = |text: &str, name| u64::from_str_radix(&field(text, name).unwrap(), 16).unwrap();
    assert_eq!(mask(&status, "SigBlk"), 0);
    // This process ignores SIGPIPE itself, as every Rust program does. What the C library keeps
    // for itself (32 and 33) it leaves ignored in what posix_spawn(3) starts.
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let others = !(1 << (libc::SIGPIPE - 1) | 1 << 31 | 1 << 32);
    assert_eq!(
        mask(&status, "SigIgn") & !(1 << 31 | 1 << 32),
        mask(&own, "SigIgn") & others
    );
}

#[test]
fn each_has_a_process_group_of_its_own() {
    let supervisor = scripted(&["-n", "2"], &[]).start();
    for pid in pids(&supervisor.wait_serving(2)) {
        let group = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid))).unwrap();
        assert_eq!(group.as_raw(), pid);
    }
}

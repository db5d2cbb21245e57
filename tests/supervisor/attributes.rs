//! What a worker's process is given: limits, priorities, a mask, a CPU.

use std::fs;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, geteuid};

use crate::harness::{Builder, Supervisor, fixture};
use crate::support::*;

/// The process of slot 0.
fn first(supervisor: &Supervisor) -> i32 {
    pids(&supervisor.wait_status(|status| status.phase == "serving"))[0]
}

/// A limit of a process: soft and hard, as /proc has them.
fn limit(pid: i32, name: &str) -> (String, String) {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    let mut values = line.split_whitespace().map(str::to_owned);
    (values.next().unwrap(), values.next().unwrap())
}

fn pair(soft: &str, hard: &str) -> (String, String) {
    (soft.to_owned(), hard.to_owned())
}

#[test]
fn limits_are_those_that_were_asked_for() {
    // The supervisor raises its own limit on open files to 1000, and a worker would have 500.
    let wrapper = r#"ulimit -Sn 500; ulimit -Hn 1000; exec "$@""#;
    let options = [
        "-n",
        "1",
        "--rlimit",
        "nofile=64:128",
        "--rlimit",
        "core=0",
        "--rlimit",
        "stack=1M:2M",
    ];
    let builder = scripted(&options, &[]).through_shell(wrapper);
    let supervisor = builder.start();
    let worker = first(&supervisor);
    assert_eq!(limit(worker, "Max open files"), pair("64", "128"));
    assert_eq!(limit(worker, "Max core file size"), pair("0", "0"));
    assert_eq!(limit(worker, "Max stack size"), pair("1048576", "2097152"));
    // What is not asked for is as it was, and so is the supervisor.
    let own = limit(supervisor.pid(), "Max stack size");
    assert_ne!(own, pair("1048576", "2097152"));
    assert_eq!(
        limit(supervisor.pid(), "Max open files"),
        pair("1000", "1000")
    );
    assert_eq!(
        limit(worker, "Max pending signals"),
        limit(supervisor.pid(), "Max pending signals")
    );
}

#[test]
fn one_value_is_both_limits_and_the_environment_takes_a_list() {
    let builder = scripted(&["-n", "1"], &[]);
    let builder = builder.env("REUSEPORT_RLIMIT", "nofile=100,core=1K:2K");
    let supervisor = builder.start();
    let worker = first(&supervisor);
    assert_eq!(limit(worker, "Max open files"), pair("100", "100"));
    assert_eq!(limit(worker, "Max core file size"), pair("1024", "2048"));
}

/// The nice value of a process.
fn nice(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let mut fields = stat.rsplit(')').next().unwrap().split_whitespace();
    fields.nth(16).unwrap().parse().unwrap()
}

fn oom_score(pid: i32) -> i32 {
    let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    text.trim().parse().unwrap()
}

#[test]
fn priorities_are_those_that_were_asked_for() {
    let options = ["-n", "1", "--nice", "19", "--oom-score-adj", "1000"];
    let supervisor = scripted(&options, &[]).start();
    let worker = first(&supervisor);
    assert_eq!((nice(worker), oom_score(worker)), (19, 1000));
    let own = supervisor.pid();
    assert!(nice(own) < 19 && oom_score(own) < 1000);
    // The next generation has them, too.
    supervisor.ctl_ok(["reload"]);
    let worker = first(&supervisor);
    assert_eq!((nice(worker), oom_score(worker)), (19, 1000));
}

#[test]
fn root_may_give_a_higher_priority() {
    if !is_root() {
        return;
    }
    let supervisor = scripted(&["-n", "1", "--nice", "-7"], &[]).start();
    assert_eq!(nice(first(&supervisor)), -7);
}

#[test]
fn files_are_made_under_the_mask() {
    let program = fixture("misbehave").display().to_string();
    let script = r#"umask > {dir}/mask; exec "$0" --port {port}"#;
    let supervisor = Supervisor::builder()
        .args(["-n", "1", "--umask", "027"])
        .command(["sh", "-c", script, &program])
        .start();
    let worker = first(&supervisor);
    let mask = fs::read_to_string(supervisor.directory().join("mask")).unwrap();
    assert_eq!(mask.trim(), "0027");
    assert_eq!(status_field(worker, "Umask").as_deref(), Some("0027"));
    assert_eq!(
        status_field(supervisor.pid(), "Umask"),
        status_field(std::process::id().cast_signed(), "Umask")
    );
}

/// The CPUs that this thread may run on.
fn own_cpus() -> Vec<usize> {
    let mask = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count())
        .filter(|cpu| mask.is_set(*cpu).unwrap())
        .collect()
}

/// The CPUs of the workers, by slot.
fn cpus(supervisor: &Supervisor, workers: usize) -> Vec<String> {
    let workers = pids(&supervisor.wait_serving(workers)).into_iter();
    workers
        .map(|pid| status_field(pid, "Cpus_allowed_list").unwrap())
        .collect()
}

#[test]
fn each_slot_has_a_cpu() {
    let own = own_cpus();
    let slots = own.len().min(8) + 1;
    let expected: Vec<String> = own
        .iter()
        .cycle()
        .take(slots)
        .map(usize::to_string)
        .collect();
    let supervisor = scripted(&["-n", &slots.to_string(), "--pin"], &[]).start();
    assert_eq!(cpus(&supervisor, slots), expected);
    supervisor.ctl_ok(["reload"]);
    assert_eq!(cpus(&supervisor, slots), expected);
    let all = status_field(std::process::id().cast_signed(), "Cpus_allowed_list");
    assert_eq!(status_field(supervisor.pid(), "Cpus_allowed_list"), all);
}

#[test]
fn only_cpus_of_the_supervisor_are_given() {
    let last = own_cpus().pop().unwrap();
    // What this thread starts has the thread's mask.
    let mut mask = CpuSet::new();
    mask.set(last).unwrap();
    sched_setaffinity(Pid::from_raw(0), &mask).unwrap();
    let supervisor = scripted(&["-n", "2", "--pin"], &[]).start();
    assert_eq!(cpus(&supervisor, 2), [last.to_string(), last.to_string()]);
}

/// A supervisor that has not got this capability.
fn without(capability: &str, options: &[&str]) -> Builder {
    let drop = match geteuid().is_root() {
        true => format!("setpriv --bounding-set=-{capability}"),
        false => String::new(),
    };
    let wrapper = format!(r#"ulimit -n 1000; exec {drop} "$@""#);
    scripted(options, &[]).through_shell(&wrapper)
}

#[test]
fn what_is_not_permitted_is_found_before_anything_is_started() {
    let present = oom_score(std::process::id().cast_signed());
    let mut cases = vec![
        (
            "sys_resource",
            ["--rlimit", "nofile=500:1001"],
            "--rlimit nofile=500:1001: its hard limit cannot be raised to 1001: ",
            "give at most 1000",
        ),
        (
            "sys_nice",
            ["--nice", "-20"],
            "--nice -20: it cannot be set: ",
            "CAP_SYS_NICE",
        ),
    ];
    if present > -1000 {
        cases.push((
            "sys_resource",
            ["--oom-score-adj", "-1000"],
            "--oom-score-adj -1000: it cannot be written to /proc/self/oom_score_adj: ",
            "CAP_SYS_RESOURCE",
        ));
    }
    for (capability, options, beginning, remedy) in cases {
        let (code, line) = complaint(without(capability, &options));
        assert_eq!(code, 2, "{line}");
        assert!(line.contains(beginning) && line.contains(remedy), "{line}");
    }
}

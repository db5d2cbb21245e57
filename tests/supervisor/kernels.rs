//! What is done on kernels that are not like this one: `/proc/kallsyms` is another file there.

use std::process::Command;

use crate::harness::{Builder, Supervisor};
use crate::support::*;

/// Whether a supervisor may use eBPF.
#[derive(Clone, Copy)]
enum Ebpf {
    Permitted,
    /// Root's capabilities, less those.
    Denied,
    /// As denied, and the kernel gives its release as 2.6 (personality(2), `UNAME26`).
    DeniedByOldRelease,
}

/// A supervisor that finds these symbols in the kernel; none, after saying so, where the file cannot
/// be replaced.
fn on_kernel_with(symbols: &str, ebpf: Ebpf, options: &[&str]) -> Option<Builder> {
    let can_mount = Command::new("unshare")
        .args(["--mount", "mount", "--bind", "/dev/null", "/proc/kallsyms"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !can_mount {
        skipped("to make a mount namespace");
        return None;
    }
    let builder = scripted(options, &[]).file("symbols", symbols);
    let denied = match ebpf {
        Ebpf::Permitted => "",
        Ebpf::Denied => "setpriv --bounding-set=-bpf,-sys_admin",
        Ebpf::DeniedByOldRelease => "setpriv --bounding-set=-bpf,-sys_admin setarch --uname-2.6",
    };
    let mount = format!(
        "mount --bind '{}/symbols' /proc/kallsyms && exec {denied} \"$@\"",
        builder.directory().display()
    );
    Some(builder.through(["unshare", "--mount", "sh", "-c", &mount, "sh"]))
}

/// Whether a reload brings listeners of its own, as it does where new connections are steered.
fn reload_brings_listeners(supervisor: &Supervisor) -> bool {
    supervisor.wait_serving(2);
    let before = listeners(supervisor.port());
    supervisor.ctl_ok(["reload"]);
    supervisor.wait_serving(2);
    listeners(supervisor.port()) != before
}

const UNFIXED: &str = "0000000000000000 T sk_reuseport_attach_bpf\n";
const FIXED: &str = "0000000000000000 t sk_reuseport_prog_free_rcu\n";

#[test]
fn a_kernel_without_the_fix_is_not_steered_and_the_log_says_why() {
    let Some(builder) = on_kernel_with(UNFIXED, Ebpf::Denied, &["-n", "2"]) else {
        return;
    };
    let supervisor = builder.start();
    supervisor.wait_line("CVE-2026-52910");
    assert!(!reload_brings_listeners(&supervisor));
    let status = supervisor.wait_serving(2);
    assert_eq!(status.steering, "none");
    assert!(status.steering_refused.unwrap().contains("CVE-2026-52910"));
    let answer = supervisor.ctl_ok(["reload"]);
    assert!(answer.contains("not steered"), "{answer}");
}

#[test]
fn a_kernel_that_hides_its_symbols_and_is_not_known_by_its_release_is_not_steered() {
    let Some(builder) = on_kernel_with("", Ebpf::DeniedByOldRelease, &["-n", "2"]) else {
        return;
    };
    let supervisor = builder.start();
    supervisor.wait_line("new connections are not steered (--steering none)");
    assert!(!reload_brings_listeners(&supervisor));
}

#[test]
fn what_needs_steering_is_said_to_have_no_effect_without() {
    for (options, why) in [
        (
            &["--soak", "1h"][..],
            "--soak has no effect: new connections are not steered",
        ),
        (
            &[
                "--strategy",
                "rolling",
                "--max-surge",
                "0",
                "--max-unavailable",
                "1",
            ],
            "no worker leaves before the next has started",
        ),
    ] {
        let options = [&["-n", "2"], options].concat();
        let Some(builder) = on_kernel_with(UNFIXED, Ebpf::Denied, &options) else {
            return;
        };
        let supervisor = builder.start();
        supervisor.wait_line(why);
        supervisor.wait_serving(2);
        let refused = supervisor.ctl(["reload", "--canary", "10%"]);
        assert_eq!(refused.status.code(), Some(1));
        let sentence = sentence(&refused);
        assert!(
            sentence.contains("cannot be shared out, because nothing is steered"),
            "{sentence}"
        );
        supervisor.ctl_ok(["reload"]);
    }
}

#[test]
fn a_kernel_without_the_fix_is_steered_when_that_is_asked_for() {
    let Some(builder) = on_kernel_with(UNFIXED, Ebpf::Denied, &["-n", "2", "--steering", "cbpf"])
    else {
        return;
    };
    let supervisor = builder.start();
    supervisor.wait_line("--steering cbpf: this kernel may crash");
    assert!(reload_brings_listeners(&supervisor));
}

#[test]
fn a_kernel_with_the_fix_is_steered() {
    let Some(builder) = on_kernel_with(FIXED, Ebpf::Denied, &["-n", "2"]) else {
        return;
    };
    assert!(reload_brings_listeners(&builder.start()));
}

#[test]
fn a_kernel_without_the_fix_is_steered_by_ebpf() {
    let Some(builder) = on_kernel_with(UNFIXED, Ebpf::Permitted, &["-n", "2"]) else {
        return;
    };
    let supervisor = builder.start();
    assert!(reload_brings_listeners(&supervisor));
    assert!(
        !supervisor
            .lines()
            .iter()
            .any(|line| line.contains("CVE-2026-52910"))
    );
}

#[test]
fn ebpf_that_is_asked_for_and_denied_ends_the_start() {
    let options = ["-n", "2", "--steering", "ebpf"];
    let Some(builder) = on_kernel_with(FIXED, Ebpf::Denied, &options) else {
        return;
    };
    let (code, line) = complaint(builder);
    assert_eq!(code, 3, "{line}");
    assert!(
        line.contains("--steering ebpf: cannot load an eBPF program"),
        "{line}"
    );
    assert!(line.contains("CAP_BPF"), "{line}");
}

/// As a systemd unit with `AmbientCapabilities=CAP_BPF CAP_NET_ADMIN` starts it.
#[test]
fn the_capabilities_for_ebpf_are_not_handed_to_workers() {
    const CAP_NET_ADMIN: u64 = 1 << 12;
    const CAP_BPF: u64 = 1 << 39;
    if !is_root() {
        return;
    }
    let options = ["-n", "2", "--steering", "ebpf"];
    let more = [
        "--inh-caps=+bpf,+net_admin",
        "--ambient-caps=+bpf,+net_admin",
    ];
    let supervisor = as_nobody(scripted(&options, &[]), 0o777, &more).start();
    let status = supervisor.wait_serving(2);
    let both = CAP_BPF | CAP_NET_ADMIN;
    let has = |pid: i32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let sets = ["CapEff", "CapPrm", "CapAmb"].map(|set| field(&text, set).unwrap());
        sets.map(|set| u64::from_str_radix(&set, 16).unwrap() & both)
    };
    assert_eq!(has(supervisor.pid()), [both, both, 0]);
    for worker in pids(&status) {
        assert_eq!(has(worker), [0, 0, 0]);
    }
    assert!(reload_brings_listeners(&supervisor));
}

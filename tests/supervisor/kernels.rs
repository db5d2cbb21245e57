//! What is done on kernels that are not like this one: `/proc/kallsyms` is another file there.

use std::process::Command;

use crate::harness::{Builder, Supervisor};
use crate::support::{listeners, scripted, skipped};

/// A supervisor that finds these symbols in the kernel; none, after saying so, where the file cannot
/// be replaced.
fn on_kernel_with(symbols: &str, options: &[&str]) -> Option<Builder> {
    let can_mount = Command::new("unshare")
        .args(["--mount", "mount", "--bind", "/dev/null", "/proc/kallsyms"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !can_mount {
        skipped("to make a mount namespace");
        return None;
    }
    let builder = scripted(options, &[]).file("symbols", symbols);
    let mount = format!(
        "mount --bind '{}/symbols' /proc/kallsyms && exec \"$@\"",
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
    let Some(builder) = on_kernel_with(UNFIXED, &["-n", "2"]) else {
        return;
    };
    let supervisor = builder.start();
    supervisor.wait_line("CVE-2026-52910");
    assert!(!reload_brings_listeners(&supervisor));
}

#[test]
fn a_kernel_that_hides_its_symbols_is_not_steered() {
    let Some(builder) = on_kernel_with("", &["-n", "2"]) else {
        return;
    };
    let supervisor = builder.start();
    supervisor.wait_line("new connections are not steered (--steering none)");
    assert!(!reload_brings_listeners(&supervisor));
}

#[test]
fn a_kernel_without_the_fix_is_steered_when_that_is_asked_for() {
    let Some(builder) = on_kernel_with(UNFIXED, &["-n", "2", "--steering", "cbpf"]) else {
        return;
    };
    let supervisor = builder.start();
    supervisor.wait_line("--steering cbpf: this kernel may crash");
    assert!(reload_brings_listeners(&supervisor));
}

#[test]
fn a_kernel_with_the_fix_is_steered() {
    let Some(builder) = on_kernel_with(FIXED, &["-n", "2"]) else {
        return;
    };
    assert!(reload_brings_listeners(&builder.start()));
}

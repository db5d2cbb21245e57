//! Where a container refuses to fetch descriptors and to read memory, nothing else changes.
//!
//! The rig refuses both to the supervisor, the trial reloads and kills under load.

use std::process::Command;

use crate::harness::{ctl_program, fixture, supervisor_program};
use crate::rig::report::Report;
use crate::support::skipped;

fn confined(server: &str, bind: &str, connect: &str) {
    let mut command = Command::new(fixture("rig"));
    command
        .args(["--refuse", "getfd", "--"])
        .arg(fixture("trial"));
    command.arg("--supervisor").arg(supervisor_program());
    command.arg("--ctl").arg(ctl_program());
    command.args(["--server", server, "--bind", bind, "--connect", connect]);
    command.args(["--workers", "2", "--connections", "4", "--pause-ms", "2"]);
    let output = command
        .args(["--reloads", "2", "--kills", "2"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        return skipped(said.trim().trim_start_matches("skipped: needs "));
    }
    assert!(output.status.success(), "{said}");
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    // A kill loses the requests that the worker was answering, of which there are at most four.
    assert!(report.outcome.failures() <= 2 * 4, "{report:#?}");
}

#[test]
fn a_static_binary_reloads_and_survives_crashes() {
    confined("static", "0.0.0.0", "127.0.0.1");
}

#[test]
fn python_on_both_families_reloads_and_survives_crashes() {
    confined("python", "::", "127.0.0.1");
    confined("python", "::", "::1");
}

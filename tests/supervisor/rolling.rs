//! Workers are replaced some after the others, within bounds that hold at every moment.

use std::fs;
use std::thread;

use reuseport_run::wire::control::Status;

use crate::harness::Supervisor;
use crate::rig::load::Plan;
use crate::support::*;

/// The most processes that were workers, or about to become one, and the fewest that got new connections.
#[derive(Debug)]
struct Seen {
    most_running: usize,
    fewest_live: u32,
}

/// Whether a process is a worker or about to become one: the supervisor and the rescuers have other names.
fn is_worker(pid: i32) -> bool {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let name =
        String::from_utf8_lossy(command.split(|byte| *byte == 0).next().unwrap()).into_owned();
    name.ends_with("misbehave") || name == "reuseport-run-launcher"
}

/// Reloads under a load that loses nothing, and looks all the while.
fn reload(supervisor: &Supervisor, plan: Plan) -> Seen {
    let look = |is_over: &dyn Fn() -> bool| {
        let mut seen = Seen {
            most_running: 0,
            fewest_live: u32::MAX,
        };
        while !is_over() {
            let running = supervisor
                .members()
                .into_iter()
                .filter(|pid| is_worker(*pid));
            seen.most_running = seen.most_running.max(running.count());
            seen.fewest_live = seen.fewest_live.min(supervisor.status().endpoints[0].live);
        }
        seen
    };
    let (seen, _) = without_loss(plan, || {
        let reload = begin_reload(supervisor);
        let waiting = thread::spawn(move || reload.wait_with_output().unwrap());
        let seen = look(&|| waiting.is_finished());
        let output = waiting.join().unwrap();
        assert!(output.status.success(), "{output:?}");
        seen
    });
    seen
}

#[track_caller]
fn stays_within(options: &[&str], most: usize, fewest: u32) {
    let supervisor = scripted(options, &[]).start();
    supervisor.wait_serving(8);
    for plan in [
        light(supervisor.address()),
        light(supervisor.address()).keep_alive(),
    ] {
        let seen = reload(&supervisor, plan);
        assert!(
            seen.most_running <= most && seen.fewest_live >= fewest,
            "{seen:?}"
        );
        // It was looked at all, and at the right thing.
        assert!(seen.most_running >= 8 && seen.fewest_live <= 8, "{seen:?}");
    }
}

#[test]
fn one_more_runs_and_none_is_missing() {
    stays_within(&["-n", "8", "--strategy", "rolling"], 9, 8);
}

#[test]
fn none_more_runs_and_two_are_missing() {
    let bounds = ["-n", "8", "--strategy", "rolling", "--max-surge", "0"];
    let options = [&bounds[..], &["--max-unavailable", "25%"]].concat();
    stays_within(&options, 8, 6);
}

fn generations(status: &Status) -> Vec<u32> {
    status
        .workers
        .iter()
        .map(|worker| worker.generation)
        .collect()
}

#[test]
fn a_version_that_fails_at_the_third_worker_is_taken_back() {
    let supervisor = scripted(
        &["-n", "4", "--strategy", "rolling"],
        &["--behaviour-file", "{dir}/slot-{slot}"],
    )
    .start();
    supervisor.wait_serving(4);
    supervisor.write("slot-2", "--exit 7");
    let (output, _) = without_loss(light(supervisor.address()).keep_alive(), || {
        let output = supervisor.ctl(["reload"]);
        supervisor.wait_line("rollback: done, 4 workers of generation 1 serve");
        output
    });
    assert_eq!(output.status.code(), Some(1));
    let sentence = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        sentence.contains("exited with code 7 before it was ready"),
        "{sentence}"
    );
    let undone = "2 workers of it serve and are replaced again by the old version";
    assert!(sentence.contains(undone), "{sentence}");
    assert_eq!(generations(&supervisor.wait_serving(4)), [1, 1, 1, 1]);
    fs::remove_file(supervisor.directory().join("slot-2")).unwrap();
    supervisor.ctl_ok(["reload"]);
    assert_eq!(generations(&supervisor.wait_serving(4)), [3, 3, 3, 3]);
}

/// So slow that between two of them the rescuer has had nothing for a second: it stays, for it is counted on.
#[test]
fn a_rolling_reload_of_workers_that_start_slowly_loses_no_kept_connection() {
    let server = crate::harness::fixture("misbehave");
    let script = format!("sleep 0.95; exec {} --port {{port}}", server.display());
    let supervisor = Supervisor::builder()
        .args(["-n", "4", "--strategy", "rolling"])
        .command(["sh", "-c", &script])
        .start();
    supervisor.wait_serving(4);
    without_loss(light(supervisor.address()).keep_alive(), || {
        supervisor.ctl_ok(["reload"])
    });
    let lines = supervisor.lines();
    let died = |line: &&String| line.contains("died before its time");
    assert_eq!(lines.iter().find(died), None);
}

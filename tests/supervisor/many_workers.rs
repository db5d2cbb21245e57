//! Many workers: what is done for each must not cost more the more there are.
//!
//! What a reload costs is counted as the supervisor's own processor time and its wake-ups, which a
//! busy machine stretches little; how long it takes in all says more of the machine.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::Supervisor;
use crate::support::*;

/// Enough for what is quadratic to show, and few enough for a small machine.
const WORKERS: usize = 300;

/// For start, reload and stop, on a machine that has other things to do.
const TEST_TIMEOUT: Duration = Duration::from_secs(240);

/// The most that a reload may cost for each worker: several times what it does, in a debug build.
const MAX_CPU_TIME: Duration = Duration::from_millis(50);
const MAX_WAKEUPS: u64 = 20;

/// What the supervisor has used so far.
struct Cost {
    processor: Duration,
    wakeups: u64,
}

impl Cost {
    fn of(supervisor: &Supervisor) -> Self {
        let pid = supervisor.pid();
        let wakeups = status_field(pid, "voluntary_ctxt_switches").unwrap();
        Self {
            processor: processor_time(pid),
            wakeups: wakeups.parse().unwrap(),
        }
    }
}

/// User and system time of a process, without its children.
fn processor_time(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the command's name in parentheses: utime and stime are the 14th and 15th of all.
    let fields = stat.rsplit(')').next().unwrap().split_ascii_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .map(|it| it.parse::<u64>().unwrap())
        .sum();
    // USER_HZ is 100 on every architecture that Linux has now (proc(5) has sysconf for the rest).
    Duration::from_millis(ticks * 10)
}

fn is_here(pid: &i32) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap()
}

#[test]
fn many_are_reloaded_without_loss_and_each_costs_little() {
    let number = WORKERS.to_string();
    let options = ["-n", &number, "--start-timeout", "120s"];
    let mut supervisor = scripted(&options, &[]).within(TEST_TIMEOUT).start();
    supervisor.wait_line("start: done");
    let first: BTreeSet<i32> = pids(&supervisor.wait_serving(WORKERS))
        .into_iter()
        .collect();

    let before = Cost::of(&supervisor);
    without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["reload"])
    });
    let after = Cost::of(&supervisor);

    let second = pids(&supervisor.wait_serving(WORKERS))
        .into_iter()
        .collect();
    assert!(first.is_disjoint(&second));
    assert_eq!(
        first.iter().copied().find(is_here),
        None,
        "of the first is left"
    );
    assert_eq!(listeners(supervisor.port()).len(), WORKERS);
    assert!(ask(supervisor.address()).unwrap().starts_with("2."));

    let processor = (after.processor - before.processor) / WORKERS as u32;
    let wakeups = (after.wakeups - before.wakeups) / WORKERS as u64;
    assert!(processor < MAX_CPU_TIME, "{processor:?} for each worker");
    assert!(wakeups < MAX_WAKEUPS, "{wakeups} wake-ups for each worker");

    supervisor.signal(Signal::SIGTERM);
    assert_ends(&mut supervisor, 0);
}

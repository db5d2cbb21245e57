//! Signals to the supervisor that are not told of elsewhere.

use nix::sys::signal::Signal;

use crate::support::*;

#[test]
fn usr1_does_no_harm() {
    let supervisor = scripted(&["-n", "1"], &[]).start();
    let before = supervisor.wait_serving(1);
    supervisor.signal(Signal::SIGUSR1);
    supervisor.wait_line("but there is none (--log-file)");
    assert_eq!(pids(&supervisor.wait_serving(1)), pids(&before));
}

#[test]
fn a_storm_of_signals_ends_in_order() {
    let mut supervisor = scripted(&["-n", "2"], &[]).start();
    supervisor.wait_serving(2);
    for _ in 0..20 {
        for signal in [
            Signal::SIGHUP,
            Signal::SIGUSR2,
            Signal::SIGTTIN,
            Signal::SIGTTOU,
            Signal::SIGUSR1,
        ] {
            supervisor.signal(signal);
        }
    }
    let status = supervisor.wait_status(|status| status.phase == "serving" && status.reloads > 0);
    assert!(status.workers_wanted >= 1);
    supervisor.signal(Signal::SIGTERM);
    assert_ends(&mut supervisor, 0);
}

#[test]
fn a_reload_before_the_start_is_done_comes_after_it() {
    let options = ["-n", "2", "--ready", "notify"];
    let supervisor = scripted(&options, &["--notify", "{dir}/ready"]).start();
    supervisor.wait_status(|status| pids(status).len() == 2);
    supervisor.signal(Signal::SIGHUP);
    supervisor.wait_line("a start is in progress");
    touch(supervisor.directory(), "ready");
    supervisor.wait_status(|status| status.reloads == 1 && status.phase == "serving");
}

#[test]
fn who_asks_for_what_is_in_the_log() {
    let supervisor = scripted(&["-n", "1"], &[]).start();
    supervisor.wait_serving(1);
    supervisor.signal(Signal::SIGTTIN);
    supervisor.wait_line("asked for by signal TTIN: one worker more");
    supervisor.wait_serving(2);
    supervisor.ctl_ok(["scale", "1"]);
    let line = supervisor.wait_line("asked for by pid ");
    let user = nix::unistd::geteuid();
    assert!(
        line.contains(&format!(" of user {user}: {{\"verb\":\"scale\"")),
        "{line}"
    );
}

//! Where there are fewer descriptors than connections.

use super::*;

const FILE_LIMIT: u32 = 64;
const CLIENTS: usize = 100;

/// Lowers the limit on open files of a process, and of what it will start.
fn lower_limit(pid: i32) -> bool {
    let (pid, limit) = (
        pid.to_string(),
        format!("--nofile={FILE_LIMIT}:{FILE_LIMIT}"),
    );
    let lowered = Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status();
    lowered.is_ok_and(|status| status.success())
}

#[test]
fn what_does_not_fit_is_closed_as_without_a_rescuer() {
    let options = ["-n", "3", "--quiet-timeout", "300ms", "--protocol", "http1"];
    let supervisor = scripted(&options, &[]).start();
    supervisor.wait_serving(3);
    let clients = (0..CLIENTS).map(|_| Client::served(supervisor.address()).0);
    let mut clients: Vec<Client> = clients.collect();
    if !lower_limit(supervisor.pid()) {
        return skipped("prlimit");
    }
    supervisor.ctl_ok(["reload"]);
    supervisor.wait_serving(3);
    let mut rescued = 0;
    for client in &mut clients {
        // The connection may be gone by now.
        let _ = client.0.write_all(b"GET / HTTP/1.1\r\n\r\n");
        match client.answer() {
            Ok(answer) => {
                let is_moved = answer.worker().starts_with("2.") && answer.is_last();
                assert!(is_moved, "{answer:?}");
                rescued += 1;
            }
            Err(_) => assert!(client.rest().is_empty()),
        }
    }
    drop(clients);
    let rescue = wait_rescued(&supervisor);
    let all = CLIENTS as u64;
    assert!(rescued >= 10, "{rescued} of {CLIENTS}: {rescue:?}");
    assert_eq!((rescue.held, rescue.rescued), (all, rescued), "{rescue:?}");
    assert_eq!(rescue.given_up, all - rescued, "{rescue:?}");
    assert_eq!(rescue.reasons.get("too-many"), Some(&rescue.given_up));
    supervisor.wait_line("too-many");
    supervisor.ctl_ok(["reload"]);
    assert!(ask(supervisor.address()).unwrap().starts_with("3."));
}

#[test]
fn workers_start_with_few() {
    let script = format!(r#"ulimit -n {FILE_LIMIT}; exec "$@""#);
    let inherited = ["-n", "2", "--listen", "127.0.0.1:{port}"];
    for options in [&["-n", "2"][..], &inherited] {
        let supervisor = scripted(options, &["--address", "127.0.0.1"]).through_shell(&script);
        let supervisor = supervisor.start();
        supervisor.wait_serving(2);
        supervisor.ctl_ok(["reload"]);
        assert!(ask(supervisor.address()).unwrap().starts_with("2."));
    }
}

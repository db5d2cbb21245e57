//! What is said of the connections of retired workers.

use super::*;

/// The line of the status table that begins with these cells.
fn row(table: &str, cells: &[&str]) -> bool {
    let starts = |line: &str| {
        line.split_whitespace()
            .take(cells.len())
            .eq(cells.iter().copied())
    };
    table.lines().any(starts)
}

#[test]
fn every_connection_is_accounted_for() {
    let options = ["-n", "1", "--quiet-timeout", "50s", "--protocol", "http1"];
    let behaviour = ["--drain-on-term", "--hold", "{dir}/go"];
    let supervisor = scripted(&options, &behaviour).start();
    supervisor.wait_serving(1);
    let (mut rescued, _) = Client::served(supervisor.address());
    let (mut odd, _) = Client::served(supervisor.address());
    let (idle, _) = Client::served(supervisor.address());
    let finished = begin_asking(supervisor.address(), "/hold").unwrap();
    supervisor.wait_line("holds a request");
    let reload = begin(&supervisor, &["reload"]);
    // It is told of before it is over.
    let rescuer = wait_holding(&supervisor, 4);
    touch(supervisor.directory(), "go");
    assert_eq!(finish_asking(finished).unwrap(), "1.0");
    assert_succeeds(&supervisor, reload);
    supervisor.wait_status(|status| status.rescues[0].finished == 1);
    assert_eq!(rescued.ask("/").unwrap().worker(), "2.0");
    odd.send(b"\x16\x03\x01\x02\x00\x01\x00");
    assert!(odd.rest().is_empty());
    let status = supervisor.wait_status(|status| status.rescues[0].given_up == 1);
    assert_eq!(rescuers(&status), [rescuer]);
    drop((rescued, idle));
    let rescue = wait_rescued(&supervisor);
    assert_eq!(
        (
            rescue.held,
            rescue.finished,
            rescue.rescued,
            rescue.idle,
            rescue.given_up
        ),
        (4, 1, 1, 1, 1),
        "{rescue:?}"
    );
    assert_eq!(
        rescue.reasons.into_iter().collect::<Vec<_>>(),
        [("not-http".to_owned(), 1)]
    );
    assert_eq!(rescue.workers, [0]);
    supervisor.wait_line(
        "worker 0: 4 connections were held for it: it finished 1 itself, 1 was closed idle, 1 was given up (1 not-http); \
         1 request was rescued",
    );
    let table = supervisor.ctl_ok(["status"]);
    assert!(
        row(
            &table,
            &[
                "RETIREMENT",
                "RESCUER",
                "HELD",
                "FINISHED",
                "RESCUED",
                "IDLE",
                "GIVEN"
            ]
        ),
        "{table}"
    );
    assert!(
        row(
            &table,
            &["1", "-", "4", "1", "1", "1", "1", "1", "not-http"]
        ),
        "{table}"
    );
    let json = supervisor.ctl_ok(["status", "--json"]);
    assert!(json.contains("\"not-http\""), "{json}");
}

#[test]
fn without_rescue_there_is_none() {
    let supervisor = scripted(&["-n", "1", "--no-rescue", "--quiet-timeout", "100ms"], &[]).start();
    supervisor.wait_serving(1);
    let (mut idle, _) = Client::served(supervisor.address());
    supervisor.ctl_ok(["reload"]);
    assert!(idle.rest().is_empty());
    assert!(supervisor.status().rescues.is_empty());
    assert_eq!(supervisor.members().len(), 2);
}

#[test]
fn no_more_are_held_than_may_be() {
    let supervisor = scripted(
        &["-n", "1", "--rescue-max", "1", "--protocol", "http1"],
        &[],
    )
    .start();
    supervisor.wait_serving(1);
    let mut clients: Vec<Client> = (0..3)
        .map(|_| Client::served(supervisor.address()).0)
        .collect();
    supervisor.ctl_ok(["reload"]);
    for client in &mut clients {
        client.0.write_all(b"GET / HTTP/1.1\r\n\r\n").ok();
    }
    let answered = clients.iter_mut().filter_map(|client| client.answer().ok());
    assert_eq!(
        answered.filter(|answer| answer.worker() == "2.0").count(),
        1
    );
    drop(clients);
    let rescue = wait_rescued(&supervisor);
    assert_eq!((rescue.held, rescue.rescued, rescue.given_up), (3, 1, 2));
    assert_eq!(rescue.reasons.get("too-many"), Some(&2));
    supervisor.wait_line("2 were given up (2 too-many)");
}

#[test]
fn a_client_of_this_host_keeps_its_address() {
    for how in ["no", "x-forwarded-for", "forwarded"] {
        let supervisor = scripted(
            &["-n", "1", "--rescue-forwarded", how, "--protocol", "http1"],
            &[],
        )
        .start();
        supervisor.wait_serving(1);
        let mut client = Client::connect_from(Ipv4Addr::new(127, 0, 0, 7), supervisor.address());
        assert_eq!(client.ask("/client").unwrap().body, "127.0.0.7");
        supervisor.ctl_ok(["reload"]);
        client.send(b"GET /client HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n");
        let answer = client.answer().unwrap();
        assert_eq!(
            (answer.worker(), answer.body.as_str()),
            ("2.0", "127.0.0.7")
        );
        assert_eq!(wait_rescued(&supervisor).rescued, 1);
    }
}

#[test]
fn what_may_be_lost_is_said() {
    let options = ["-n", "1", "--quiet-timeout", "0s", "--protocol", "http1"];
    let supervisor = scripted(&options, &["--hold", "{dir}/never"]).start();
    supervisor.wait_serving(1);
    // It is told although it answers still, and dies of the signal.
    let mut cut = begin_asking(supervisor.address(), "/hold").unwrap();
    supervisor.wait_line("holds a request");
    let (_idle, _) = Client::served(supervisor.address());
    let answer = supervisor.ctl_ok(["reload"]);
    assert!(
        answer.contains(
            "on 1 connection a request may have been lost (the log says of which workers)"
        ),
        "{answer}"
    );
    let mut rest = String::new();
    assert_eq!(cut.read_to_string(&mut rest).unwrap_or(0), 0, "{rest}");
    supervisor.wait_line("reload: done");
    drop(_idle);
    let line = supervisor.wait_line("1 was given up (1 in-flight)");
    assert!(line.contains(" WARN "), "{line}");
    assert!(!supervisor.ctl_ok(["reload"]).contains("lost"));
}

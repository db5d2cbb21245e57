//! Connections on which nothing is under way when their worker retires.

use super::*;

/// What is idle is kept only where it is known to be HTTP/1.
const HTTP: [&str; 4] = ["-n", "2", "--protocol", "http1"];

/// A client's next request is answered by the next generation, and is the last on its connection.
fn moves_on(builder: Builder) {
    let supervisor = builder.start();
    supervisor.wait_serving(2);
    let clients = (0..6).map(|_| Client::served(supervisor.address()));
    let mut clients: Vec<Client> = clients
        .map(|(client, answer)| {
            assert!(
                answer.worker().starts_with("1.") && !answer.is_last(),
                "{answer:?}"
            );
            client
        })
        .collect();
    supervisor.ctl_ok(["reload"]);
    for client in &mut clients {
        let answer = client.ask("/").unwrap();
        assert!(
            answer.worker().starts_with("2.") && answer.is_last(),
            "{answer:?}"
        );
        assert_eq!(answer.body, "hello\n");
        assert!(client.rest().is_empty());
    }
    drop(clients);
    let rescue = wait_rescued(&supervisor);
    assert_eq!((rescue.held, rescue.rescued, rescue.given_up), (6, 6, 0));
}

#[test]
fn of_the_scripted_server() {
    moves_on(scripted(&HTTP, &[]));
}

#[test]
fn of_a_scripted_server_that_drains() {
    moves_on(scripted(&HTTP, &["--drain-on-term"]));
}

#[test]
fn of_node_that_dies() {
    if let Some(builder) = keeping(&HTTP, Kind::Node, Some(AtTerm::Die)) {
        moves_on(builder);
    }
}

#[test]
fn of_node_that_drains() {
    if let Some(builder) = keeping(&HTTP, Kind::Node, None) {
        moves_on(builder);
    }
}

#[test]
fn of_python() {
    if let Some(builder) = keeping(&HTTP, Kind::Python, None) {
        moves_on(builder);
    }
}

/// Answers /hold when the file `go` appears; has never heard of SIGTERM.
const HOLDING: &str = r"
const fs = require('fs');
require('http').createServer((request, response) => {
  response.setHeader('X-Worker', process.env.REUSEPORT_GENERATION + '.' + process.env.REUSEPORT_WORKER);
  if (request.url !== '/hold') return response.end('hello\n');
  console.error('node holds a request');
  const look = () => fs.existsSync('{dir}/go') ? response.end('held\n') : setTimeout(look, 2);
  look();
}).listen({port});
";

#[test]
fn a_server_that_dies_at_once_is_told_when_it_has_answered() {
    let options = ["-n", "1", "--quiet-timeout", "50s", "--protocol", "http1"];
    let Some(builder) = scripted_node(&options, HOLDING) else {
        return;
    };
    let supervisor = builder.start();
    supervisor.wait_serving(1);
    let (mut idle, _) = Client::served(supervisor.address());
    let mut client = Client::connect(supervisor.address());
    client.request("/hold");
    supervisor.wait_line("node holds a request");
    let reload = begin(&supervisor, &["reload"]);
    wait_holding(&supervisor, 2);
    let before = supervisor.status();
    assert!(
        before
            .workers
            .iter()
            .any(|worker| worker.phase == "quiescing"),
        "{before:#?}"
    );
    touch(supervisor.directory(), "go");
    let answer = client.answer().unwrap();
    assert_eq!((answer.worker(), answer.body.as_str()), ("1.0", "held\n"));
    assert_succeeds(&supervisor, reload);
    for client in [&mut client, &mut idle] {
        assert_eq!(client.ask("/").unwrap().worker(), "2.0");
    }
}

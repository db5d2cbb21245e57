//! What is not plain HTTP/1.

use std::net::Shutdown;

use super::*;

#[test]
fn what_is_not_a_request_gets_no_answer() {
    let supervisor = scripted(&["-n", "2", "--protocol", "http1"], &[]).start();
    supervisor.wait_serving(2);
    let sent: [&[u8]; 4] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"half a request\r\n",
        b"GET / HTTP/1.1\r\nHo",
    ];
    let mut clients = sent.map(|_| Client::served(supervisor.address()).0);
    supervisor.ctl_ok(["reload"]);
    for (client, bytes) in clients.iter_mut().zip(sent) {
        client.send(bytes);
        // Else the last would be waited for.
        let _ = client.0.shutdown(Shutdown::Write);
        assert_eq!(client.rest(), b"");
    }
    let rescue = wait_rescued(&supervisor);
    assert_eq!((rescue.held, rescue.rescued), (4, 0), "{rescue:?}");
    assert_eq!(rescue.given_up + rescue.idle, 4, "{rescue:?}");
}

/// Stops accepting at SIGTERM, and ends when its last connection has.
const ECHO: &str = r"
const server = require('http').createServer((request, response) => {
  response.setHeader('X-Worker', process.env.REUSEPORT_GENERATION);
  response.end('hello\n');
});
server.on('upgrade', (request, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
  socket.on('data', (bytes) => socket.write(process.env.REUSEPORT_GENERATION + bytes));
  socket.on('end', () => socket.end());
});
server.listen({port});
process.on('SIGTERM', () => server.close());
";

#[test]
fn an_upgraded_connection_stays_with_its_worker_until_it_ends() {
    let Some(builder) = scripted_node(&["-n", "1", "--protocol", "http1"], ECHO) else {
        return;
    };
    let supervisor = builder.start();
    supervisor.wait_serving(1);
    let (mut idle, _) = Client::served(supervisor.address());
    let mut client = Client::connect(supervisor.address());
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert!(client.answer().unwrap().head.starts_with("http/1.1 101"));
    let mut echo = |byte: u8| {
        client.send(&[byte]);
        let mut answer = [0; 2];
        client.0.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [b'1', byte]);
    };
    echo(b'a');
    let reload = begin(&supervisor, &["reload"]);
    wait_holding(&supervisor, 2);
    echo(b'b');
    supervisor.wait_status(|status| status.workers.iter().any(|w| w.phase == "draining"));
    for byte in b'c'..=b'z' {
        echo(byte);
    }
    assert_eq!(idle.ask("/").unwrap().worker(), "2");
    client.0.shutdown(Shutdown::Write).unwrap();
    assert!(client.rest().is_empty());
    assert_succeeds(&supervisor, reload);
    drop(idle);
    let rescue = wait_rescued(&supervisor);
    assert_eq!(
        (rescue.held, rescue.finished, rescue.rescued),
        (2, 1, 1),
        "{rescue:?}"
    );
}

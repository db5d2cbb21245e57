//! Connections that are not requests and answers, or not in clear text: what README's advice is worth.

use super::*;

/// A time-out that no test reaches, as one sets it who has long connections.
const PATIENT: [&str; 4] = ["-n", "1", "--quiet-timeout", "50s"];

/// How many events come while a reload waits for their connection.
const EVENTS: usize = 8;

/// A reload does not end before `client` has had its way, and then it does.
#[track_caller]
fn is_waited_for(supervisor: &Supervisor, mut client: Client, mut event: impl FnMut(&mut Client)) {
    event(&mut client);
    let reload = begin(supervisor, &["reload"]);
    wait_holding(supervisor, 1);
    for _ in 0..EVENTS {
        event(&mut client);
    }
    let status = supervisor.status();
    let mut phases = status.workers.iter().map(|worker| worker.phase.as_str());
    assert!(phases.any(|phase| phase == "quiescing"), "{status:#?}");
    drop(client);
    assert_succeeds(supervisor, reload);
}

fn exactly(client: &mut Client, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    client.0.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, expected);
}

/// Sends bytes and gets them back, after a pause that is none to a rescuer.
fn echo(client: &mut Client, bytes: &[u8]) {
    // A client's pause is what this is about; nothing is waited for.
    std::thread::sleep(Duration::from_millis(20));
    client.send(bytes);
    exactly(client, bytes);
}

#[test]
fn events_are_sent_on_for_as_long_as_the_quiet_timeout_says() {
    let supervisor = scripted(&PATIENT, &[]).start();
    supervisor.wait_serving(1);
    let mut client = Client::connect(supervisor.address());
    client.request("/events");
    assert!(client.answer().unwrap().head.contains("event-stream"));
    is_waited_for(&supervisor, client, |client| exactly(client, b"event\n"));
}

#[test]
fn a_websocket_with_pauses_goes_on_for_as_long_as_the_quiet_timeout_says() {
    let supervisor = scripted(&PATIENT, &[]).start();
    supervisor.wait_serving(1);
    let mut client = Client::connect(supervisor.address());
    client.request("/echo");
    assert!(client.answer().unwrap().head.starts_with("http/1.1 101"));
    is_waited_for(&supervisor, client, |client| echo(client, b"\x81\x85frame"));
}

#[test]
fn what_looks_like_tls_goes_on_for_as_long_as_the_quiet_timeout_says() {
    let supervisor = scripted(&PATIENT, &["--opaque"]).start();
    supervisor.wait_serving(1);
    let mut client = Client::connect(supervisor.address());
    echo(&mut client, b"\x16\x03\x01\x00\x05hello");
    is_waited_for(&supervisor, client, |client| {
        echo(client, b"\x17\x03\x03\x00\x04data");
    });
}

#[test]
fn what_is_sent_on_one_request_of_http_2_goes_on_for_as_long_as_the_quiet_timeout_says() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let supervisor = scripted(&PATIENT, &["--opaque"]).start();
    supervisor.wait_serving(1);
    let mut client = Client::connect(supervisor.address());
    client.send(PREFACE);
    exactly(&mut client, PREFACE);
    is_waited_for(&supervisor, client, |client| exactly(client, PREFACE));
}

/// What was learnt in one retirement counts in the next, before a byte is seen.
#[test]
fn what_was_learnt_is_remembered() {
    let supervisor = scripted(&["-n", "1", "--quiet-timeout", "3s"], &["--opaque"]).start();
    supervisor.wait_serving(1);
    let mut client = Client::connect(supervisor.address());
    echo(&mut client, b"\x16\x03\x01\x00\x05hello");
    let reload = begin(&supervisor, &["reload"]);
    wait_holding(&supervisor, 1);
    echo(&mut client, b"\x17\x03\x03\x00\x04data");
    assert_succeeds(&supervisor, reload);
    assert!(client.rest().is_empty());
    let mut silent = Client::connect(supervisor.address());
    echo(&mut silent, b"\x16\x03\x01\x00\x05hello");
    let seen = supervisor.lines().len();
    supervisor.ctl_ok(["reload"]);
    // It was waited for although it said nothing, and did not wait for nobody afterwards.
    supervisor.wait_line_after(seen, "still has connections after 3s");
    assert!(silent.rest().is_empty());
}

/// A readiness probe that was answered shows that the endpoint speaks HTTP/1.
#[test]
fn who_answers_the_readiness_probe_is_rescued_at_once() {
    let options = ["-n", "1", "--ready", "http:/"];
    let supervisor = scripted(&options, &[]).start();
    supervisor.wait_serving(1);
    let (mut client, _) = Client::served(supervisor.address());
    supervisor.ctl_ok(["reload"]);
    // Longer than anything is held that may be anything.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(client.ask("/").unwrap().worker(), "2.0");
}

/// A worker that is told in the middle of a stream leaves nobody waiting.
#[test]
fn a_stream_ends_with_its_worker() {
    let options = ["-n", "1", "--quiet-timeout", "300ms", "--ready", "http:/"];
    let supervisor = scripted(&options, &[]).start();
    supervisor.wait_serving(1);
    let mut client = Client::connect(supervisor.address());
    client.request("/events");
    assert!(client.answer().unwrap().head.contains("event-stream"));
    exactly(&mut client, b"event\n");
    supervisor.ctl_ok(["reload"]);
    let since = std::time::Instant::now();
    client.rest();
    assert!(
        since.elapsed() < Duration::from_secs(20),
        "{:?}",
        since.elapsed()
    );
}

/// Asks 16 times at once on connections that it keeps, tells how often that failed, and asks again when it is
/// told to.
const AGENT: &str = r"
const https = require('https');
const agent = new https.Agent({ keepAlive: true, maxSockets: 16, rejectUnauthorized: false });
const ask = () => new Promise((done) => {
  const request = https.get({ host: '127.0.0.1', port: {port}, agent }, (answer) => {
    answer.resume();
    answer.on('end', () => done(0));
  });
  request.on('error', () => done(1));
  request.setTimeout(20000, () => request.destroy(new Error('no answer')));
});
const all = async () => {
  const failed = await Promise.all(Array.from({ length: 16 }, ask));
  console.log(failed.reduce((sum, one) => sum + one, 0) + ' failed');
};
process.stdin.on('data', all);
process.stdin.on('end', () => process.exit());
";

const HTTPS: &str = r"
const fs = require('fs');
const [key, cert] = ['key', 'cert'].map((name) => fs.readFileSync('{dir}/' + name));
require('https').createServer({ key, cert }, (_, answer) => answer.end('hello\n')).listen({port});
";

#[test]
fn of_https_agents_idle_connections_none_loses_its_next_request() {
    let options = ["-n", "2", "--quiet-timeout", "300ms"];
    let Some(builder) = scripted_node(&options, HTTPS) else {
        return;
    };
    let directory = builder.directory().display().to_string();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=localhost",
        ])
        .args([
            "-keyout",
            &format!("{directory}/key"),
            "-out",
            &format!("{directory}/cert"),
        ])
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return skipped("openssl");
    }
    let supervisor = builder.file("agent.js", AGENT).start();
    supervisor.wait_serving(2);
    let mut agent = Command::new("node")
        .arg(supervisor.directory().join("agent.js"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(agent.stdout.take().unwrap()).lines();
    let mut ask = || {
        agent.stdin.as_mut().unwrap().write_all(b"ask\n").unwrap();
        lines.next().unwrap().unwrap()
    };
    assert_eq!(ask(), "0 failed");
    for _ in 0..2 {
        supervisor.ctl_ok(["reload"]);
        // What was idle has been let go.
        wait_rescued(&supervisor);
        assert_eq!(ask(), "0 failed");
    }
    drop(agent.stdin.take());
    agent.wait().unwrap();
}

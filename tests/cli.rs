//! The programs as people meet them: `reuseport-ctl` against a supervisor that is played by the
//! test, and `reuseport-demo` over its socket.
#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, iter};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use reuseport_run::cli::{Exit, ctl};
use reuseport_run::wire::control::{
    EndpointStatus, RecyclingStatus, Reload, Reply, Request, Scale, Status, parse_request,
    reply_line,
};
use tempfile::TempDir;

/// Nothing here takes longer, on a busy machine either.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A supervisor that answers each request with the bytes that a test gives for it, and hangs up.
struct Fake {
    directory: TempDir,
    requests: mpsc::Receiver<Request>,
}

impl Fake {
    fn new(answer: impl Fn(Request) -> Vec<u8> + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let requests = play(&directory.path().join("web.sock"), answer);
        Self {
            directory,
            requests,
        }
    }

    fn replying(replies: &[Reply]) -> Self {
        let bytes: Vec<u8> = replies.iter().flat_map(reply_line).collect();
        Self::new(move |_| bytes.clone())
    }

    /// Runs `reuseport-ctl` with this line, and tells what it printed.
    fn ctl(&self, line: &str) -> (String, Result<(), Exit>) {
        ctl_in(self.directory.path(), line)
    }

    fn request(&self) -> Request {
        self.requests.recv_timeout(TEST_TIMEOUT).unwrap()
    }
}

/// Serves the socket until the test ends, or until a request is answered with nothing at all:
/// that ends the fake supervisor, its socket included.
fn play(
    path: &Path,
    answer: impl Fn(Request) -> Vec<u8> + Send + 'static,
) -> mpsc::Receiver<Request> {
    let listener = UnixListener::bind(path).unwrap();
    let (sender, requests) = mpsc::channel();
    let path = path.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(request) = read_request(&stream) else {
                continue;
            };
            let _ = sender.send(request.clone());
            match answer(request) {
                nothing if nothing.is_empty() => {
                    fs::remove_file(&path).unwrap();
                    drop(listener);
                    return;
                }
                bytes => drop(stream.write_all(&bytes)),
            }
        }
    });
    requests
}

/// One request; none from a client that only looked whether somebody is there.
fn read_request(stream: &UnixStream) -> Option<Request> {
    let mut line = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut line).ok()?;
    parse_request(line.strip_suffix(b"\n")?).ok()
}

fn ctl_in(directory: &Path, line: &str) -> (String, Result<(), Exit>) {
    let words: Vec<OsString> = iter::once("reuseport-ctl")
        .chain(line.split_whitespace())
        .map(OsString::from)
        .collect();
    let directory = directory.to_owned();
    let (sender, outcome) = mpsc::channel();
    thread::spawn(move || {
        let mut out = Vec::new();
        let result = ctl::run(words, &|_| None, &directory, &mut out);
        sender
            .send((String::from_utf8(out).unwrap(), result))
            .unwrap();
    });
    outcome
        .recv_timeout(TEST_TIMEOUT)
        .expect("reuseport-ctl does not end")
}

fn phase(after_ms: u64, phase: &str) -> Reply {
    let detail = "4 workers of generation 2".to_owned();
    Reply::Phase {
        after_ms,
        phase: phase.to_owned(),
        detail,
    }
}

fn done() -> Reply {
    Reply::Done {
        message: "generation 2 serves".to_owned(),
    }
}

fn status() -> Reply {
    Reply::Status(Box::new(Status {
        queues: Vec::new(),
        name: "web".to_owned(),
        version: "0.1.0".to_owned(),
        pid: 1,
        uptime_ms: 5_000,
        phase: "serving".to_owned(),
        workers_wanted: 0,
        reloads: 0,
        reloads_failed: 0,
        recyclings: RecyclingStatus::default(),
        steering: "none".to_owned(),
        steering_refused: None,
        change: None,
        generations: Vec::new(),
        workers: Vec::new(),
        rescues: Vec::new(),
        endpoints: vec![EndpointStatus {
            address: "[::]:80".to_owned(),
            listeners: 0,
            live: 0,
            queue: 0,
            connections: None,
        }],
    }))
}

fn assert_exit(outcome: Result<(), Exit>, code: u8, words: &str) {
    let exit = outcome.unwrap_err();
    assert_eq!(exit.code, code, "{}", exit.text);
    assert!(exit.text.contains(words), "{}", exit.text);
}

#[test]
fn a_reload_shows_each_phase_and_ends_with_the_last() {
    let phases = ["starting", "serving", "draining", "gone"];
    let replies: Vec<Reply> = phases
        .iter()
        .zip([0, 40, 52, 1_300])
        .map(|(name, after)| phase(after, name))
        .collect();
    let fake = Fake::replying(&[replies, vec![done()]].concat());
    let (printed, outcome) = fake.ctl("reload");
    assert_eq!(outcome, Ok(()));
    assert_eq!(fake.request(), Request::Reload(Reload::default()));
    let expected = "       0 ms  starting    4 workers of generation 2
      40 ms  serving     4 workers of generation 2
      52 ms  draining    4 workers of generation 2
    1300 ms  gone        4 workers of generation 2
generation 2 serves
";
    assert_eq!(printed, expected);
}

#[test]
fn no_wait_returns_when_the_new_generation_serves() {
    // What would follow never comes: the connection ends, which is an error for who waits.
    let fake = Fake::replying(&[phase(0, "starting"), phase(40, "serving")]);
    let (printed, outcome) = fake.ctl("reload --no-wait");
    assert_eq!(outcome, Ok(()));
    assert_eq!(printed.lines().count(), 2);
    assert_exit(fake.ctl("reload").1, 3, "went away before it answered");
}

#[test]
fn failed_and_denied_are_told_with_the_reason() {
    let failed = Reply::Failed {
        message: "worker 5 exited with 1".to_owned(),
    };
    let fake = Fake::replying(&[phase(0, "starting"), failed]);
    let (printed, outcome) = fake.ctl("reload");
    assert_exit(outcome, 1, "worker 5 exited with 1");
    assert!(printed.contains("starting"));

    let denied = Reply::Denied {
        message: "a reload is in progress".to_owned(),
    };
    assert_exit(
        Fake::replying(&[denied]).ctl("restart 5").1,
        1,
        "a reload is in progress",
    );
}

#[test]
fn verbs_become_requests() {
    let fake = Fake::replying(&[done()]);
    for (line, request) in [
        ("stop", Request::Stop { now: false }),
        ("stop --now", Request::Stop { now: true }),
        (
            "scale 3",
            Request::Scale {
                to: Scale::Exactly(3),
            },
        ),
        ("scale -2", Request::Scale { to: Scale::Down(2) }),
        ("restart 9", Request::Restart { worker: 9 }),
    ] {
        assert_eq!(fake.ctl(line).1, Ok(()), "{line}");
        assert_eq!(fake.request(), request, "{line}");
    }
}

#[test]
fn a_status_is_a_table_or_json() {
    let fake = Fake::replying(&[status()]);
    let (printed, outcome) = fake.ctl("status");
    assert_eq!(outcome, Ok(()));
    assert!(printed.starts_with("web: serving  pid 1  up 5s") && printed.contains("[::]:80"));

    let (printed, outcome) = fake.ctl("status --json");
    assert_eq!(outcome, Ok(()));
    let Reply::Status(expected) = status() else {
        unreachable!()
    };
    assert_eq!(serde_json::from_str::<Status>(&printed).unwrap(), *expected);
}

#[test]
fn garbage_is_a_failure() {
    for garbage in [
        "hello\n",
        "{}\n",
        "{\"reply\":\"dance\"}\n",
        "\n",
        "\u{0}\u{1b}\n",
    ] {
        let fake = Fake::new(move |_| garbage.as_bytes().to_vec());
        assert_exit(fake.ctl("status").1, 1, "the reply is not understood");
    }
}

#[test]
fn an_end_in_the_middle_is_no_success() {
    let half = reply_line(&done())[..10].to_vec();
    let fake = Fake::new(move |_| half.clone());
    assert_exit(fake.ctl("reload").1, 3, "went away before it answered");
}

#[test]
fn an_end_after_stop_is_success_only_if_nobody_is_left() {
    let gone = Fake::new(|_| Vec::new());
    let (printed, outcome) = gone.ctl("stop");
    assert_eq!(outcome, Ok(()));
    assert!(printed.contains("the supervisor is gone"), "{printed}");

    let alive = Fake::new(|request| match request {
        Request::Status => reply_line(&status()),
        _ => reply_line(&phase(0, "draining")),
    });
    assert_exit(alive.ctl("stop").1, 3, "went away before it answered");
}

#[test]
fn the_only_supervisor_needs_no_name() {
    let fake = Fake::replying(&[done()]);
    let directory = fake.directory.path();
    // Left behind by a supervisor that was killed.
    drop(UnixListener::bind(directory.join("dead.sock")).unwrap());
    fs::write(directory.join("other.txt"), "").unwrap();
    assert_eq!(fake.ctl("restart 1").1, Ok(()));

    let _second = play(&directory.join("api.sock"), |_| reply_line(&done()));
    let exit = fake.ctl("restart 1").1.unwrap_err();
    assert_eq!(exit.code, 2);
    assert!(
        exit.text.contains("2 supervisors are running"),
        "{}",
        exit.text
    );
    assert!(exit.text.contains("--name (api, web)"), "{}", exit.text);
    assert_eq!(fake.ctl("--name api restart 1").1, Ok(()));
}

#[test]
fn no_supervisor_is_told_with_where_it_was_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let shown = directory.display().to_string();
    assert_exit(
        ctl_in(directory, "status").1,
        3,
        &format!("looked in {shown}"),
    );
    assert_exit(
        ctl_in(&directory.join("no"), "status").1,
        3,
        "no supervisor is running",
    );
    assert_exit(
        ctl_in(directory, "--name web status").1,
        3,
        "there is no socket",
    );

    let dead = directory.join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    assert_exit(
        ctl_in(directory, "status").1,
        3,
        "no supervisor is running (looked in",
    );
    assert_exit(ctl_in(directory, "--name dead status").1, 3, "left behind");
    let line = format!("--socket {} status", dead.display());
    assert_exit(ctl_in(Path::new("/nowhere"), &line).1, 3, "left behind");
}

#[test]
fn a_socket_path_that_is_too_long_is_a_usage_error() {
    let line = format!("--socket /{} status", "s".repeat(107));
    assert_exit(
        ctl_in(Path::new("/nowhere"), &line).1,
        2,
        "may have 107 bytes, this one has 108",
    );
}

#[test]
fn a_directory_that_others_can_write_is_not_trusted() {
    let fake = Fake::replying(&[done()]);
    fs::set_permissions(fake.directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert_exit(fake.ctl("reload").1, 3, "no other can write");
    assert_exit(fake.ctl("--name web reload").1, 3, "no other can write");
}

#[test]
fn help_and_manual_know_every_verb_and_option() {
    let known = [
        "status",
        "reload",
        "stop",
        "scale",
        "restart",
        "--json",
        "--no-wait",
        "--now",
        "N|+N|-N",
    ];
    let (_, outcome) = ctl_in(Path::new("/nowhere"), "--generate man");
    let exit = outcome.unwrap_err();
    assert_eq!(exit.code, 0);
    let page = exit.text.replace('\\', "");
    for word in known
        .iter()
        .chain(&["--name", "--socket", "EXIT CODES", "FILES"])
    {
        assert!(page.contains(word), "the manual does not know {word}");
    }
    let help = ctl_in(Path::new("/nowhere"), "--help").1.unwrap_err();
    assert_eq!(help.code, 0);
    for word in known
        .iter()
        .filter(|word| word.starts_with(|c: char| c.is_lowercase()))
    {
        assert!(help.text.contains(word), "the help does not know {word}");
    }
}

/// What a shell sees.
fn ctl_command(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reuseport-ctl"));
    command.args(line.split_whitespace()).stdin(Stdio::null());
    command
}

fn output(mut command: Command) -> Output {
    command.output().unwrap()
}

#[test]
fn the_shell_sees_code_and_reason() {
    let answered = output(ctl_command("--version"));
    assert_eq!(answered.status.code(), Some(0));
    assert!(answered.stdout.starts_with(b"reuseport-ctl ") && answered.stderr.is_empty());

    let usage = output(ctl_command("scale x"));
    assert_eq!(usage.status.code(), Some(2));
    assert!(usage.stderr.starts_with(b"reuseport-ctl: ") && usage.stdout.is_empty());
    assert_eq!(
        usage.stderr.iter().filter(|byte| **byte == b'\n').count(),
        1
    );

    let absent = output(ctl_command("--socket /nowhere/s status"));
    assert_eq!(absent.status.code(), Some(3));

    let run = Command::new(env!("CARGO_BIN_EXE_reuseport-run"))
        .args(["-n", "0", "s"])
        .output();
    assert_eq!(run.unwrap().status.code(), Some(2));
}

/// Runs `reuseport-run` with this line and a command that would leave a file behind, which it must not begin.
fn refused(line: &str, as_user: Option<u32>) -> io::Result<String> {
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777))?;
    let begun = directory.path().join("begun");
    let mut command = Command::new(env!("CARGO_BIN_EXE_reuseport-run"));
    command.args(line.split_whitespace()).arg("--control");
    command.arg(directory.path().join("c.sock"));
    command.arg("touch").arg(&begun).stdin(Stdio::null());
    if let Some(user) = as_user {
        command.uid(user).gid(user);
    }
    let seen = command.output()?;
    let stderr = String::from_utf8(seen.stderr).unwrap();
    assert_eq!(seen.status.code(), Some(2), "{line}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{line}: {stderr}");
    assert!(!begun.exists(), "{line}: the command has begun");
    Ok(stderr)
}

#[test]
fn what_a_process_cannot_be_given_is_told_before_anything_starts() {
    for (line, sentence) in [
        ("--nice 20", "--nice 20: give a whole number from -20 to 19"),
        ("--nice low", "--nice low: give a whole number"),
        (
            "--umask 1000",
            "--umask 1000: give an octal number from 0 to 0777",
        ),
        ("--umask 8", "--umask 8: give an octal number"),
        (
            "--oom-score-adj -1001",
            "--oom-score-adj -1001: give a whole number from -1000 to 1000",
        ),
        ("--pin=maybe", "--pin maybe: give true or false"),
        ("--rlimit 5", "--rlimit 5: give NAME=SOFT or NAME=SOFT:HARD"),
        (
            "--rlimit files=5",
            "--rlimit files=5: there is no limit 'files'; there are as, core,",
        ),
        (
            "--rlimit nofile=many",
            "--rlimit nofile=many: 'many' is no value of nofile: give a whole number",
        ),
        (
            "--rlimit nproc=9:8",
            "--rlimit nproc=9:8: its soft limit 9 is above its hard limit 8",
        ),
        (
            "--rlimit nofile=8",
            "--rlimit nofile=8: no worker can run with so few descriptors; give at least 16",
        ),
        (
            "--rlimit core=0 --rlimit core=1",
            "--rlimit core: it is given twice; SOFT:HARD sets both",
        ),
        // More than fs.nr_open can be, which not even root may have.
        (
            "--rlimit nofile=64:unlimited",
            "--rlimit nofile=64:unlimited: its hard limit cannot be raised to unlimited: ",
        ),
        (
            "--user no-such-user",
            "--user no-such-user: there is no such user; give a name of /etc/passwd",
        ),
        (
            "--user 4242424",
            "--user 4242424: no account has this number",
        ),
        (
            "--user 4294967295",
            "--user 4294967295: give a number from 0 to",
        ),
        (
            "--group no-such-group",
            "--group no-such-group: there is no such group",
        ),
    ] {
        let stderr = refused(line, None).unwrap();
        let expected = format!("reuseport-run: {sentence}");
        assert!(stderr.starts_with(&expected), "{line}: {stderr}");
    }
}

#[test]
fn only_root_has_workers_of_others() {
    let nobody = geteuid().is_root().then_some(65534);
    for (line, sentence) in [
        (
            "--user root",
            "--user root: only root can start workers of another user: run reuseport-run as root",
        ),
        (
            "--user 4242424 --group 4242424",
            "--user 4242424: only root can start workers of another user",
        ),
        (
            "--group root",
            "--group root: only root can start workers of another group (0)",
        ),
    ] {
        match refused(line, nobody) {
            Ok(stderr) => assert!(stderr.contains(sentence), "{line}: {stderr}"),
            Err(error) => drop(writeln!(
                std::io::stderr(),
                "skipped: only_root_has_workers_of_others needs a build directory that uid 65534 can enter ({error})"
            )),
        }
    }
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let fake = Fake::replying(&[phase(0, "starting"), phase(1, "serving"), done()]);
    let path = fake.directory.path().join("web.sock");
    for line in [
        format!("--socket {} reload", path.display()),
        "--help".to_owned(),
    ] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut command = ctl_command(&line);
        command.stdout(writer);
        let seen = output(command);
        assert_eq!(seen.status.code(), Some(0), "{line}");
        assert!(
            seen.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&seen.stderr)
        );
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    let fake = Fake::replying(&[done()]);
    let path = fake.directory.path().join("web.sock");
    let mut command = ctl_command(&format!("--socket {} restart 1", path.display()));
    command.stdout(
        fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap(),
    );
    let seen = output(command);
    assert_eq!(seen.status.code(), Some(1));
    assert!(
        seen.stderr
            .starts_with(b"reuseport-ctl: cannot write the answer")
    );
}

#[test]
fn a_socket_of_somebody_else_is_not_permitted() {
    let fake = Fake::replying(&[done()]);
    let path = fake.directory.path().join("web.sock");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(fake.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = ctl_command(&format!("--socket {} status", path.display()));
    if geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    match command.output() {
        Ok(seen) => {
            let stderr = String::from_utf8_lossy(&seen.stderr);
            assert_eq!(seen.status.code(), Some(3), "{stderr}");
            assert!(stderr.contains("not permitted to connect"), "{stderr}");
        }
        Err(error) => drop(writeln!(
            std::io::stderr(),
            "skipped: a_socket_of_somebody_else_is_not_permitted needs a build directory that \
             uid 65534 can enter ({error})"
        )),
    }
}

/// A running `reuseport-demo`, killed if the test ends before it.
struct Demo {
    child: Child,
    address: String,
}

impl Demo {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_reuseport-demo"))
            .arg("127.0.0.1:0")
            .env("REUSEPORT_WORKER", "3")
            .env("REUSEPORT_GENERATION", "7")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().rsplit("http://").next().unwrap().to_owned();
        Self { child, address }
    }

    fn send(&self, bytes: &[u8]) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        stream.write_all(bytes).unwrap();
        BufReader::new(stream)
    }

    fn terminate(&self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One answer: its head, and its body by the length that the head tells.
fn answer(reader: &mut impl BufRead) -> (String, String) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(
            reader.read_line(&mut head).unwrap(),
            0,
            "it ends in the head: {head}"
        );
    }
    let (_, length) = head.split_once("Content-Length: ").unwrap();
    let length = length.lines().next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn rest(mut reader: impl Read) -> Vec<u8> {
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    rest
}

#[test]
fn the_demo_tells_who_it_is_and_keeps_connections() {
    let demo = Demo::start();
    let pid = demo.child.id();
    let mut reader = demo.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\n\r\n");
    for _ in 0..2 {
        let (head, body) = answer(&mut reader);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("X-Worker: {pid}\r\n")), "{head}");
        assert_eq!(body, format!("worker 3, generation 7, pid {pid}\n"));
    }
}

#[test]
fn the_demo_closes_where_it_cannot_go_on() {
    let demo = Demo::start();
    for (request, status) in [
        (
            "GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
            "200",
        ),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), "200"),
        (
            "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nGET /a b c".to_owned(),
            "200",
        ),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("\r\n\r\n".to_owned(), "400"),
    ] {
        let mut reader = demo.send(request.as_bytes());
        let (head, _) = answer(&mut reader);
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:?}: {head}"
        );
        assert!(
            head.contains("Connection: close\r\n"),
            "{request:?}: {head}"
        );
        assert_eq!(rest(reader), b"");
    }
    // Too long a head is not answered, and not kept.
    let stream = TcpStream::connect(&demo.address).unwrap();
    stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    let _ = (&stream).write_all(&b"GET / HTTP/1.1\r\n".repeat(2_000));
    let end = (&stream).read_to_end(&mut Vec::new());
    assert!(matches!(end, Ok(0)) || end.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionReset));
}

#[test]
fn the_demo_finishes_what_it_has_begun() {
    let mut demo = Demo::start();
    // The first answer shows that the connection is taken; an idle one must not hold the exit up.
    let mut idle = demo.send(b"GET / HTTP/1.1\r\n\r\n");
    answer(&mut idle);
    let mut slow = demo.send(b"GET /slow HTTP/1.1\r\n\r\n");
    if let Err(error) = wait_until_one_sleeps(demo.child.id()) {
        drop(writeln!(
            std::io::stderr(),
            "skipped: the_demo_finishes_what_it_has_begun needs /proc/PID/syscall ({error})"
        ));
        return;
    }
    demo.terminate();
    let (head, _) = answer(&mut slow);
    assert!(head.contains("Connection: close\r\n"), "{head}");
    assert_eq!(demo.wait().code(), Some(0));
    assert!(TcpStream::connect(&demo.address).is_err());
    assert_eq!(rest(idle), b"");
}

/// Waits until a thread of this process sleeps, as `/slow` does and nothing else.
///
/// # Errors
/// The kernel does not tell (`/proc/PID/task/TID/syscall`, proc(5)).
fn wait_until_one_sleeps(pid: u32) -> io::Result<()> {
    let sleeps = [libc::SYS_clock_nanosleep, libc::SYS_nanosleep].map(|call| format!("{call} "));
    let deadline = Instant::now() + TEST_TIMEOUT;
    loop {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the two reads.
            let call = match fs::read_to_string(task?.path().join("syscall")) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                call => call?,
            };
            if sleeps.iter().any(|sleep| call.starts_with(sleep)) {
                return Ok(());
            }
        }
        assert!(Instant::now() < deadline, "the slow request is not begun");
        thread::yield_now();
    }
}

#[test]
fn the_demo_says_why_it_cannot_serve() {
    let demo = Demo::start();
    let second = Command::new(env!("CARGO_BIN_EXE_reuseport-demo"))
        .arg(&demo.address)
        .output();
    let second = second.unwrap();
    assert_eq!(second.status.code(), Some(1));
    let stderr = String::from_utf8(second.stderr).unwrap();
    let expected = format!("reuseport-demo: cannot serve {}: ", demo.address);
    assert!(stderr.starts_with(&expected), "{stderr}");
}

#[test]
fn the_demo_says_what_it_does() {
    for option in ["-h", "--help"] {
        let output = Command::new(env!("CARGO_BIN_EXE_reuseport-demo"))
            .arg(option)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0));
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(
            told.contains("[ADDRESS:PORT]") && told.contains("/slow"),
            "{told}"
        );
    }
}

//! What several of the subjects need.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reuseport_run::wire::control::Status;

use crate::harness::{Builder, Supervisor, ctl_program};
use crate::rig::load::{Load, Outcome, Plan};
use crate::rig::server::{Kind, Unready, Wanted};

/// How long a load may take to make progress once, on a busy machine.
pub(crate) const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);

/// Says past the test harness's capture that a test was skipped, and why.
pub(crate) fn skipped(needs: &str) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    // Not the macro: that one is captured, and a test that was skipped must not pass in silence.
    let _ = writeln!(io::stderr(), "skipped: {name} needs {needs}");
}

/// Whether this is root; says that the test was skipped if not.
pub(crate) fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skipped("root");
    }
    is_root
}

/// A supervisor of the scripted server, with these options of its own and of the server's.
pub(crate) fn scripted(options: &[&str], behaviour: &[&str]) -> Builder {
    let port = ["--port", "{port}"];
    Supervisor::builder()
        .args(options.iter().copied())
        .fixture("misbehave", port.iter().chain(behaviour).copied())
}

/// A supervisor of the scripted server that reads its behaviour from a file at each start.
pub(crate) fn changeable(options: &[&str]) -> Builder {
    scripted(options, &["--behaviour-file", "{dir}/behaviour"])
}

/// A supervisor of a real server; none, after saying so, where there is none.
pub(crate) fn real(options: &[&str], kind: Kind, bind: IpAddr) -> Option<Builder> {
    let builder = Supervisor::builder().args(options.iter().copied());
    let wanted = Wanted {
        kind,
        bind,
        port: builder.port(),
        keep_alive: false,
        at_term: None,
        directory: builder.directory(),
    };
    let command = found(wanted.command())?;
    Some(builder.command(command))
}

/// The Python interpreter itself; none, after saying so, where there is none.
pub(crate) fn python() -> Option<String> {
    interpreter(Kind::PythonPlain)
}

/// Node itself; none, after saying so, where there is none.
pub(crate) fn node() -> Option<String> {
    interpreter(Kind::Node)
}

fn interpreter(kind: Kind) -> Option<String> {
    let wanted = Wanted {
        kind,
        bind: Ipv4Addr::LOCALHOST.into(),
        port: 0,
        keep_alive: false,
        at_term: None,
        directory: &std::env::temp_dir().join("reuseport-run-tests"),
    };
    found(wanted.command())?.into_iter().next()
}

/// A supervisor of a Python script.
pub(crate) fn scripted_python(options: &[&str], script: &str) -> Option<Builder> {
    let python = python()?;
    let builder = Supervisor::builder()
        .args(options.iter().copied())
        .file("server.py", script)
        .command([&python, "{dir}/server.py"]);
    Some(builder)
}

pub(crate) fn found(command: Result<Vec<String>, Unready>) -> Option<Vec<String>> {
    match command {
        Ok(command) => Some(command),
        Err(Unready::Missing(what)) => {
            skipped(&what);
            None
        }
        Err(Unready::Broken(why)) => panic!("{why}"),
    }
}

/// Asks once and returns who answered: `generation.slot`.
pub(crate) fn ask(address: SocketAddr) -> io::Result<String> {
    ask_for(address, "/")
}

pub(crate) fn ask_for(address: SocketAddr, path: &str) -> io::Result<String> {
    let connection = begin_asking(address, path)?;
    finish_asking(connection)
}

/// Connects and sends the request.
pub(crate) fn begin_asking(address: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(PROGRESS_TIMEOUT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    Ok(connection)
}

/// Reads the answer and returns who gave it.
pub(crate) fn finish_asking(connection: TcpStream) -> io::Result<String> {
    let mut name = None;
    for line in BufReader::new(connection).lines() {
        let line = line?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("x-worker:") {
            name = Some(value.trim().to_owned());
        }
    }
    name.ok_or_else(|| io::Error::other("no worker answered"))
}

/// Does something under load, and none of the requests may fail.
#[track_caller]
pub(crate) fn without_loss<T>(plan: Plan, act: impl FnOnce() -> T) -> (T, Outcome) {
    let load = Load::start(plan).unwrap();
    assert!(
        load.wait_answered(30, PROGRESS_TIMEOUT),
        "{:#?}",
        load.stop()
    );
    let result = act();
    assert!(
        load.wait_answered(30, PROGRESS_TIMEOUT),
        "{:#?}",
        load.stop()
    );
    let outcome = load.stop();
    assert_eq!(outcome.failures(), 0, "{outcome:#?}");
    (result, outcome)
}

/// A load that leaves the machine to the other tests.
pub(crate) fn light(address: SocketAddr) -> Plan {
    Plan {
        pause: Duration::from_millis(2),
        ..Plan::new(address).connections(4)
    }
}

/// A `reuseport-ctl reload` that runs beside the test.
pub(crate) fn begin_reload(supervisor: &Supervisor) -> Child {
    begin_reload_with(supervisor, &[])
}

/// Likewise, with these options.
pub(crate) fn begin_reload_with(supervisor: &Supervisor, options: &[&str]) -> Child {
    let mut reload = Command::new(ctl_program());
    let reload = reload.arg("--socket").arg(supervisor.control());
    let reload = reload.arg("reload").args(options).stdout(Stdio::piped());
    reload.stderr(Stdio::piped()).spawn().unwrap()
}

/// What a program has complained of.
pub(crate) fn sentence(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The pids of the serving workers, by slot.
pub(crate) fn pids(status: &Status) -> Vec<i32> {
    let workers = status.workers.iter().filter_map(|worker| worker.pid);
    workers.map(|pid| i32::try_from(pid).unwrap()).collect()
}

pub(crate) fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// Whether every thread of a process has stopped, as SIGSTOP wants it.
pub(crate) fn is_stopped(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let mut texts = threads.map(|thread| fs::read_to_string(thread.path().join("status")).unwrap());
    texts.all(|text| field(&text, "State").unwrap().starts_with('T'))
}

/// The inodes of a process's sockets.
pub(crate) fn sockets(pid: i32) -> Vec<u64> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
    let targets = descriptors
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    let inode = |target: std::path::PathBuf| {
        let target = target.to_str()?;
        target
            .strip_prefix("socket:[")?
            .strip_suffix(']')?
            .parse()
            .ok()
    };
    targets.filter_map(inode).collect()
}

/// The inodes of the sockets that listen on a port.
pub(crate) fn listeners(port: u16) -> Vec<u64> {
    use reuseport_run::wire::diag::States;
    let here = reuseport_run::sys::diag::connections(port, States::LISTENING).unwrap();
    here.iter().map(|socket| socket.inode).collect()
}

/// One field of a process's `/proc/PID/status`.
pub(crate) fn status_field(pid: i32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field(&status, name)
}

pub(crate) fn field(status: &str, name: &str) -> Option<String> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches(':').trim().to_owned())
}

/// A process's environment at its start.
pub(crate) fn environment(pid: i32) -> Vec<(String, String)> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let pair = |text: &str| {
        text.split_once('=')
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    text.split('\0').filter_map(pair).collect()
}

pub(crate) fn value<'a>(environment: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = environment.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

/// Waits for the supervisor to end with a code, and sees that nothing is left behind.
#[track_caller]
pub(crate) fn assert_ends(supervisor: &mut Supervisor, code: i32) {
    let ended = supervisor.wait_exit();
    if ended != code {
        supervisor.give_up(&format!("it ended with {ended}, not with {code}"));
    }
    supervisor.wait_nobody();
    assert!(!supervisor.control().exists(), "the control socket is left");
    assert_eq!(listeners(supervisor.port()), Vec::<u64>::new());
}

/// The sentence of a start that failed: it is the only error, and it ends with code 3.
#[track_caller]
pub(crate) fn refusal(mut supervisor: Supervisor) -> String {
    assert_ends(&mut supervisor, 3);
    let sentence = supervisor.wait_line("start failed: ");
    let lines = supervisor.lines();
    let errors = lines.iter().filter(|line| line.contains(" ERROR "));
    assert_eq!(errors.count(), 1, "{lines:#?}");
    sentence
}

/// Copies a program. Not by this process: what another test forks meanwhile would have the file open for writing, and it
/// could not be executed (ETXTBSY).
pub(crate) fn copy(program: &Path, to: &Path) {
    let copied = Command::new("cp").args([program, to]).status().unwrap();
    assert!(copied.success());
}

pub(crate) fn touch(directory: &Path, name: &str) {
    fs::write(directory.join(name), "").unwrap();
}

/// How it ended, and the one line that it said.
#[track_caller]
pub(crate) fn complaint(builder: Builder) -> (i32, String) {
    let mut supervisor = builder.start();
    let code = supervisor.wait_exit();
    supervisor.wait_nobody();
    let line = supervisor.wait_line("");
    assert_eq!(supervisor.lines().len(), 1, "{:#?}", supervisor.lines());
    (code, line)
}

/// Runs as nobody, who may write to the test's directory.
pub(crate) fn as_nobody(builder: Builder, mode: u32, more: &[&str]) -> Builder {
    fs::set_permissions(builder.directory(), fs::Permissions::from_mode(mode)).unwrap();
    let user = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    builder.through(user.iter().chain(more).copied())
}

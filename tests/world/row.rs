//! All checks of one server.
//!
//! ```text
//!  start ─► fresh: load, reload, reload, reload ─► keep-alive: the same ─► kill ─► scale ─► stop
//! ```
//!
//! A check that cannot be ended leaves nothing to the next: all processes are killed and the server is started
//! anew. Between two actions the load must make progress: so many requests, not so much time.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::bare::{self, Bare};
use crate::checks::Run;
use crate::install;
use crate::loads::Loads;
use crate::report::{Check, Report};
use crate::rig::control::Trouble;
use crate::rig::load::{Mode, Plan};
use crate::rig::output_lines::OutputLines;
use crate::rig::port::Reservation;
use crate::rig::process_tree::ProcessTree;
use crate::table::{Server, home, words};
use crate::trial::options::{Actions, Options};

/// How long a worker may take to be ready.
const START_TIMEOUT: &str = "--start-timeout 20s";

/// Requests on a connection that is not HTTP/1: it shall end by itself within `--quiet-timeout`.
const EXCHANGES: u64 = 50;

/// How long a client rests after each answer: the load shall be there, and leave the servers a processor.
const PAUSE: Duration = Duration::from_millis(1);

/// One server's run, and what it needs.
pub(crate) struct Row<'a> {
    pub(crate) server: &'a Server,
    pub(crate) options: Options,
    pub(crate) command: Vec<String>,
    directory: TempDir,
    pub(crate) reservation: Reservation,
    pub(crate) processes: ProcessTree,
    pub(crate) output_lines: Arc<OutputLines>,
}

/// Runs the row, prints its lines and its report.
pub(crate) fn main(server: &Server, cache: &Path, reloads: u32, seconds: u64) -> ExitCode {
    let log = cache.join("logs").join(format!("{}.log", server.name));
    let row = match Row::new(server, cache, reloads) {
        Ok(row) => Arc::new(row),
        Err(trouble) => {
            say(&Report::broken(&server.name, trouble));
            return ExitCode::FAILURE;
        }
    };
    thread::scope(|scope| {
        let watched = Arc::clone(&row);
        let log_path = log.clone();
        // It ends with the process: a row that has ended exits.
        scope.spawn(move || {
            thread::sleep(Duration::from_secs(seconds));
            watched.end(&log_path);
            say(&Report::broken(
                &server.name,
                format!("the row has not ended within {seconds} s"),
            ));
            exit(1);
        });
        let report = row.run();
        row.end(&log);
        say(&report);
        exit(0);
    })
}

/// Whoever reads this may have gone; then nobody wants to know.
fn say(report: &Report) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", serde_json::to_string(report).unwrap_or_default());
    let _ = out.flush();
}

/// The server's files, by their names.
pub(crate) fn files(server: &Server) -> Result<BTreeMap<String, String>, String> {
    let mut files = server.files.clone();
    for name in &server.shared {
        let path = home().join("files").join(name);
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        files.insert(name.clone(), text);
    }
    Ok(files)
}

fn programs() -> Result<PathBuf, Trouble> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let profile = program.parent().and_then(Path::parent);
    Ok(profile
        .ok_or("this program is in no directory of cargo's")?
        .to_owned())
}

impl<'a> Row<'a> {
    fn new(server: &'a Server, cache: &Path, reloads: u32) -> Result<Self, Trouble> {
        let directory = TempDir::new().map_err(|error| error.to_string())?;
        let reservation = Reservation::new().map_err(|error| error.to_string())?;
        let home = install::home(cache, server);
        let fill = |text: &str| {
            let text = text.replace("@PORT@", &reservation.port().to_string());
            let text = text.replace("@DIR@", &directory.path().display().to_string());
            text.replace("@HOME@", &home.display().to_string())
        };
        for (name, text) in files(server)? {
            let path = directory.path().join(&name);
            let made = path.parent().map_or(Ok(()), fs::create_dir_all);
            made.and_then(|()| fs::write(&path, fill(&text)))
                .map_err(|error| format!("cannot write {name}: {error}"))?;
        }
        let mut command = vec![
            "env".to_owned(),
            "-C".into(),
            directory.path().display().to_string(),
        ];
        command.push(format!("PORT={}", reservation.port()));
        command.push(format!("NODE_PATH={}", home.join("node_modules").display()));
        command.extend(words(&server.command).iter().map(|word| fill(word)));
        let programs = programs()?;
        let options = Options {
            supervisor: Some(programs.join("reuseport-run")),
            ctl: Some(programs.join("reuseport-ctl")),
            direct: false,
            connect: std::net::Ipv4Addr::LOCALHOST.into(),
            bind: std::net::Ipv4Addr::UNSPECIFIED.into(),
            server: None,
            at_term: None,
            server_command: None,
            workers: server.workers,
            connections: server.connections,
            mode: Mode::Fresh,
            pause_ms: 0,
            path: server.path.clone(),
            actions: Actions {
                reloads,
                kills: 1,
                ..Actions::default()
            },
            seconds: 0.0,
            args: format!("{START_TIMEOUT} {}", fill(&server.options)),
            time_out: 0,
        };
        let processes = ProcessTree::of_this_process().map_err(|error| error.to_string())?;
        Ok(Self {
            server,
            options,
            command,
            directory,
            reservation,
            processes,
            output_lines: Arc::default(),
        })
    }

    /// Nobody is left, and what was said is kept.
    fn end(&self, log: &Path) {
        self.processes.kill();
        let text = self.output_lines.lines().join("\n") + "\n";
        let written = log
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(log, text));
        if let Err(error) = written {
            println!("cannot write {}: {error}", log.display());
        }
        // Where the process exits nothing is dropped, and the directory would stay.
        let _ = fs::remove_dir_all(self.directory.path());
    }

    fn run(&self) -> Report {
        let mut report = Report {
            name: self.server.name.clone(),
            ..Report::default()
        };
        let mut run = Run::new(self);
        let mut checks = vec!["fresh"];
        checks.extend(self.server.keep_alive.then_some("keep-alive"));
        checks.extend(["kill", "scale", "stop"]);
        for name in checks {
            let check = run.check(name);
            println!("{}", check.line());
            // What never answers is not asked again, nor is what does not start.
            let is_hopeless =
                check.trouble.is_some() && check.failed == check.total && name == "fresh";
            report.checks.push(check);
            if is_hopeless {
                break;
            }
        }
        self.processes.kill();
        report.listeners = run.listeners;
        report.reloads_ms = run.reloads_ms;
        self.explain(&mut report);
        report
    }

    /// Where requests were lost, whether the server alone loses some, too.
    fn explain(&self, report: &mut Report) {
        if report.checks.iter().all(Check::passed) {
            return;
        }
        report.remarks.extend(self.server.fault.clone());
        report.explained = self.server.fault.is_some();
        let is_lost = |check: &Check| check.name != "kill" && check.failed > 0;
        if report.checks.iter().any(is_lost) {
            self.compare(report);
        }
    }

    fn compare(&self, report: &mut Report) {
        let lossy = report
            .checks
            .iter()
            .filter(|check| !check.passed() && check.name != "stop");
        let requests = lossy.map(|check| check.total).max().unwrap_or(0);
        let Bare {
            untold,
            check: bare,
        } = match bare::run(self, requests) {
            Ok(bare) => bare,
            Err(trouble) => return report.remarks.push(format!("bare: {trouble}")),
        };
        println!("{}", bare.line());
        let mut remark = format!("bare {} at {}", bare.cell(), self.server.stop_signal());
        if untold.0 > 0 {
            remark += &format!(", {}/{} of it before any signal", untold.0, untold.1);
        }
        report.remarks.push(remark);
        let is_opaque = self.server.exchange.is_some();
        // What it loses without a signal may be lost at any time. A stop, and the end of a kept connection that nobody
        // understands, are the worker's own to answer for. No reload may lose a new connection, nor a request of HTTP/1.
        let is_servers = |check: &Check| {
            let is_ending = check.name == "stop" || is_opaque && check.name != "fresh";
            untold.0 > 0 || bare.failed > 0 && is_ending
        };
        let is_explained =
            |check: &Check| check.passed() || check.trouble.is_none() && is_servers(check);
        report.explained |= report.checks.iter().all(is_explained);
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        std::net::SocketAddr::new(self.options.connect, self.reservation.port())
    }

    pub(crate) fn plan(&self, mode: Mode, connections: usize) -> Plan {
        Plan {
            connections,
            mode,
            pause: PAUSE,
            path: self.options.path.clone(),
            exchange: self.server.exchange(),
            exchanges: EXCHANGES,
            ..Plan::new(self.address())
        }
    }

    /// Clients of both kinds, as many together as the server may have.
    pub(crate) fn mixed(&self) -> Result<Loads, Trouble> {
        let connections = self.options.connections;
        if !self.server.keep_alive {
            return Loads::start([self.plan(Mode::Fresh, connections)]);
        }
        let half = (connections / 2).max(1);
        Loads::start([
            self.plan(Mode::Fresh, half),
            self.plan(Mode::KeepAlive, half),
        ])
    }
}

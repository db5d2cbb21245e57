//! One loss trial: a supervisor, a server, a load, and what is done to them meanwhile.

#[path = "../mod.rs"]
mod rig;
#[path = "../trial/mod.rs"]
mod trial;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tempfile::TempDir;

use rig::output_lines::OutputLines;
use rig::port::Reservation;
use rig::process_tree::ProcessTree;
use rig::report::Report;
use rig::server::{Unready, Wanted};
use trial::Trial;
use trial::options::Options;
use trial::supervised_server::SupervisedServer;

/// What automake and others take for "skipped".
const SKIPPED: u8 = 77;

fn main() -> ExitCode {
    let options = Options::parse();
    let end = match End::arm(options.time_out) {
        Ok(end) => end,
        Err(error) => {
            eprintln!("trial: cannot begin: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = run(&options, &end);
    end.remove_directory();
    match result {
        Ok(report) => {
            println!("{}", serde_json::to_string(&report).unwrap_or_default());
            ExitCode::SUCCESS
        }
        Err(Unready::Missing(what)) => {
            eprintln!("skipped: needs {what}");
            ExitCode::from(SKIPPED)
        }
        Err(Unready::Broken(trouble)) => {
            end.clean_up(&trouble);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, end: &End) -> Result<Report, Unready> {
    let directory = end.directory.path();
    let reservation = Reservation::new()?;
    let port = reservation.port();
    let server = server(options, port, directory)?;
    let address = SocketAddr::new(options.connect, port);
    let server = SupervisedServer::start(
        options,
        address,
        &server,
        directory,
        &end.processes,
        &end.output_lines,
    );
    let report = server.and_then(|server| Trial::new(options, server).run());
    report.map_err(Unready::Broken)
}

fn server(options: &Options, port: u16, directory: &Path) -> Result<Vec<String>, Unready> {
    if let Some(command) = &options.server_command {
        let fill = |word: &str| {
            let word = word.replace("{port}", &port.to_string());
            let word = word.replace("{bind}", &options.bind.to_string());
            word.replace("{dir}", &directory.display().to_string())
        };
        return Ok(command.split_ascii_whitespace().map(fill).collect());
    }
    let kind = options
        .server
        .ok_or_else(|| Unready::Broken("there is no server".into()))?;
    let keep_alive = options.mode == rig::load::Mode::KeepAlive;
    let (bind, at_term) = (options.bind, options.at_term);
    Wanted {
        kind,
        bind,
        port,
        keep_alive,
        at_term,
        directory,
    }
    .command()
}

/// How a trial ends that does not end well: everything is said, and nobody is left.
struct End {
    processes: ProcessTree,
    output_lines: Arc<OutputLines>,
    directory: TempDir,
}

impl End {
    /// From now on the trial ends when its time is over, or when it is told to end.
    fn arm(seconds: u64) -> io::Result<Arc<Self>> {
        let directory = TempDir::new()?;
        let end = Arc::new(Self {
            processes: ProcessTree::of_this_process()?,
            output_lines: Arc::default(),
            directory,
        });
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        end.when(
            move || signals.forever().next(),
            "the trial was told to end",
        );
        let over = format!("the trial has not ended within {seconds} s");
        end.when(move || thread::sleep(Duration::from_secs(seconds)), &over);
        Ok(end)
    }

    fn when<T>(self: &Arc<Self>, wait: impl FnOnce() -> T + Send + 'static, reason: &str) {
        let (end, reason) = (Arc::clone(self), reason.to_owned());
        thread::spawn(move || {
            wait();
            end.clean_up(&reason);
            exit(1);
        });
    }

    fn clean_up(&self, reason: &str) {
        self.processes.kill();
        for line in self.output_lines.lines() {
            eprintln!("| {line}");
        }
        eprintln!("trial: {reason}");
        self.remove_directory();
    }

    /// Where the process exits nothing is dropped, and the directory would stay.
    fn remove_directory(&self) {
        let _ = fs::remove_dir_all(self.directory.path());
    }
}

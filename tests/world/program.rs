//! The matrix of the world's servers: each runs under the supervisor, with load on it, through all that
//! is done to a service.
//!
//! ```text
//! world [NAME…]      installs what is missing, then for each server:  world --row NAME
//!                     └ writes docs/servers.md                          └ one server, all checks, one line of JSON
//! ```
//!
//! | file | what it does |
//! | --- | --- |
//! | servers/*.toml | the servers: what installs each, how it starts, what it speaks |
//! | files/ | what several of them serve |
//! | crates/ | servers on Rust's frameworks, a workspace of its own |
//! | table.rs | reads servers/*.toml |
//! | install.rs | Debian's packages; PyPI's, npm's and crates into the cache |
//! | row.rs | one server, from its files to its report |
//! | checks.rs, loads.rs | what is done to it, and who asks it meanwhile |
//! | bare.rs | the same server alone, under the same signal |
//! | report.rs | what was seen |
//! | page.rs | docs/servers.md |
//!
//! A row is a process of its own: whatever a server leaves behind becomes its child, is found and is killed.
#![allow(missing_docs)]

mod bare;
mod checks;
mod install;
mod loads;
mod page;
mod report;
mod row;
mod table;

#[path = "../rig/mod.rs"]
mod rig;
#[allow(dead_code)]
#[path = "../rig/trial/mod.rs"]
mod trial;

use std::env;
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;

use install::Installer;
use report::{Report, Verdict};
use table::Server;

/// Runs servers under reuseport-run, and loses nothing of what is asked of them.
///
/// Exits 0 when no row failed (some may have been skipped), 1 when one did, 2 for a wrong name.
#[derive(Debug, Parser)]
struct Options {
    /// Of servers in tests/world/servers/; all of them without a name.
    names: Vec<String>,
    /// Only those that need nothing but programs that are here already.
    #[arg(long)]
    builtin: bool,
    /// Reloads of each kind; only a run with the full number writes docs/servers.md.
    #[arg(long, default_value_t = FULL)]
    reloads: u32,
    /// Install nothing: what is missing is skipped.
    #[arg(long)]
    offline: bool,
    /// Print the names and what each server is, and run none.
    #[arg(long)]
    list: bool,
    /// Where packages, logs and the built servers are kept [default: `world` in cargo's target directory].
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Seconds after which no further row begins.
    #[arg(long, default_value_t = 24 * 3600)]
    limit: u64,
    /// Run this row in this process, and print its report.
    #[arg(long, hide = true)]
    row: Option<String>,
    /// Seconds that one row may take.
    #[arg(long, default_value_t = 300)]
    time_out: u64,
}

impl Options {
    fn cache(&self) -> PathBuf {
        let program = env::current_exe().unwrap_or_default();
        let target = program
            .ancestors()
            .nth(3)
            .map(|target| target.join("world"));
        self.cache
            .clone()
            .or(target)
            .unwrap_or_else(|| "target/world".into())
    }
}

const FULL: u32 = 3;

/// Seconds that a row needs at the least: one is not begun to be broken off.
const LEAST: u64 = 15;
const PAGE: &str = "docs/servers.md";

fn main() -> ExitCode {
    let options = Options::parse();
    let servers = match table::read() {
        Ok(servers) => servers,
        Err(trouble) => return wrong(&trouble),
    };
    if let Some(name) = &options.row {
        return match servers.iter().find(|server| &server.name == name) {
            Some(server) => row::main(server, &options.cache(), options.reloads, options.time_out),
            None => wrong(&format!("there is no server {name}")),
        };
    }
    let chosen = match choose(&servers, &options) {
        Ok(chosen) => chosen,
        Err(trouble) => return wrong(&trouble),
    };
    if options.list {
        for server in chosen {
            println!("{:24} {}", server.name, server.kind);
        }
        return ExitCode::SUCCESS;
    }
    run(&servers, &chosen, &options)
}

fn choose<'a>(servers: &'a [Server], options: &Options) -> Result<Vec<&'a Server>, String> {
    if let Some(name) = options
        .names
        .iter()
        .find(|name| !servers.iter().any(|server| &&server.name == name))
    {
        return Err(format!(
            "there is no server {name} in tests/world/servers; --list prints all"
        ));
    }
    let is_chosen = |server: &&Server| {
        let named = options.names.is_empty() || options.names.contains(&server.name);
        named && (!options.builtin || server.is_builtin())
    };
    Ok(servers.iter().filter(is_chosen).collect())
}

fn run(servers: &[Server], chosen: &[&Server], options: &Options) -> ExitCode {
    let mut installer = Installer::new(&options.cache(), options.offline);
    installer.debian(chosen);
    let mut totals = [0; 4];
    let end = Instant::now() + Duration::from_secs(options.limit);
    for server in chosen {
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        if left < LEAST {
            println!("skipped: world: {}: the time is over", server.name);
            totals[Verdict::Skipped as usize] += 1;
            continue;
        }
        println!("== {}: {}", server.name, server.kind);
        let began = Instant::now();
        let report = match installer.install(server) {
            Ok(version) => Report {
                version,
                ..ask(server, options, options.time_out.min(left))
            },
            Err(reason) => Report::skipped(&server.name, reason),
        };
        println!("{} in {} s", report.line(), began.elapsed().as_secs());
        totals[report.verdict() as usize] += 1;
        if options.reloads >= FULL
            && let Err(error) = page::write(Path::new(PAGE), servers, &report)
        {
            return wrong(&format!("cannot write {PAGE}: {error}"));
        }
    }
    let [passed, explained, failed, skipped] = totals;
    println!(
        "world: {passed} rows passed, {explained} lost what the bare server loses too, {failed} failed, {skipped} skipped"
    );
    ExitCode::from(u8::from(failed > 0))
}

/// Has the row run in a process of its own.
fn ask(server: &Server, options: &Options, seconds: u64) -> Report {
    let failed = |why: String| Report::broken(&server.name, why);
    let program = match env::current_exe() {
        Ok(program) => program,
        Err(error) => return failed(format!("this program is not found: {error}")),
    };
    let mut command = Command::new(program);
    command
        .arg("--row")
        .arg(&server.name)
        .arg("--cache")
        .arg(options.cache());
    command.args([
        "--reloads",
        &options.reloads.to_string(),
        "--time-out",
        &seconds.to_string(),
    ]);
    let mut child = match command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return failed(format!("the row cannot be started: {error}")),
    };
    let mut report = None;
    let lines = child.stdout.take().map(|pipe| BufReader::new(pipe).lines());
    for line in lines.into_iter().flatten().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(found) => report = Some(found),
            Err(_) => println!("   {line}"),
        }
    }
    match (child.wait(), report) {
        (_, Some(report)) => report,
        (Ok(status), None) => failed(format!("the row ended with {status} and without a report")),
        (Err(error), None) => failed(format!("the row cannot be waited for: {error}")),
    }
}

fn wrong(trouble: &str) -> ExitCode {
    let bold = if std::io::stderr().is_terminal() {
        ("\x1b[1m", "\x1b[0m")
    } else {
        ("", "")
    };
    eprintln!("{}world:{} {trouble}", bold.0, bold.1);
    ExitCode::from(2)
}

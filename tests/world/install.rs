//! Installs what a server needs: Debian's packages into the system, all others into the cache.
//!
//! A package's daemon must not start with it: where no `policy-rc.d` says so, one is there while apt runs.

use std::env;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::table::{self, Server};

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Where the crates are built.
const CRATES: &str = "crates";

pub(crate) struct Installer {
    cache: PathBuf,
    offline: bool,
}

/// Why a server cannot be run: a sentence for the row.
type Missing = String;

impl Installer {
    pub(crate) fn new(cache: &Path, offline: bool) -> Self {
        Self {
            cache: cache.into(),
            offline,
        }
    }

    /// Debian's packages of all these servers, at once. What fails is told by [`install`](Self::install).
    pub(crate) fn debian(&self, servers: &[&Server]) {
        let packages = servers
            .iter()
            .filter(|server| server.skip.is_none())
            .flat_map(|server| &server.debian);
        let mut missing: Vec<&String> = packages
            .filter(|package| debian_version(package).is_none())
            .collect();
        missing.sort();
        missing.dedup();
        if missing.is_empty() || self.offline || !nix::unistd::geteuid().is_root() {
            return;
        }
        let policy = Policy::set();
        let _ = output(Command::new("apt-get").args(["update", "-qq"]));
        if apt(&missing).is_err() {
            // One that is not to be had must not keep the others away.
            for package in missing {
                if let Err(trouble) = apt(&[package]) {
                    println!("   apt: {package}: {trouble}");
                }
            }
        }
        drop(policy);
    }

    /// Brings the server here; its version.
    pub(crate) fn install(&mut self, server: &Server) -> Result<String, Missing> {
        if let Some(reason) = &server.skip {
            return Err(reason.clone());
        }
        if let Some(missing) = server.needs.iter().find(|program| !is_here(program)) {
            return Err(format!("needs {missing}"));
        }
        if let Some(missing) = server
            .debian
            .iter()
            .find(|package| debian_version(package).is_none())
        {
            return Err(format!("needs Debian's package {missing}"));
        }
        let home = home(&self.cache, server);
        if !server.is_builtin() || server.build.is_some() {
            self.bring(server, &home)?;
        }
        Ok(self.version(server, &home))
    }

    /// What was brought once stays, and a file says so.
    fn bring(&self, server: &Server, home: &Path) -> Result<(), Missing> {
        let wanted = format!("{:?} {:?} {:?}\n", server.pypi, server.npm, server.build);
        let mark = home.join("complete");
        if server.package.is_none() && fs::read_to_string(&mark).is_ok_and(|text| text == wanted) {
            return Ok(());
        }
        let needs_network =
            !server.pypi.is_empty() || !server.npm.is_empty() || server.package.is_some();
        if self.offline && needs_network {
            return Err(format!("needs packages of {}", server.origin()));
        }
        fs::create_dir_all(home)
            .map_err(|error| format!("cannot make {}: {error}", home.display()))?;
        if !server.pypi.is_empty() {
            let python = home.join("bin/python");
            output(Command::new("python3").args(["-m", "venv"]).arg(home))?;
            output(
                Command::new(python)
                    .args(["-m", "pip", "install", "-q"])
                    .args(&server.pypi),
            )?;
        }
        if !server.npm.is_empty() {
            let arguments = [
                "install",
                "--loglevel=error",
                "--no-audit",
                "--no-fund",
                "--prefix",
            ];
            output(
                Command::new("npm")
                    .args(arguments)
                    .arg(home)
                    .args(&server.npm),
            )?;
        }
        if server.package.is_some() {
            // All of them: one alone would have other features of what they share, which is then built once more.
            let target = absolute(&self.cache.join(CRATES));
            let mut cargo = Command::new("cargo");
            cargo.args(["build", "--quiet", "--release", "--locked", "-j2"]);
            output(
                cargo
                    .current_dir(table::home().join("crates"))
                    .env("CARGO_TARGET_DIR", target),
            )?;
        }
        if let Some(build) = &server.build {
            for (name, text) in crate::row::files(server)? {
                fs::write(home.join(&name), text)
                    .map_err(|error| format!("cannot write {name}: {error}"))?;
            }
            let build = build.replace("@HOME@", &absolute(home).display().to_string());
            output(Command::new("sh").args(["-ec", &build]).current_dir(home))?;
        }
        fs::write(mark, wanted)
            .map_err(|error| format!("cannot write to {}: {error}", home.display()))
    }

    fn version(&self, server: &Server, home: &Path) -> String {
        let found = if let Some(line) = &server.version {
            command_version(line, home)
        } else if let Some(package) = server.pypi.first() {
            python_version(home, package)
        } else if let Some(package) = server.npm.first() {
            node_version(home, package)
        } else if let Some(package) = &server.package {
            crate_version(package)
        } else {
            server
                .debian
                .first()
                .and_then(|package| debian_version(package))
        };
        found.unwrap_or_else(|| "?".into())
    }
}

/// Where the server's packages are installed.
pub(crate) fn home(cache: &Path, server: &Server) -> PathBuf {
    if server.package.is_some() {
        return absolute(&cache.join(CRATES).join("release"));
    }
    absolute(&cache.join("homes").join(&server.name))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}

/// Keeps daemons from starting while packages are installed.
struct Policy(bool);

impl Policy {
    fn set() -> Self {
        if Path::new(POLICY).exists() {
            return Self(false);
        }
        let write = || {
            let mut file = fs::File::create(POLICY)?;
            file.write_all(b"#!/bin/sh\nexit 101\n")?;
            file.set_permissions(fs::Permissions::from_mode(0o755))
        };
        if let Err(error) = write() {
            println!("   cannot write {POLICY}, so daemons may start with their packages: {error}");
        }
        Self(true)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.0 {
            let _ = fs::remove_file(POLICY);
        }
    }
}

fn apt<S: AsRef<str>>(packages: &[S]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command.args([
        "install",
        "-y",
        "-qq",
        "--no-remove",
        "--no-install-recommends",
    ]);
    command
        .args(packages.iter().map(AsRef::as_ref))
        .env("DEBIAN_FRONTEND", "noninteractive");
    output(&mut command).map(drop)
}

/// Runs it to its end; the last line that it said, where it fails.
fn output(command: &mut Command) -> Result<Output, String> {
    let name = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {name}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let last = lines
        .clone()
        .rfind(|line| line.to_lowercase().contains("error"))
        .or(lines.clone().next_back());
    Err(format!(
        "{name} fails: {}",
        last.unwrap_or("it said nothing")
    ))
}

fn is_here(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn debian_version(package: &str) -> Option<String> {
    let mut command = Command::new("dpkg-query");
    let output = command
        .args(["-W", "-f", "${db:Status-Status} ${Version}", package])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.strip_prefix("installed ")?;
    // Neither the epoch nor Debian's revision is the server's.
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let cut = version
        .rsplit_once('-')
        .map_or(version, |(upstream, _)| upstream);
    Some(cut.split(['+', '~']).next().unwrap_or(cut).to_owned())
}

fn python_version(home: &Path, package: &str) -> Option<String> {
    let name = package.split(['[', '=', '<', '>']).next()?;
    let program = format!("import importlib.metadata as m; print(m.version('{name}'))");
    let output = Command::new(home.join("bin/python"))
        .args(["-c", &program])
        .output()
        .ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn node_version(home: &Path, package: &str) -> Option<String> {
    let at = package.get(1..)?.find('@').map(|at| at + 1);
    let name = &package[..at.unwrap_or(package.len())];
    let text =
        fs::read_to_string(home.join("node_modules").join(name).join("package.json")).ok()?;
    let package: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(package["version"].as_str()?.to_owned())
}

/// The version of the framework that the package of crates/ is named for.
fn crate_version(package: &str) -> Option<String> {
    let text = fs::read_to_string(table::home().join("crates/Cargo.lock")).ok()?;
    let name = package.strip_prefix("on-")?;
    let mut lines = text
        .lines()
        .skip_while(|line| *line != format!("name = \"{name}\""));
    let version = lines.nth(1)?.strip_prefix("version = \"")?;
    Some(version.trim_end_matches('"').to_owned())
}

/// The first word of what the command says that has a number with a point in it.
fn command_version(line: &str, home: &Path) -> Option<String> {
    let line = line.replace("@HOME@", &home.display().to_string());
    let output = Command::new("sh")
        .args(["-c", &line])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let is_number = |word: &&str| {
        let bytes = word.as_bytes();
        bytes
            .windows(3)
            .any(|three| three[0].is_ascii_digit() && three[1] == b'.' && three[2].is_ascii_digit())
    };
    let word = said
        .split(|letter: char| letter.is_whitespace() || "/(),\"".contains(letter))
        .find(is_number)?;
    Some(
        word.trim_start_matches(|letter: char| !letter.is_ascii_digit())
            .to_owned(),
    )
}

//! Builds a fixture server once and keeps it beside the test programs.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{AccessFlags, access};

use super::Unready;
use super::program::{examples, find};

pub(super) fn c(name: &str, source: &str) -> Result<String, Unready> {
    built(name, "c", source, |source, output| {
        let mut command = Command::new(find("gcc")?);
        command
            .args(["-static", "-O2", "-o"])
            .arg(output)
            .arg(source);
        Ok(command)
    })
}

pub(super) fn go(name: &str, source: &str) -> Result<String, Unready> {
    built(name, "go", source, |source, output| {
        let home = output.with_extension("home");
        let mut command = Command::new(find("go")?);
        command.args(["build", "-o"]).arg(output).arg(source);
        command
            .env("GO111MODULE", "off")
            .env("CGO_ENABLED", "0")
            .env("GOTOOLCHAIN", "local");
        command
            .env("HOME", &home)
            .env("GOCACHE", home.join("cache"))
            .env("GOPATH", &home);
        Ok(command)
    })
}

/// The program built from `source`, built now if it was not before.
///
/// Tests run in parallel and may build the same at one time: each builds under a name of its own
/// and renames, and whoever is last replaces equal by equal. A program that runs keeps its file.
fn built(
    name: &str,
    language: &str,
    source: &str,
    compile: impl FnOnce(&Path, &Path) -> Result<Command, Unready>,
) -> Result<String, Unready> {
    let product = format!("{name}-{:016x}", digest(source));
    let places = [examples()?.join("fixture"), shelter()];
    if let Some(program) = places
        .iter()
        .map(|directory| directory.join(&product))
        .find(|p| p.exists())
    {
        return Ok(program.display().to_string());
    }
    let directory = writable(places)?;
    let program = directory.join(product);
    let own = tempfile::tempdir_in(&directory)?;
    let file = own.path().join("main").with_extension(language);
    fs::write(&file, source)?;
    let output = own.path().join("program");
    run(compile(&file, &output)?)?;
    fs::rename(output, &program)?;
    Ok(program.display().to_string())
}

fn run(mut compiler: Command) -> Result<(), Unready> {
    let output = compiler.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Unready::Broken(format!("{compiler:?} fails: {said}")))
}

/// Where users build who may not write beside the test programs.
fn shelter() -> PathBuf {
    env::temp_dir().join(format!("reuseport-fixture-{}", nix::unistd::geteuid()))
}

fn writable(places: [PathBuf; 2]) -> Result<PathBuf, Unready> {
    let usable = |directory: &PathBuf| {
        fs::create_dir_all(directory).is_ok() && access(directory, AccessFlags::W_OK).is_ok()
    };
    let none = || Unready::Broken("there is nowhere to build the server".into());
    places.into_iter().find(usable).ok_or_else(none)
}

fn digest(source: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    hasher.finish()
}

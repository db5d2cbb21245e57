//! Finds programs.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{AccessFlags, access};

use super::Unready;

/// The program of that name that this user may execute.
pub(super) fn find(name: &str) -> Result<String, Unready> {
    let found = candidates(name).next();
    found
        .map(|path| path.display().to_string())
        .ok_or_else(|| missing(name))
}

/// A Python that has `module`. Asked of Python itself, for what is on the PATH may be a script
/// that looks for the right one each time it is run.
pub(super) fn python_with(module: &str) -> Result<String, Unready> {
    let program = format!("import sys, {module}; print(sys.executable)");
    let ask = |python: PathBuf| {
        let answer = Command::new(python).args(["-c", &program]).output().ok()?;
        answer
            .status
            .success()
            .then(|| String::from_utf8_lossy(&answer.stdout).trim().to_owned())
    };
    let needed = if module == "http.server" {
        "python3"
    } else {
        module
    };
    candidates("python3")
        .find_map(ask)
        .ok_or_else(|| missing(needed))
}

/// A program that was built together with the one that runs.
pub(super) fn beside(name: &str) -> Result<PathBuf, Unready> {
    // A program is in examples/, a test in deps/.
    let directory = examples()?;
    let path = directory.join(name);
    let hint = || {
        Unready::Broken(format!(
            "{} is not built: cargo build --examples",
            path.display()
        ))
    };
    if path.exists() { Ok(path) } else { Err(hint()) }
}

/// The directory of the test programs.
pub(super) fn examples() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let profile = program
        .parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new("."));
    Ok(profile.join("examples"))
}

fn candidates(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = env::split_paths(&path).collect();
    let files = directories
        .into_iter()
        .map(move |directory| directory.join(name));
    files.filter(|file| file.is_file() && access(file, AccessFlags::X_OK).is_ok())
}

fn missing(name: &str) -> Unready {
    Unready::Missing(name.into())
}

//! Which supervisor is meant: the one with that socket, that name, or the only one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::client::Client;
use super::exit::Exit;
use super::runtime_dir;

/// What was said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Socket(PathBuf),
    Name(String),
    TheOnlyOne,
}

/// Connects to it. `directory` is where supervisors with a name have their sockets.
pub(crate) fn connect(target: &Target, directory: &Path) -> Result<Client, Exit> {
    if *target != Target::TheOnlyOne {
        let path = path(target, directory)?;
        return Client::connect(&path).map_err(|error| no_connection(&path, &error));
    }
    runtime_dir::check_directory(directory).map_err(Exit::absent)?;
    let sockets = sockets(directory).map_err(|error| {
        Exit::absent(format!("cannot look in {}: {error}", directory.display()))
    })?;
    only(
        sockets.iter().map(|path| (path, Client::connect(path))),
        directory,
    )
}

fn path(target: &Target, directory: &Path) -> Result<PathBuf, Exit> {
    let path = match target {
        Target::Socket(path) => path.clone(),
        Target::Name(name) => {
            runtime_dir::check_directory(directory).map_err(Exit::absent)?;
            runtime_dir::named(directory, name)
        }
        Target::TheOnlyOne => directory.to_owned(),
    };
    match runtime_dir::fits(&path) {
        Ok(()) => Ok(path),
        Err(reason) => Err(Exit::usage(format!("{}: {reason}", path.display()))),
    }
}

/// The sockets in the directory, by name; none if it is not there.
fn sockets(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "sock")
    });
    paths.sort();
    Ok(paths)
}

/// The only one that answers; sockets of supervisors that were killed stay behind.
fn only<'a>(
    tried: impl Iterator<Item = (&'a PathBuf, io::Result<Client>)>,
    directory: &Path,
) -> Result<Client, Exit> {
    let mut alive = Vec::new();
    let mut closed = None;
    for (path, connection) in tried {
        match connection {
            Ok(client) => alive.push(client),
            Err(error) if is_dead(&error) => {}
            Err(error) => closed = Some(no_connection(path, &error)),
        }
    }
    match (alive.len(), alive.pop(), closed) {
        (1, Some(client), _) => Ok(client),
        (_, Some(last), _) => Err(several(alive.iter().chain([&last]))),
        (_, None, Some(exit)) => Err(exit),
        (_, None, None) => Err(Exit::absent(format!(
            "no supervisor is running (looked in {}); one of another user or with --control needs \
             --socket",
            directory.display()
        ))),
    }
}

fn several<'a>(alive: impl Iterator<Item = &'a Client>) -> Exit {
    let name = |client: &Client| {
        client
            .path
            .file_stem()
            .unwrap_or_default()
            .display()
            .to_string()
    };
    let names: Vec<String> = alive.map(name).collect();
    let text = "supervisors are running: choose one with --name";
    Exit::usage(format!("{} {text} ({})", names.len(), names.join(", ")))
}

fn is_dead(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn no_connection(path: &Path, error: &io::Error) -> Exit {
    let path = path.display();
    Exit::absent(match error.kind() {
        io::ErrorKind::NotFound => format!("no supervisor is running: there is no socket {path}"),
        io::ErrorKind::ConnectionRefused => {
            format!("no supervisor is running: {path} was left behind by one that is gone")
        }
        io::ErrorKind::PermissionDenied => format!(
            "not permitted to connect to {path}: use the account of the supervisor, or root"
        ),
        io::ErrorKind::WouldBlock => {
            format!("the supervisor at {path} takes no connections: it hangs or is stopped")
        }
        _ => format!("cannot connect to the supervisor at {path}: {error}"),
    })
}

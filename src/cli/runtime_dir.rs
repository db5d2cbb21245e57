//! Where control sockets are, for the supervisor that makes one and for `reuseport-ctl` that
//! looks for it.
//!
//! The last resort is under a directory where anybody may make files, so it counts only while it
//! belongs to us alone: another user who made it first could pose as the supervisor.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::run::Environment;
use crate::config::Config;

/// The longest path of a Unix socket, in bytes: `sun_path` has 108, one for the NUL (unix(7)).
pub const MAX_SOCKET_PATH_LEN: usize = 107;

/// The directory of control sockets: of root, of a user with a runtime directory, of any other.
pub fn control_directory(euid: u32, xdg_runtime_dir: Option<&Path>, temporary: &Path) -> PathBuf {
    match xdg_runtime_dir {
        _ if euid == 0 => PathBuf::from("/run/reuseport-run"),
        // The XDG Base Directory specification: a relative path is to be ignored.
        Some(directory) if directory.is_absolute() => directory.join("reuseport-run"),
        _ => temporary.join(format!("reuseport-run-{euid}")),
    }
}

/// The directory of this process's user.
pub fn own_directory(environment: Environment<'_>) -> PathBuf {
    let path = |name: &str| {
        environment(name)
            .filter(|text| !text.is_empty())
            .map(PathBuf::from)
    };
    let temporary = path("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp"));
    control_directory(
        geteuid().as_raw(),
        path("XDG_RUNTIME_DIR").as_deref(),
        &temporary,
    )
}

/// The control socket: `--control`, or the default path for the name.
pub fn control_path(config: &Config) -> PathBuf {
    control_path_in(config, &own_directory(&|name| std::env::var_os(name)))
}

/// The same with a directory that is already known.
pub(crate) fn control_path_in(config: &Config, directory: &Path) -> PathBuf {
    config
        .control
        .clone()
        .unwrap_or_else(|| named(directory, &config.name))
}

/// The control socket of a name.
pub(crate) fn named(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.sock"))
}

/// Whether the kernel takes it as a socket's path.
///
/// # Errors
/// A clause that says how long it is and may be.
pub fn fits(path: &Path) -> Result<(), String> {
    match path.as_os_str().as_bytes().len() {
        length if length > MAX_SOCKET_PATH_LEN => Err(format!(
            "a socket's path may have {MAX_SOCKET_PATH_LEN} bytes, this one has {length}; give a shorter one"
        )),
        _ => Ok(()),
    }
}

/// Makes the directory with this mode ([`Config::directory_mode`]) if it is not there, and checks that nobody else can
/// put a socket there. Others may not enter it, unless workers are others: they find `NOTIFY_SOCKET` there. Each socket in
/// it has a mode of its own.
///
/// # Errors
/// A sentence: it cannot be made, or [belongs](check_directory) to somebody else.
pub fn make_directory(directory: &Path, mode: u32) -> Result<(), String> {
    let made = DirBuilder::new().mode(mode).create(directory);
    if let Err(error) = made
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(format!(
            "cannot make the directory {} for the control socket: {error}; give --control",
            directory.display()
        ));
    }
    check_directory(directory)?;
    // Made by a supervisor whose workers are of its own user, or under a strict umask.
    let may_enter = fs::metadata(directory).map(|found| found.mode());
    if may_enter.is_ok_and(|present| present & mode != mode) {
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).map_err(|error| {
            let shown = directory.display();
            format!("cannot let workers enter the directory {shown}: {error}; give --control")
        })?;
    }
    Ok(())
}

/// Whether the directory is ours, and nobody else can put a socket there.
///
/// # Errors
/// A sentence that says what is wrong with it. A directory that is not there is in order: there
/// is nothing in it to be deceived by.
pub fn check_directory(directory: &Path) -> Result<(), String> {
    let shown = directory.display();
    let found = match fs::symlink_metadata(directory) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot look at the directory {shown}: {error}")),
    };
    let ours = found.uid() == geteuid().as_raw();
    if found.is_dir() && ours && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(format!(
        "{shown} is not a directory that belongs to this user and that no other can write: remove \
         it, or name the socket's path yourself"
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_for_everyone() {
        let directory = |euid, xdg: Option<&str>| {
            control_directory(euid, xdg.map(Path::new), Path::new("/tmp"))
        };
        assert_eq!(
            directory(0, Some("/run/user/0")),
            Path::new("/run/reuseport-run")
        );
        assert_eq!(
            directory(7, Some("/run/user/7")),
            Path::new("/run/user/7/reuseport-run")
        );
        assert_eq!(
            directory(7, Some("relative")),
            Path::new("/tmp/reuseport-run-7")
        );
        assert_eq!(directory(7, None), Path::new("/tmp/reuseport-run-7"));
    }

    #[test]
    fn the_longest_path() {
        assert_eq!(fits(Path::new(&"p".repeat(107))), Ok(()));
        assert!(
            fits(Path::new(&"p".repeat(108)))
                .unwrap_err()
                .contains("107 bytes")
        );
    }

    #[test]
    fn only_a_directory_of_our_own_will_do() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("d");
        assert_eq!(check_directory(&directory), Ok(()));
        make_directory(&directory, 0o700).unwrap();
        make_directory(&directory, 0o700).unwrap();
        let mode = || fs::metadata(&directory).unwrap().mode() & 0o777;
        assert_eq!(mode(), 0o700);
        make_directory(&directory, 0o711).unwrap();
        assert_eq!(mode(), 0o711);
        // Another supervisor's workers may still be in need of it.
        make_directory(&directory, 0o700).unwrap();
        assert_eq!(mode(), 0o711);

        let link = scratch.path().join("link");
        symlink(&directory, &link).unwrap();
        assert!(
            make_directory(&link, 0o700)
                .unwrap_err()
                .contains("not a directory")
        );

        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(
            make_directory(&directory, 0o700)
                .unwrap_err()
                .contains("no other can write")
        );
        assert!(
            make_directory(Path::new("/nowhere/at/all"), 0o700)
                .unwrap_err()
                .contains("--control")
        );
    }
}

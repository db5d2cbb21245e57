//! Where the command is, as it was when it was read.
//!
//! A deployment often is a directory of its own and a symbolic link to it that is moved. A worker that is replaced
//! after a crash must be what the others of its generation are, not half of what is being deployed; and a roll back must
//! find what served before. So links are resolved once, when the configuration is read, and a generation keeps what was
//! found.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where workers are started, without symbolic links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// The directory; none: the one that the supervisor is in.
    pub directory: Option<PathBuf>,
    /// The command's file, if the command is a path; none: it is looked up for each worker, as the command says.
    pub program: Option<PathBuf>,
}

impl Release {
    /// Looks where the command is. `started_in` is the directory in which the supervisor was started, by its name.
    ///
    /// What cannot be found stays as it is given: who starts a worker there is told why that cannot be.
    pub fn look(command: &OsStr, chdir: Option<&Path>, started_in: Option<&Path>) -> Self {
        let base = match (chdir, started_in) {
            (Some(chdir), Some(started_in)) => Some(started_in.join(chdir)),
            (Some(chdir), None) => Some(chdir.to_owned()),
            (None, started_in) => started_in.map(Path::to_owned),
        };
        let directory = base.map(|base| fs::canonicalize(&base).unwrap_or(base));
        let directory =
            directory.filter(|found| chdir.is_some() || !is_same(found, Path::new(".")));
        let program = command.as_bytes().contains(&b'/').then(|| {
            let base = directory.as_deref().unwrap_or(Path::new(""));
            fs::canonicalize(base.join(command)).ok()
        });
        Self {
            directory,
            program: program.flatten(),
        }
    }

    /// What is to be executed: the command as it is given, as long as it still leads where it did. Programs look at the
    /// path by which they were started, so another one is used only where that is another program by now.
    pub fn executable(command: &OsStr, program: Option<&Path>) -> OsString {
        match program {
            Some(program) if !is_same(Path::new(command), program) => program.into(),
            Some(_) | None => command.to_owned(),
        }
    }
}

/// The directory that this process is in, by the name under which it was entered (`PWD`): links in it lead elsewhere
/// when a new release is there. None where the variable does not name it.
pub fn directory_by_name(pwd: Option<OsString>) -> Option<PathBuf> {
    let named = PathBuf::from(pwd?);
    (named.is_absolute() && is_same(&named, Path::new("."))).then_some(named)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    identity(one).is_some_and(|found| identity(other) == Some(found))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Two releases of a program, and `current`, which leads to the first.
    fn releases() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(directory.path()).unwrap();
        for release in ["1", "2"] {
            fs::create_dir(root.join(release)).unwrap();
            fs::write(root.join(release).join("server"), release).unwrap();
        }
        symlink("1", root.join("current")).unwrap();
        (directory, root)
    }

    fn deploy(root: &Path, release: &str) {
        fs::remove_file(root.join("current")).unwrap();
        symlink(release, root.join("current")).unwrap();
    }

    #[test]
    fn a_link_is_resolved_when_it_is_read() {
        let (_kept, root) = releases();
        let current = root.join("current");
        let look = || Release::look("./server".as_ref(), Some(&current), None);
        let first = look();
        assert_eq!(first.directory, Some(root.join("1")));
        assert_eq!(first.program, Some(root.join("1/server")));
        deploy(&root, "2");
        assert_eq!(look().directory, Some(root.join("2")));
        let absolute = current.join("server");
        let release = Release::look(absolute.as_ref(), None, None);
        assert_eq!(release.program, Some(root.join("2/server")));
        assert_eq!(release.directory, None);
    }

    #[test]
    fn the_directory_of_the_start_is_known_by_its_name() {
        let (_kept, root) = releases();
        let current = root.join("current");
        let release = Release::look("./server".as_ref(), None, Some(&current));
        assert_eq!(release.directory, Some(root.join("1")));
        let below = Release::look("x".as_ref(), Some("..".as_ref()), Some(&current));
        assert_eq!(below.directory, Some(root));
        let here = std::env::current_dir().unwrap();
        let here = Release::look("x".as_ref(), None, Some(&here));
        assert_eq!(here, Release::default());
        assert_eq!(directory_by_name(Some("/nowhere".into())), None);
        assert_eq!(directory_by_name(Some("relative".into())), None);
        assert_eq!(directory_by_name(None), None);
    }

    #[test]
    fn the_command_is_executed_as_it_is_given_while_it_leads_there() {
        let (_kept, root) = releases();
        let given = root.join("current/server");
        let release = Release::look(given.as_ref(), None, None);
        let executable = || Release::executable(given.as_ref(), release.program.as_deref());
        assert_eq!(executable(), given);
        deploy(&root, "2");
        assert_eq!(executable(), root.join("1/server"));
        fs::remove_file(root.join("current")).unwrap();
        assert_eq!(executable(), root.join("1/server"));
        assert_eq!(Release::executable("server".as_ref(), None), "server");
    }

    #[test]
    fn what_is_not_there_stays_as_it_is_given() {
        let nowhere = Path::new("/nowhere/at/all");
        let release = Release::look("./server".as_ref(), Some(nowhere), None);
        assert_eq!(release.directory.as_deref(), Some(nowhere));
        assert_eq!(release.program, None);
    }
}

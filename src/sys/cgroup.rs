//! Control groups, version 2 (cgroups(7)).

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};

/// Where version 2 is mounted: alone, or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The path of a process's cgroup below the mount.
///
/// # Errors
/// Those of reading /proc/PID/cgroup; `NotFound`: the kernel has no version 2.
pub fn path_of(pid: i32) -> io::Result<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
    path.map(PathBuf::from)
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The directory of a process's cgroup.
///
/// # Errors
/// As for [`path_of`]; those of opening it; `NotFound` too where version 2 is not mounted.
pub fn open(pid: i32) -> io::Result<File> {
    let path = path_of(pid)?;
    for mount in MOUNTS {
        let Ok(directory) = File::open(PathBuf::from(mount).join(&path)) else {
            continue;
        };
        if fstatfs(&directory)?.filesystem_type() == CGROUP2_SUPER_MAGIC {
            return Ok(directory);
        }
    }
    let why = "cgroup v2 is not mounted at /sys/fs/cgroup";
    Err(io::Error::new(io::ErrorKind::NotFound, why))
}

//! What /proc tells of a worker: its listeners, sockets, descendants, descriptors and memory.
//!
//! Every answer is about a moment that has passed. A pid may belong to another process by now, and a
//! list is not read all at once: what changes meanwhile may be missing from it or be there twice. So
//! whoever acts on an answer makes sure first that the process was the right one (a pidfd that has not
//! become readable, a notification that is still valid), and takes "not there" for "look again".
//!
//! | file | what it reads |
//! | --- | --- |
//! | `listeners` | the sockets that listen in a namespace |
//! | `family` | threads of a process, its descendants, its group |
//! | `descriptors` | a process's descriptors, and which sockets they are |
//! | `threads` | what a process's threads do, and what they still have |
//! | `tree` | the sockets of a process and its descendants |
//! | `memory` | a process's memory |
//! | `usage` | what a process uses |

mod connections;
mod descriptors;
mod family;
mod listeners;
mod memory;
mod threads;
mod tree;
mod usage;

pub use connections::connections;
pub use descriptors::{
    FdFlags, SocketKind, fd_flags, holder_of, socket_descriptors, socket_inode_of, socket_inodes,
    socket_kind,
};
pub use family::{children, descendants, members_of_group, process_group, tgid};
pub use listeners::listeners;
pub use memory::read_memory;
pub use threads::{
    Activity, activity, handles_signal, has_ended, is_asleep, is_being_killed, is_dead, is_stopped,
    may_hold, readers, tree_threads,
};
pub use tree::{SocketAt, tree_sockets, visit_family};
pub use usage::{ProcessUsage, process_usage};

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

/// The network namespace of process `pid`, as its inode: equal for two processes in the same one.
///
/// # Errors
/// `NotFound`: there is no such process. `PermissionDenied`: it may not be looked at.
pub fn network_namespace(pid: i32) -> io::Result<u64> {
    fs::metadata(format!("/proc/{pid}/ns/net")).map(|namespace| namespace.ino())
}

/// Whom Yama lets trace a process, from 0, its user, to 3, nobody (`kernel.yama.ptrace_scope`, ptrace(2)); none
/// where there is no Yama.
pub fn tracing_scope() -> Option<u32> {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?;
    scope.trim().parse().ok()
}

/// What `IPV6_V6ONLY` is for a socket that does not set it (`net.ipv6.bindv6only`, ipv6(7)).
pub fn v6_only_by_default() -> bool {
    fs::read("/proc/sys/net/ipv6/bindv6only").is_ok_and(|value| value.starts_with(b"1"))
}

/// How long the kernel remembers a connection that belongs to no process any more and that the other side has not ended
/// (`net.ipv4.tcp_fin_timeout`, tcp(7)); the default where it cannot be read.
pub fn fin_timeout() -> Duration {
    let seconds = fs::read_to_string("/proc/sys/net/ipv4/tcp_fin_timeout").unwrap_or_default();
    Duration::from_secs(seconds.trim().parse().unwrap_or(60))
}

/// The name of a process's command; empty if there is no such process.
pub fn command_name(pid: i32) -> String {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&name).trim_end().to_owned()
}

/// What a process's environment was at its start, each variable with a NUL after it; nothing if it may not be read. A
/// process may have written over it.
pub fn environment(pid: i32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

/// The effective capabilities of a process, a bit each (capabilities(7)); none if they cannot be read.
pub fn effective_capabilities(pid: i32) -> Option<u64> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    u64::from_str_radix(field(&status, "CapEff:")?, 16).ok()
}

/// The entries of a directory whose names are numbers; none if it cannot be read.
fn entries(directory: &str) -> impl Iterator<Item = i32> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The value in the line that starts with `name`.
fn field<'a>(text: &'a [u8], name: &str) -> Option<&'a str> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(name.as_bytes()))?;
    str::from_utf8(value).ok().map(str::trim)
}

fn unexpected(path: &str, what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{path} was expected to have {what}"),
    )
}

/// This very process, whose answers are known.
#[cfg(test)]
fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    #[test]
    fn a_namespace_is_shared_with_a_child() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let theirs = network_namespace(i32::try_from(child.id()).unwrap()).unwrap();
        assert_eq!(theirs, network_namespace(own_pid()).unwrap());
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

//! A private network namespace.

use std::fs;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::Missing;

/// Moves this process into a new network namespace. It must have one thread only.
///
/// Root needs nothing for that. Another user takes a user namespace too, in which it keeps its ids:
/// what it executes there has no capability, as outside.
pub fn enter() -> Result<(), Missing> {
    if geteuid().is_root() {
        return unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("needs a network namespace: {error}"));
    }
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|error| format!("needs root or a user namespace: {error}"))?;
    // user_namespaces(7): a group map can be written only once setgroups(2) is given up.
    map("setgroups", "deny")?;
    map("uid_map", &format!("{user} {user} 1"))?;
    map("gid_map", &format!("{group} {group} 1"))
}

fn map(file: &str, text: &str) -> Result<(), Missing> {
    fs::write(format!("/proc/self/{file}"), text)
        .map_err(|error| format!("needs a user namespace: cannot write {file}: {error}"))
}

/// Gives clients many ports. A connection that the client closes first keeps its port for a minute.
pub fn widen_client_ports() {
    // Where it cannot be written, there are 28,000 as everywhere else.
    let _ = fs::write("/proc/sys/net/ipv4/ip_local_port_range", "10000 65000");
}

//! Which variables of a worker's environment are set by the supervisor.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Whether a variable is one that workers get from us, or not at all: what a supervisor above us has put there speaks of
/// what the workers do not have.
pub fn is_set_by_us(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let prefixes: [&[u8]; 4] = [
        b"REUSEPORT_",
        b"LISTEN_",
        b"SERVER_STARTER_",
        b"EINHORN_FD_",
    ];
    let names: [&[u8]; 6] = [
        b"NOTIFY_SOCKET",
        b"WATCHDOG_USEC",
        b"WATCHDOG_PID",
        b"NODE_CHANNEL_FD",
        b"NODE_CHANNEL_SERIALIZATION_MODE",
        b"NODE_UNIQUE_ID",
    ];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) || names.contains(&name)
}

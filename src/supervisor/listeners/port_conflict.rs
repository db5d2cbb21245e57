//! Somebody else on a port that a worker wants.

use std::io;
use std::net::SocketAddr;

use super::Listeners;
use crate::fleet::Endpoint;
use crate::sys::{diag, procfs};
use crate::wire::diag::States;

/// `SO_REUSEPORT` lets any process of the same user join a port unasked, so a second start of the
/// same service would silently take half of the first one's connections.
///
/// # Errors
/// `EADDRINUSE`: another process listens on the endpoint, and we do not yet.
pub(crate) fn refuse(listeners: &Listeners, endpoint: &Endpoint) -> io::Result<()> {
    if listeners.serve(endpoint) {
        return Ok(());
    }
    let found = diag::connections(endpoint.address.port(), States::LISTENING).unwrap_or_default();
    let is_taken = found
        .iter()
        .any(|other| other.local == endpoint.address && !listeners.is_ours(other.inode));
    if is_taken {
        return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
    }
    Ok(())
}

/// Why there is no listener, and what to do.
pub(crate) fn cannot_listen(address: &SocketAddr, error: &io::Error) -> String {
    let advice = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => return format!("cannot bind {address}: {}", in_use(address)),
        Some(libc::EACCES) => {
            "; ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE"
        }
        Some(libc::EADDRNOTAVAIL) => "; this machine has no such address",
        _ => "",
    };
    format!("cannot bind {address}: {error}{advice}")
}

/// Which process is in the way.
fn in_use(address: &SocketAddr) -> String {
    let found = diag::connections(address.port(), States::LISTENING).unwrap_or_default();
    let in_the_way = found.first();
    let holder = in_the_way.and_then(|other| procfs::holder_of(other.inode));
    match (holder, in_the_way) {
        (Some((pid, name)), _) => {
            format!("it is in use by {name} (pid {pid}); stop that or take another port")
        }
        (None, Some(other)) => format!(
            "it is in use by a process of user {}; stop that or take another port",
            other.uid
        ),
        (None, None) => "it is in use; stop what uses it or take another port".to_owned(),
    }
}

//! Somebody else on a port that a worker wants.

use std::io;
use std::net::SocketAddr;

use crate::fleet::Endpoint;
use crate::supervisor::listeners::Groups;
use crate::sys::{diag, procfs};
use crate::wire::diag::States;

/// `SO_REUSEPORT` lets anything of the same user join a port unasked, so a second start of the
/// same service would silently take half of the first one's connections.
pub(crate) fn refuse_stranger(groups: &Groups, endpoint: &Endpoint) -> io::Result<()> {
    if groups.has(endpoint) {
        return Ok(());
    }
    let lines = diag::connections(endpoint.address.port(), States::LISTENING).unwrap_or_default();
    let is_stranger = lines
        .iter()
        .any(|line| line.local == endpoint.address && !groups.is_ours(line.inode));
    if is_stranger {
        Err(io::Error::from_raw_os_error(libc::EADDRINUSE))
    } else {
        Ok(())
    }
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

/// Who is in the way.
fn in_use(address: &SocketAddr) -> String {
    let lines = diag::connections(address.port(), States::LISTENING).unwrap_or_default();
    let in_the_way = lines.first();
    let holder = in_the_way.and_then(|line| procfs::holder_of(line.inode));
    match (holder, in_the_way) {
        (Some((pid, name)), _) => {
            format!("it is in use by {name} (pid {pid}); stop that or take another port")
        }
        (None, Some(line)) => format!(
            "it is in use by a process of user {}; stop that or take another port",
            line.uid
        ),
        (None, None) => "it is in use; stop what uses it or take another port".to_owned(),
    }
}

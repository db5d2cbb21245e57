//! Which backend this kernel allows without harm.
//!
//! The hazard: a kernel with CVE-2026-52910 panics when a classic steering program is replaced while
//! connections arrive, as every reload does; it was seen within 3 to 15 reloads. eBPF replaces nothing, but
//! not everybody may use it. Losing some requests in a reload is better than losing the host, so a kernel
//! that is not known to be safe is not steered by classic programs unasked.

use std::io;

use log::{debug, info, warn};

use super::{cbpf, ebpf};
use crate::config::Steering;
use crate::sys::bpf::{self, LoadError};
use crate::sys::kernel;

/// What `--steering` comes to.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) steering: Steering,
    /// Why there is no steering although it was wanted.
    pub(crate) refused: Option<String>,
}

impl From<Steering> for Choice {
    fn from(steering: Steering) -> Self {
        Self {
            steering,
            refused: None,
        }
    }
}

/// What `--steering` comes to on this kernel; says why where that is not what it could be.
///
/// # Errors
/// `--steering ebpf` was asked for, and cannot be.
pub(crate) fn chosen(wanted: Steering) -> Result<Choice, LoadError> {
    if let Err(error) = bpf::keep_from_children() {
        debug!("CAP_BPF is nothing that could be kept from workers: {error}");
    }
    match wanted {
        Steering::Auto => Ok(best()),
        Steering::Ebpf => ebpf::attempt().map(|()| wanted.into()),
        Steering::Cbpf => {
            if let Some(doubt) = cbpf_obstacle() {
                warn!("--steering cbpf: {doubt}; {REMEDY}");
            }
            Ok(wanted.into())
        }
        Steering::None => Ok(wanted.into()),
    }
}

/// Why eBPF cannot steer; none where it can.
pub(crate) fn ebpf_obstacle() -> Option<String> {
    ebpf::attempt().err().map(|error| error.to_string())
}

/// Why classic programs must not steer; none where they can.
pub(crate) fn cbpf_obstacle() -> Option<String> {
    match cbpf::attempt() {
        Ok(()) => doubt(kernel::replaces_programs_safely()),
        Err(error) => Some(error.to_string()),
    }
}

fn best() -> Choice {
    let Some(refused) = ebpf_obstacle() else {
        return Steering::Ebpf.into();
    };
    match cbpf_obstacle() {
        None => {
            info!("new connections are steered by classic BPF (--steering cbpf): {refused}");
            Steering::Cbpf.into()
        }
        Some(doubt) => {
            let reason = format!("{doubt}, and {refused}");
            warn!(
                "new connections are not steered (--steering none): {reason}; old workers accept \
                 connections until they are told to stop, and a reload can lose requests; {REMEDY}, or give the \
                 supervisor CAP_BPF (AmbientCapabilities=CAP_BPF in its systemd unit), or give --steering none to \
                 accept this"
            );
            Choice {
                steering: Steering::None,
                refused: Some(reason),
            }
        }
    }
}

const REMEDY: &str =
    "update the kernel (fixed in Linux 5.10.262, 6.1.176, 6.12.94, 6.18.44 and 7.1 at the latest)";

/// Why replacing a program may do harm; none where it does not.
fn doubt(is_safe: io::Result<bool>) -> Option<String> {
    match is_safe {
        Ok(true) => None,
        Ok(false) => Some(
            "this kernel may crash when a steering program is replaced under load (CVE-2026-52910: /proc/kallsyms has \
             no sk_reuseport_prog_free_rcu)"
                .to_owned(),
        ),
        Err(error) => Some(format!(
            "whether this kernel may crash when a steering program is replaced under load (CVE-2026-52910) cannot be \
             told from /proc/kallsyms: {error}"
        )),
    }
}

//! Whether this kernel can be steered without harm.
//!
//! The hazard: a kernel with CVE-2026-52910 panics when a steering program is replaced while connections
//! arrive, as every reload does; it was seen within 3 to 15 reloads. Losing some requests in a reload is
//! better than losing the host, so a kernel that is not known to be safe is not steered unasked.

use std::io;

use log::warn;

use crate::config::Steering;
use crate::sys::kernel;

/// What `--steering` comes to on this kernel; says why where that is not what it could be.
pub(crate) fn chosen(wanted: Steering) -> Steering {
    let doubt = match wanted {
        Steering::None => None,
        Steering::Auto | Steering::Cbpf => doubt(kernel::replaces_programs_safely()),
    };
    match (wanted, doubt) {
        (Steering::Auto, None) => Steering::Cbpf,
        (Steering::Auto, Some(doubt)) => {
            warn!(
                "new connections are not steered (--steering none): {doubt}; old workers accept connections until they \
                 are told to stop, and a reload can lose requests; {REMEDY}, or give --steering none to accept this"
            );
            Steering::None
        }
        (Steering::Cbpf, Some(doubt)) => {
            warn!("--steering cbpf: {doubt}; {REMEDY}");
            wanted
        }
        (Steering::Cbpf | Steering::None, _) => wanted,
    }
}

const REMEDY: &str = "update the kernel (fixed in Linux 6.1.176, 6.12.94 and 7.1)";

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

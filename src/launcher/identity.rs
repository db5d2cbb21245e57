//! Becoming another user for good.

use nix::errno::Errno;
use nix::sys::prctl;

use crate::config::Identity;
use crate::sys::credentials::{self, Refused};

/// Makes this process one of that user. The signal at the supervisor's death is gone then, and must be asked for
/// again.
///
/// # Errors
/// A sentence; the process must not go on.
pub(super) fn take_on(identity: &Identity) -> Result<(), String> {
    let taken = credentials::take_on(identity.user, identity.group, &identity.groups);
    taken.map_err(|refused| {
        format!(
            "cannot become user {}: {refused}; {}",
            identity.name,
            remedy(identity, &refused)
        )
    })
}

/// The same for a process that goes on without executing anything. It can be looked into afterwards as a worker can:
/// the kernel lets nobody look into a process that has changed its user until that has executed a program which the
/// user may read (dumpable, prctl(2)).
///
/// # Errors
/// A sentence.
pub(crate) fn take_on_to_stay(identity: &Identity) -> Result<(), String> {
    take_on(identity)?;
    prctl::set_dumpable(true)
        .map_err(|error| format!("cannot be looked into: PR_SET_DUMPABLE: {error}"))
}

fn remedy(identity: &Identity, refused: &Refused) -> String {
    match refused.source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EINVAL) => format!(
            "in a user namespace its numbers must be mapped (user {}, groups {:?})",
            identity.user, identity.groups
        ),
        _ => "it takes root with CAP_SETUID and CAP_SETGID".into(),
    }
}

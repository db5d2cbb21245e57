//! Whom the kernel kills first when there is no memory left (`/proc/PID/oom_score_adj`, proc_pid_oom_score_adj(5)).

use std::fs;
use std::io;

const FILE: &str = "/proc/self/oom_score_adj";

/// Sets the adjustment of this process, which its children and what it executes inherit.
///
/// # Errors
/// `EACCES`: it is lower than somebody with `CAP_SYS_RESOURCE` has last set it to, which only such a one may do.
pub fn adjust(value: i32) -> io::Result<()> {
    fs::write(FILE, value.to_string())
}

/// Whether a process of ours could be given this adjustment. It is tried on this one, which has its own again
/// afterwards: what an unprivileged process may go down to is told nowhere.
///
/// # Errors
/// Those of [`adjust`].
pub fn try_adjust(value: i32) -> io::Result<()> {
    let present: i32 = fs::read_to_string(FILE)?
        .trim()
        .parse()
        .map_err(io::Error::other)?;
    // Everybody may go up.
    if value >= present {
        return Ok(());
    }
    adjust(value)?;
    adjust(present)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_try_leaves_it_as_it_was() {
        let before = fs::read_to_string(FILE).unwrap();
        try_adjust(1000).unwrap();
        let lowered = try_adjust(-1000);
        let is_refused = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        assert!(lowered.is_ok() || lowered.is_err_and(is_refused));
        assert_eq!(fs::read_to_string(FILE).unwrap(), before);
    }
}

//! Whether this kernel has all that interception needs, tried on a thread that ends right after.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use libc::{BPF_K, BPF_RET, SECCOMP_RET_ALLOW, sock_filter};

use super::{add_fd, install, pass};

/// Why `bind` and `listen` cannot be intercepted.
#[derive(Debug, thiserror::Error)]
pub enum Unsupported {
    /// No filter with notifications can be installed; see [`install`].
    #[error("{}", sentence(.0))]
    Refused(#[from] io::Error),
    /// Notifications exist, but what Linux 5.5 and 5.9 have added to them does not.
    #[error("the kernel's seccomp notifications lack {0}")]
    Lacking(&'static str),
}

impl Unsupported {
    /// Whether a newer kernel would help, and nothing else. Filters of containers give the same errors as a
    /// kernel without notifications; there `is_old` decides, whether it is older than Linux 5.9.
    pub fn is_for_age(&self, is_old: bool) -> bool {
        match self {
            Self::Refused(error) => {
                is_old && matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS))
            }
            Self::Lacking(_) => true,
        }
    }
}

/// Why a filter cannot be installed, and what to do.
fn sentence(error: &io::Error) -> String {
    if error.raw_os_error() == Some(libc::EBUSY) {
        return "cannot intercept bind and listen: something above us does it already (seccomp notifications do not \
                nest); use --listen ADDR for a server that can take a socket"
            .to_owned();
    }
    format!(
        "cannot intercept bind and listen by seccomp: {error}; allow seccomp(2), or use --listen ADDR for a server \
         that can take a socket"
    )
}

/// Tries a filter that allows everything, and the two answers that are younger than notifications. Where no
/// thread can be had to try it on, nothing is known against it.
///
/// # Errors
/// See [`Unsupported`].
pub fn check_support() -> Result<(), Unsupported> {
    // A filter stays on its thread, and ends with it.
    let Ok(thread) = thread::Builder::new().spawn(try_answers) else {
        return Ok(());
    };
    thread.join().unwrap_or(Ok(()))
}

fn try_answers() -> Result<(), Unsupported> {
    let notifications = install(&[ALLOW_ALL])?;
    let listener = notifications.as_fd();
    try_answer(pass(listener, NO_CALL), "passing a call on (Linux 5.5)")?;
    let added = add_to(listener);
    try_answer(added, "putting a descriptor into a process (Linux 5.9)")
}

fn add_to(listener: BorrowedFd<'_>) -> io::Result<bool> {
    add_fd(listener, NO_CALL, listener, 0, true)
}

/// There is no such call, which a kernel says that knows the request. One that does not says `EINVAL`.
fn try_answer(answer: io::Result<bool>, what: &'static str) -> Result<(), Unsupported> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Err(Unsupported::Lacking(what)),
        Err(error) => Err(error.into()),
    }
}

const ALLOW_ALL: sock_filter = sock_filter {
    // Both fit into 16 bits; the constants are wider.
    code: (BPF_RET | BPF_K) as u16,
    jt: 0,
    jf: 0,
    k: SECCOMP_RET_ALLOW,
};

/// The kernel gives calls random numbers of 64 bits and counts on from there.
const NO_CALL: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_is_tried_and_no_filter_stays() {
        let filters = || {
            std::fs::read_to_string("/proc/thread-self/status").map(|status| {
                let mut lines = status.lines().map(str::to_owned);
                lines.find(|line| line.starts_with("Seccomp_filters:"))
            })
        };
        let before = filters().ok();
        let supported = check_support();
        assert!(supported.is_ok(), "{supported:?}");
        assert_eq!(filters().ok(), before);
    }

    #[test]
    fn an_answer_that_is_not_known_is_a_matter_of_age() {
        let unknown = Err(io::Error::from_raw_os_error(libc::EINVAL));
        let lacking = try_answer(unknown, "that").unwrap_err();
        assert!(lacking.is_for_age(false));
        let absent = Unsupported::from(io::Error::from_raw_os_error(libc::EINVAL));
        assert!(absent.is_for_age(true) && !absent.is_for_age(false));
        let nested = Unsupported::from(io::Error::from_raw_os_error(libc::EBUSY));
        assert!(!nested.is_for_age(true) && nested.to_string().contains("do not nest"));
        assert!(try_answer(Ok(false), "that").is_ok());
    }
}

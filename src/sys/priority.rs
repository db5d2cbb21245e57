//! The nice value: who gets more of the CPU.

use std::io;
use std::thread;

use nix::errno::Errno;

/// Sets the nice value of this thread, which its children and what it executes inherit. (Of the whole process it is
/// in POSIX and not on Linux, setpriority(2); a launcher has one thread.)
///
/// # Errors
/// `EACCES`: a lower one than it has needs `CAP_SYS_NICE`, or enough `RLIMIT_NICE`.
pub fn set_nice(value: i32) -> io::Result<()> {
    // SAFETY: takes three integers and no pointer.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, value) };
    Errno::result(result)?;
    Ok(())
}

/// Whether a process of ours could be given this nice value: tried on a thread that ends right after. Where no
/// thread can be had, nothing is known against it.
///
/// # Errors
/// Those of [`set_nice`].
pub fn try_nice(value: i32) -> io::Result<()> {
    let Ok(thread) = thread::Builder::new().spawn(move || set_nice(value)) else {
        return Ok(());
    };
    thread.join().unwrap_or(Ok(()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The nice value of this thread.
    fn nice() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields = stat.rsplit(')').next().unwrap();
        fields.split_whitespace().nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn a_try_leaves_it_as_it_was() {
        let before = nice();
        try_nice(19).unwrap();
        assert_eq!(nice(), before);
        // It is this thread's alone, so no other test is slowed down.
        set_nice(19).unwrap();
        assert_eq!(nice(), 19);
    }
}

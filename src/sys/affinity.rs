//! The CPUs that a process may run on.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// This thread.
const SELF: Pid = Pid::from_raw(0);

/// The CPUs that this thread may run on, from the lowest number.
///
/// # Errors
/// Those of sched_getaffinity(2). `EINVAL`: the kernel has more CPUs than a mask of the C library has room for, 1,024.
pub fn allowed() -> io::Result<Vec<usize>> {
    let mask = sched_getaffinity(SELF)?;
    let all = 0..CpuSet::count();
    Ok(all
        .filter(|cpu| mask.is_set(*cpu).unwrap_or(false))
        .collect())
}

/// Lets this thread, and what it starts and executes, run on one CPU only.
///
/// # Errors
/// Those of sched_setaffinity(2).
pub fn pin(cpu: usize) -> io::Result<()> {
    let mut mask = CpuSet::new();
    mask.set(cpu)?;
    Ok(sched_setaffinity(SELF, &mask)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_pinned_has_one_cpu() {
        let all = allowed().unwrap();
        assert!(all.is_sorted() && !all.is_empty());
        for cpu in all {
            pin_one(cpu);
        }
    }

    /// On a thread of its own, which inherits the mask.
    fn pin_one(cpu: usize) {
        let pinned = std::thread::spawn(move || {
            pin(cpu)?;
            allowed()
        });
        assert_eq!(pinned.join().unwrap().unwrap(), [cpu]);
    }
}

//! Who a process is: taking on another user for good, and what a user may do.

use std::io;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::procfs;

/// A capability that is asked for here (capabilities(7)), by its number in `linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Sending signals to processes of other users.
    Kill = 5,
    /// Changing the groups of a process.
    SetGid = 6,
    /// Changing the user of a process.
    SetUid = 7,
}

impl Capability {
    /// As a container's options have it: without `CAP_`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::SetGid => "SETGID",
            Self::SetUid => "SETUID",
        }
    }

    /// Whether this process has it. Where /proc does not tell, nothing is known against it.
    pub fn is_ours(self) -> bool {
        let ours = procfs::effective_capabilities(std::process::id().cast_signed());
        ours.is_none_or(|set| set >> (self as u32) & 1 == 1)
    }
}

/// The call that was refused on the way to another user.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {source}")]
pub struct Refused {
    /// The system call.
    pub call: &'static str,
    /// Its error.
    pub source: io::Error,
}

fn refused(call: &'static str) -> impl FnOnce(Errno) -> Refused {
    move |errno| Refused {
        call,
        source: errno.into(),
    }
}

/// Makes this process one of another user, with these groups and no other, so that nothing of what it was can be
/// had back. It must have one thread, or the C library changes the others one after the other.
///
/// The order: the groups first, which need `CAP_SETGID`, and the user last, with whom the capabilities go. All three
/// ids are set, for the saved one is a way back. What a change of user leaves is taken away by hand: inheritable
/// capabilities always, ambient ones with them, and all others where it was not root that changed or where the
/// securebits keep them (capabilities(7)). The bounding set stays: it is no right, but the most that setuid
/// programs can give, and without it sudo and ping would fail in a worker.
///
/// The kernel takes the signal at the parent's death back (`PR_SET_PDEATHSIG`, prctl(2); `commit_creds`,
/// kernel/cred.c), so it must be asked for again.
///
/// # Errors
/// See [`Refused`]; the process may have some of the groups by then, and must not go on.
pub fn take_on(user: u32, group: u32, groups: &[u32]) -> Result<(), Refused> {
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(group));
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups).map_err(refused("setgroups(2)"))?;
    setresgid(gid, gid, gid).map_err(refused("setresgid(2)"))?;
    setresuid(uid, uid, uid).map_err(refused("setresuid(2)"))?;
    // Root without capabilities would get them back when it executes something.
    if !uid.is_root() {
        drop_capabilities().map_err(refused("capset(2)"))?;
    }
    Ok(())
}

/// `struct __user_cap_header_struct` and `__user_cap_data_struct` of `linux/capability.h`, which libc does not have.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Leaves this thread no capability. What is neither permitted nor inheritable cannot be ambient.
fn drop_capabilities() -> nix::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`: two words for each set.
    const VERSION: u32 = 0x2008_0522;
    let header = Header {
        version: VERSION,
        pid: 0,
    };
    let none = [Sets::default(); 2];
    // SAFETY: the kernel reads a header and, by its version, two elements of sets, which both outlive the call; of a
    // version that it knows it writes nothing.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_can_give_its_capabilities_away() {
        // The call is of the thread alone; here it is one that ends.
        let dropped = std::thread::spawn(|| {
            drop_capabilities()?;
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
            Ok::<_, Errno>(status)
        });
        let status = dropped.join().unwrap().unwrap();
        let sets = status.lines().filter(|line| {
            ["CapInh", "CapPrm", "CapEff", "CapAmb"].contains(&line.split(':').next().unwrap_or(""))
        });
        let sets: Vec<&str> = sets.collect();
        assert_eq!(sets.len(), 4);
        assert!(
            sets.iter().all(|set| set.ends_with("\t0000000000000000")),
            "{sets:?}"
        );
    }
}

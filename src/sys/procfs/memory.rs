//! A process's memory.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// Copies memory of process `pid` from `address` on, and says how many bytes: fewer than asked for
/// where the rest is not mapped. Where process_vm_readv(2) is refused, as containers do, it reads
/// /proc/PID/mem, which asks for the same right but is not a system call that is filtered.
///
/// # Errors
/// `EFAULT` or `EIO`: nothing is mapped at `address`. `ESRCH` or `NotFound`: there is no such process.
/// `EPERM` or `PermissionDenied`: the caller may not trace it.
pub fn read_memory(pid: i32, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let base = usize::try_from(address).map_err(|_| io::Error::from_raw_os_error(libc::EFAULT))?;
    let remote = [RemoteIoVec {
        base,
        len: buffer.len(),
    }];
    match process_vm_readv(Pid::from_raw(pid), &mut [IoSliceMut::new(buffer)], &remote) {
        Err(nix::Error::EPERM | nix::Error::ENOSYS) => {
            File::open(format!("/proc/{pid}/mem"))?.read_at(buffer, address)
        }
        result => Ok(result?),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::procfs::own_pid;

    #[test]
    fn memory_is_read_up_to_its_end() {
        let text = *b"sixteen bytes ok";
        let mut copy = [0; 16];
        let address = text.as_ptr() as u64;
        assert_eq!(read_memory(own_pid(), address, &mut copy).unwrap(), 16);
        assert_eq!(copy, text);
        assert!(read_memory(own_pid(), 8, &mut copy).is_err());
        assert!(read_memory(own_pid(), u64::MAX, &mut copy).is_err());
    }
}

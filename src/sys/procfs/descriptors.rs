//! What a process has descriptors of, and what they are, without taking one.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::Path;

use super::{entries, field, unexpected};

/// The flags of a descriptor that another socket in its place must have, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdFlags {
    /// `O_NONBLOCK`.
    pub nonblocking: bool,
    /// `FD_CLOEXEC`.
    pub close_on_exec: bool,
}

/// The flags of descriptor `fd` of process `pid`.
///
/// # Errors
/// `NotFound`: there is no such process or descriptor. `PermissionDenied`: it may not be looked at.
pub fn fd_flags(pid: i32, fd: i32) -> io::Result<FdFlags> {
    let path = format!("/proc/{pid}/fdinfo/{fd}");
    let info = fs::read(&path)?;
    let flags = field(&info, "flags:")
        .and_then(|value| i32::from_str_radix(value, 8).ok())
        .ok_or_else(|| unexpected(&path, "a line with the descriptor's flags in octal"))?;
    Ok(FdFlags {
        nonblocking: flags & libc::O_NONBLOCK != 0,
        close_on_exec: flags & libc::O_CLOEXEC != 0,
    })
}

/// The protocol of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// TCP over IPv4.
    Tcp,
    /// TCP over IPv6, or over both.
    TcpV6,
    /// Multipath TCP over IPv4.
    Mptcp,
    /// Multipath TCP over IPv6, or over both.
    MptcpV6,
    /// Anything else: UDP, Unix, netlink.
    Other,
}

/// What kind of socket descriptor `fd` of process `pid` is, without opening it: the kernel's name of
/// its protocol, an extended attribute that sockets have.
///
/// # Errors
/// `NotFound`: there is no such process or descriptor. `EOPNOTSUPP`: it is not a socket.
pub fn socket_kind(pid: i32, fd: i32) -> io::Result<SocketKind> {
    let path = CString::new(format!("/proc/{pid}/fd/{fd}"))?;
    let mut name = [0_u8; 32];
    // SAFETY: both strings end in NUL; the kernel writes at most `name.len()` bytes to `name`.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            c"system.sockprotoname".as_ptr(),
            name.as_mut_ptr().cast(),
            name.len(),
        )
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let name = &name[..length.min(name.len())];
    Ok(
        match name.split(|byte| *byte == 0).next().unwrap_or_default() {
            b"TCP" => SocketKind::Tcp,
            b"TCPv6" => SocketKind::TcpV6,
            b"MPTCP" => SocketKind::Mptcp,
            b"MPTCPv6" => SocketKind::MptcpV6,
            _ => SocketKind::Other,
        },
    )
}

/// The inodes of all sockets that process `pid` has a descriptor of, in the order of the descriptors;
/// one that has two is there twice.
///
/// # Errors
/// `NotFound`: there is no such process. `PermissionDenied`: it is another user's, or not dumpable. Root without
/// `CAP_SYS_PTRACE` sees how many descriptors such a one has, and not what they are.
pub fn socket_inodes(pid: i32) -> io::Result<Vec<u64>> {
    let mut inodes = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let found = socket_inode(&entry?.path());
        inodes.extend(found.map_err(|error| refused_or_gone(pid, error))?);
    }
    Ok(inodes)
}

/// The sockets that process `pid` has, each with a descriptor's number.
///
/// # Errors
/// `NotFound`: there is no such process. `PermissionDenied`: it is another user's, or not dumpable.
pub fn socket_descriptors(pid: i32) -> io::Result<Vec<(i32, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        let inode = socket_inode(&path).map_err(|error| refused_or_gone(pid, error))?;
        found.extend(number.zip(inode));
    }
    Ok(found)
}

/// The kernel refuses a link in /proc/PID/fd also where the process has been reaped since the link was found
/// (`proc_pid_readlink`, fs/proc/base.c).
fn refused_or_gone(pid: i32, error: io::Error) -> io::Error {
    match Path::new(&format!("/proc/{pid}")).exists() {
        true => error,
        false => io::ErrorKind::NotFound.into(),
    }
}

/// The socket behind one descriptor of a process; none if it is no socket, or cannot be looked at.
pub fn socket_inode_of(pid: i32, fd: i32) -> Option<u64> {
    let found = socket_inode(Path::new(&format!("/proc/{pid}/fd/{fd}")));
    found.ok().flatten()
}

/// The socket behind a link in /proc/PID/fd, if it is one. A descriptor that is closed while we read is none.
fn socket_inode(link: &Path) -> io::Result<Option<u64>> {
    let target = match fs::read_link(link) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        target => target?,
    };
    let inode = target
        .to_str()
        .and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']'));
    Ok(inode.and_then(|inode| inode.parse().ok()))
}

/// Who else than this process has a descriptor of the socket: a process and the name of its command. The first that
/// is found; none if nobody has one or it is a process that we may not look at.
pub fn holder_of(inode: u64) -> Option<(i32, String)> {
    let holds = |pid: &i32| socket_inodes(*pid).is_ok_and(|inodes| inodes.contains(&inode));
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let pid = entries("/proc").filter(|pid| *pid != own).find(holds)?;
    let command = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, String::from_utf8_lossy(&command).trim_end().to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::procfs::own_pid;
    use socket2::{Domain, Protocol, Socket, Type};
    use std::fs::File;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn flags_are_those_of_the_descriptor() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let flags = |socket: &TcpListener| fd_flags(own_pid(), socket.as_raw_fd()).unwrap();
        assert_eq!(
            flags(&socket),
            FdFlags {
                nonblocking: false,
                close_on_exec: true
            }
        );
        socket.set_nonblocking(true).unwrap();
        assert!(flags(&socket).nonblocking);
        assert_eq!(
            fd_flags(own_pid(), 1 << 20).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn sockets_are_told_apart() {
        let kind = |domain, kind, protocol| {
            let socket = Socket::new(domain, kind, protocol).ok()?;
            Some(socket_kind(own_pid(), socket.as_raw_fd()).unwrap())
        };
        assert_eq!(
            kind(Domain::IPV4, Type::STREAM, None),
            Some(SocketKind::Tcp)
        );
        assert_eq!(
            kind(Domain::IPV4, Type::DGRAM, None),
            Some(SocketKind::Other)
        );
        assert_eq!(
            kind(Domain::UNIX, Type::STREAM, None),
            Some(SocketKind::Other)
        );
        // Where the kernel has no IPv6 or no multipath TCP, there is nothing to tell apart.
        let v6 = kind(Domain::IPV6, Type::STREAM, None);
        assert!(matches!(v6, None | Some(SocketKind::TcpV6)));
        let mptcp = kind(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP));
        assert!(matches!(mptcp, None | Some(SocketKind::Mptcp)));
        let file = File::open("/dev/null").unwrap();
        assert!(socket_kind(own_pid(), file.as_raw_fd()).is_err());
    }
}

//! What /proc tells of a worker: its listeners, sockets, descendants, descriptors and memory.
//!
//! Every answer is about a moment that has passed. A pid may belong to another process by now, and a
//! list is not read all at once: what changes meanwhile may be missing from it or be there twice. So
//! whoever acts on an answer makes sure first that the process was the right one (a pidfd that has not
//! become readable, a notification that is still valid), and takes "not there" for "look again".

mod threads;

pub use threads::{is_asleep, is_being_killed, is_dead, may_hold, readers};

use crate::wire::proc_net::{Line, ListenLine, parse_line};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use std::collections::{BTreeSet, VecDeque};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IoSliceMut};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// The flags of a descriptor that another socket in its place must have, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdFlags {
    /// `O_NONBLOCK`.
    pub nonblocking: bool,
    /// `FD_CLOEXEC`.
    pub close_on_exec: bool,
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

/// The listeners with these inodes, in the network namespace of process `pid` or of the calling
/// thread. One that is missing listens no more.
///
/// Each file has the listeners first, and reading stops when all are found, or at the first line that
/// is no listener's: the cost does not grow with the number of connections. A machine without IPv6
/// has no second file, and that is no error.
///
/// # Errors
/// Those of reading /proc/PID/net/tcp and tcp6; `NotFound` when the process is gone.
pub fn listeners(pid: Option<i32>, wanted: &BTreeSet<u64>) -> io::Result<Vec<ListenLine>> {
    // Not /proc/self: that is the first thread, and a thread may have moved to another namespace.
    let process = pid.map_or_else(|| "thread-self".to_owned(), |pid| pid.to_string());
    let mut wanted = wanted.clone();
    let mut found = listeners_in(File::open(format!("/proc/{process}/net/tcp"))?, &mut wanted)?;
    if wanted.is_empty() {
        return Ok(found);
    }
    match File::open(format!("/proc/{process}/net/tcp6")) {
        Ok(file) => found.extend(listeners_in(file, &mut wanted)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

/// Those of the LISTEN lines at the beginning of a table that are wanted; they are taken out of
/// `wanted`.
fn listeners_in(table: impl io::Read, wanted: &mut BTreeSet<u64>) -> io::Result<Vec<ListenLine>> {
    // The kernel makes up lines until it has as many bytes as were asked for. Past the listeners it
    // would look through the whole table of connections for one more line, which takes milliseconds
    // even when that is empty; so no more than a line is asked for at a time.
    const LESS_THAN_A_LINE: usize = 128;
    let mut lines = BufReader::with_capacity(LESS_THAN_A_LINE, table);
    let mut found = Vec::new();
    let mut line = Vec::new();
    while !wanted.is_empty() && lines.read_until(b'\n', &mut line)? > 0 {
        match parse_line(&line) {
            Line::Listen(listen) if wanted.remove(&listen.inode) => found.push(listen),
            Line::Listen(_) | Line::Header | Line::Malformed => {}
            Line::Other => break,
        }
        line.clear();
    }
    Ok(found)
}

/// The process that the thread `tid` belongs to.
///
/// # Errors
/// `NotFound`: there is no such thread.
pub fn tgid(tid: i32) -> io::Result<i32> {
    let path = format!("/proc/{tid}/status");
    let status = fs::read(&path)?;
    field(&status, "Tgid:")
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| unexpected(&path, "a line with the thread's Tgid"))
}

/// The inodes of all sockets that process `pid` has a descriptor of, in the order of the descriptors;
/// one that has two is there twice.
///
/// # Errors
/// `NotFound`: there is no such process. `PermissionDenied`: it is another user's, or not dumpable.
pub fn socket_inodes(pid: i32) -> io::Result<Vec<u64>> {
    let mut inodes = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // A descriptor that is closed while we read is none.
        inodes.extend(socket_inode(&entry?.path()));
    }
    Ok(inodes)
}

/// The socket behind one descriptor of a process; none if it is no socket, or cannot be looked at.
pub fn socket_inode_of(pid: i32, fd: i32) -> Option<u64> {
    socket_inode(Path::new(&format!("/proc/{pid}/fd/{fd}")))
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
        found.extend(number.zip(socket_inode(&path)));
    }
    Ok(found)
}

/// All processes of the process group `group`.
pub fn members_of_group(group: i32) -> Vec<i32> {
    entries("/proc")
        .filter(|pid| process_group(*pid) == Some(group))
        .collect()
}

/// The process group of a process; none if there is no such process.
pub fn process_group(pid: i32) -> Option<i32> {
    let group = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid)));
    group.ok().map(nix::unistd::Pid::as_raw)
}

/// What `IPV6_V6ONLY` is for a socket that does not set it (`net.ipv6.bindv6only`, ipv6(7)).
pub fn v6_only_by_default() -> bool {
    fs::read("/proc/sys/net/ipv6/bindv6only").is_ok_and(|value| value.starts_with(b"1"))
}

/// The socket behind a link in /proc/PID/fd, if it is one.
fn socket_inode(link: &Path) -> Option<u64> {
    let target = fs::read_link(link).ok()?;
    let inode = target
        .to_str()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?;
    inode.parse().ok()
}

/// Process `pid` and all its descendants, parents before their children. A process whose parent has
/// ended is not among them; one that is started or ends meanwhile may or may not be.
pub fn descendants(pid: i32) -> Vec<i32> {
    // Only where the kernel has CONFIG_PROC_CHILDREN (since Linux 4.2; most have it).
    if Path::new("/proc/thread-self/children").exists() {
        closure(pid, children)
    } else {
        let parents = parents();
        closure(pid, |of| {
            parents
                .iter()
                .filter(|(_, parent)| *parent == of)
                .map(|(pid, _)| *pid)
                .collect()
        })
    }
}

/// Everything that is reached from `root` by going to the children, and each once.
fn closure(root: i32, children: impl Fn(i32) -> Vec<i32>) -> Vec<i32> {
    let mut found = vec![root];
    let mut ahead = VecDeque::from([root]);
    while let Some(pid) = ahead.pop_front() {
        for child in children(pid) {
            // Pids are reused while we read: without this, a circle could be seen.
            if !found.contains(&child) {
                found.push(child);
                ahead.push_back(child);
            }
        }
    }
    found
}

/// The children of all threads of a process; a child belongs to the thread that started it.
fn children(pid: i32) -> Vec<i32> {
    let threads: Vec<i32> = entries(&format!("/proc/{pid}/task")).collect();
    let mut found = children_of_threads(pid, &threads);
    if threads.len() > 1 {
        // A thread that ends gives its children to one that goes on, whose list we may have read by
        // then; the second look finds them there.
        found.extend(children_of_threads(pid, &threads));
    }
    found
}

fn children_of_threads(pid: i32, threads: &[i32]) -> Vec<i32> {
    let list = |tid| fs::read_to_string(format!("/proc/{pid}/task/{tid}/children")).ok();
    let lists = threads.iter().filter_map(list);
    lists.flat_map(|list| numbers(&list)).collect()
}

fn numbers(list: &str) -> Vec<i32> {
    list.split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Every process and its parent.
fn parents() -> Vec<(i32, i32)> {
    entries("/proc")
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command's name in parentheses, with anything in it, even parentheses.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(stat.get(end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The entries of a directory whose names are numbers; none if it cannot be read.
fn entries(directory: &str) -> impl Iterator<Item = i32> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
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

/// Who has a descriptor of the socket: a process and the name of its command. The first that is found;
/// none if nobody has one or it is a process that we may not look at.
pub fn holder_of(inode: u64) -> Option<(i32, String)> {
    let holds = |pid: &i32| socket_inodes(*pid).is_ok_and(|inodes| inodes.contains(&inode));
    let pid = entries("/proc").find(holds)?;
    let command = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, String::from_utf8_lossy(&command).trim_end().to_owned()))
}

/// The network namespace of process `pid`, as its inode: equal for two processes in the same one.
///
/// # Errors
/// `NotFound`: there is no such process. `PermissionDenied`: it may not be looked at.
pub fn network_namespace(pid: i32) -> io::Result<u64> {
    fs::metadata(format!("/proc/{pid}/ns/net")).map(|namespace| namespace.ino())
}

/// The value in the line that starts with `name`.
fn field<'a>(text: &'a [u8], name: &str) -> Option<&'a str> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(name.as_bytes()))?;
    str::from_utf8(value).ok().map(str::trim)
}

fn unexpected(path: &str, what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{path} was expected to have {what}"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

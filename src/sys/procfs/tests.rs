//! Asked about this very process, whose answers are known.

use super::*;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

fn line_of(inode: u64) -> Option<ListenLine> {
    listeners(None, &BTreeSet::from([inode])).unwrap().pop()
}

fn inode_of(socket: &impl AsRawFd) -> u64 {
    socket_inode_of(own_pid(), socket.as_raw_fd()).unwrap()
}

#[test]
fn the_references_count_what_was_not_accepted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let inode = inode_of(&listener);
    assert_eq!(line_of(inode).unwrap().references, 1);
    let clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());
    let line = line_of(inode).unwrap();
    assert_eq!(line.address, address);
    assert_eq!(line.references, 4);
    assert!(socket_inodes(own_pid()).unwrap().contains(&line.inode));
    assert_eq!(holder_of(line.inode).unwrap().0, own_pid());
    let accepted = [(); 3].map(|()| listener.accept().unwrap());
    assert!(line_of(inode).unwrap().is_empty());
    drop((clients, accepted, listener));
    assert_eq!(line_of(inode), None);
}

#[test]
fn listeners_of_ipv6_and_of_another_process_are_found() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        drop(writeln!(
            std::io::stderr(),
            "skipped: listeners_of_ipv6_and_of_another_process_are_found needs IPv6"
        ));
        return;
    };
    let address = listener.local_addr().unwrap();
    let lines = listeners(Some(own_pid()), &BTreeSet::from([inode_of(&listener)])).unwrap();
    assert_eq!(lines.first().unwrap().address, address);
}

#[test]
fn reading_stops_at_the_first_other_state() {
    let lines = "  sl  local\n 0: 00000000:0001 00000000:0000 0A 0:0 0:0 0 7 0 11 1\n 1: 00000000:0001 00000000:0000 01 0:0 0:0 0 7 0 12 1\n";
    let far = "2: 00000000:0002 00000000:0000 0A 0:0 0:0 0 7 0 13 1\n".repeat(10);
    let mut wanted = BTreeSet::from([11, 13]);
    let found = listeners_in((lines.to_owned() + &far).as_bytes(), &mut wanted).unwrap();
    assert_eq!(
        found.iter().map(|line| line.inode).collect::<Vec<_>>(),
        [11]
    );
    assert_eq!(wanted, BTreeSet::from([13]));
}

#[test]
fn a_thread_belongs_to_its_process() {
    let tid = nix::unistd::gettid().as_raw();
    assert_ne!(tid, own_pid());
    assert_eq!(tgid(tid).unwrap(), own_pid());
    assert_eq!(tgid(i32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
}

/// A process with a child, both waiting until their input ends.
fn family() -> (Child, i32) {
    // What a shell starts in the background reads from /dev/null, unless told otherwise.
    let script = "exec 3<&0; cat <&3 & echo $!; wait";
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    (shell, line.trim().parse().unwrap())
}

#[test]
fn descendants_are_found_in_both_ways() {
    let (mut shell, grandchild) = family();
    let child = i32::try_from(shell.id()).unwrap();
    let found = descendants(own_pid());
    assert_eq!(found[0], own_pid());
    assert!(found.contains(&child) && found.contains(&grandchild));
    assert_eq!(descendants(child), [child, grandchild]);
    assert_eq!(parent(grandchild), Some(child));
    assert!(parents().contains(&(grandchild, child)));
    drop(shell.stdin.take());
    assert!(shell.wait().unwrap().success());
}

#[test]
fn a_circle_of_reused_pids_ends() {
    assert_eq!(closure(1, |pid| vec![pid % 3 + 1]), [1, 2, 3]);
}

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

#[test]
fn a_namespace_is_shared_with_a_child() {
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let theirs = network_namespace(i32::try_from(child.id()).unwrap()).unwrap();
    assert_eq!(theirs, network_namespace(own_pid()).unwrap());
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn the_dead_are_told_from_the_living() {
    let own = i32::try_from(std::process::id()).unwrap();
    assert!(!is_being_killed(own) && !is_dead(own));
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    child.kill().unwrap();
    // A zombie, until it is waited for.
    while !is_dead(pid) {
        std::thread::yield_now();
    }
    assert!(is_being_killed(pid));
    child.wait().unwrap();
    assert!(is_dead(pid));
}

//! Interception from end to end: a process installs the filter, lets us fetch the notification
//! descriptor and executes an ordinary program, for which this one then binds and listens.
//!
//! The process is this test binary again: [`filtered_process`] does nothing unless it is started by
//! another test, with its standard input as the socket on which it tells the descriptor's number.
#![allow(clippy::unwrap_used)]

use reuseport_run::sys::pidfd::{pidfd_getfd, pidfd_open};
use reuseport_run::sys::procfs::{self, SocketKind};
use reuseport_run::sys::seccomp::{self, Call, Notification};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SCRIPT: &str = "REUSEPORT_TEST_SCRIPT";
const INNER: &str = "REUSEPORT_TEST_INNER";
const NOBODY: u32 = 65534;

/// Serves one connection on the port that it is given, and says on which socket options it did so.
const SERVER: &str = "
import socket, sys
s = socket.socket()
s.bind(('127.0.0.1', int(sys.argv[1])))
s.listen(7)
c, _ = s.accept()
c.sendall(b'reuseport=%d' % s.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))
";

#[test]
fn filtered_process() {
    let Ok(script) = std::env::var(SCRIPT) else {
        return;
    };
    let listener = seccomp::install(&seccomp::build_filter(true)).unwrap();
    let flags = nix::fcntl::fcntl(&listener, nix::fcntl::FcntlArg::F_GETFD).unwrap();
    assert_eq!(flags, nix::libc::FD_CLOEXEC);
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
    writeln!(&mut &socket, "{}", listener.as_raw_fd()).unwrap();
    assert_eq!(read_line(&socket), "fetched\n");
    let port = std::env::var("PORT").unwrap_or_default();
    panic!(
        "{}",
        Command::new("python3").args(["-c", &script, &port]).exec()
    );
}

/// A filtered process and the descriptor on which its calls are heard of. Killed when dropped.
struct Filtered {
    child: Child,
    listener: OwnedFd,
    deadline: Instant,
}

impl Filtered {
    fn start(script: &str, port: u16) -> Self {
        let (near, far) = UnixStream::pair().unwrap();
        let mut command = Command::new("/proc/self/exe");
        command.args(["--exact", "filtered_process", "--nocapture"]);
        command.env(SCRIPT, script).env("PORT", port.to_string());
        let child = command
            .stdin(OwnedFd::from(far))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        drop(command);
        let listener = fetch_listener(&near, &child);
        let deadline = Instant::now() + Duration::from_secs(30);
        Self {
            child,
            listener,
            deadline,
        }
    }

    /// The next trapped call, waiting for it.
    fn next(&self) -> Notification {
        while Instant::now() < self.deadline {
            if let Some(notification) = seccomp::receive(self.listener.as_fd()).unwrap() {
                return notification;
            }
            let mut fds = [nix::poll::PollFd::new(
                self.listener.as_fd(),
                nix::poll::PollFlags::POLLIN,
            )];
            nix::poll::poll(&mut fds, 100_u8).unwrap();
        }
        panic!("the filtered process made no call in time");
    }

    /// The socket that a call is about, and the process that has it.
    fn fetch(&self, notification: &Notification, fd: RawFd) -> (i32, Socket) {
        let pid = procfs::tgid(notification.thread).unwrap();
        let pidfd = pidfd_open(pid).unwrap();
        let socket = pidfd_getfd(&pidfd, fd).unwrap();
        assert!(seccomp::still_valid(self.listener.as_fd(), notification.id));
        (pid, socket.into())
    }

    fn answer(&self, notification: &Notification, result: Result<i64, i32>) -> bool {
        seccomp::answer(self.listener.as_fd(), notification.id, result).unwrap()
    }

    /// Binds for the process, with `SO_REUSEPORT`.
    fn bind(&self, notification: &Notification) -> bool {
        let Call::Bind {
            fd,
            address,
            length,
        } = notification.call
        else {
            panic!("{notification:?} is not a bind");
        };
        let (pid, socket) = self.fetch(notification, fd);
        assert_eq!(procfs::socket_kind(pid, fd).unwrap(), SocketKind::Tcp);
        socket.set_reuse_port(true).unwrap();
        let result = socket.bind(&read_address(pid, address, length));
        self.answer(
            notification,
            result.map(|()| 0).map_err(|e| e.raw_os_error().unwrap()),
        )
    }

    /// Listens for the process.
    fn listen(&self, notification: &Notification) -> bool {
        let Call::Listen { fd, backlog } = notification.call else {
            panic!("{notification:?} is not a listen");
        };
        assert_eq!(backlog, 7);
        self.fetch(notification, fd).1.listen(backlog).unwrap();
        self.answer(notification, Ok(0))
    }
}

impl Drop for Filtered {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Fetches the descriptor whose number the process tells.
fn fetch_listener(socket: &UnixStream, process: &Child) -> OwnedFd {
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let number = read_line(socket)
        .trim()
        .parse()
        .expect("the filter could not be installed");
    let pidfd = pidfd_open(i32::try_from(process.id()).unwrap()).unwrap();
    let listener = pidfd_getfd(&pidfd, number).unwrap();
    writeln!(&mut &*socket, "fetched").unwrap();
    listener
}

fn read_line(socket: &UnixStream) -> String {
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).unwrap();
    line
}

fn read_address(pid: i32, address: u64, length: u32) -> SockAddr {
    let mut bytes = [0; 16];
    let length = bytes.len().min(length as usize);
    assert_eq!(
        procfs::read_memory(pid, address, &mut bytes[..length]).unwrap(),
        length
    );
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    let ip: [u8; 4] = bytes[4..8].try_into().unwrap();
    SocketAddr::from((ip, port)).into()
}

/// A port that only a socket with `SO_REUSEPORT` can bind, and its holder, which does not listen.
fn reserved_port() -> (Socket, u16) {
    let socket = reuseport_socket();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

fn reuseport_socket() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket
}

/// What the server on a port says.
fn ask(port: u16) -> String {
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    said
}

fn needs_python(name: &str) -> bool {
    let works = Command::new("python3")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    if !works {
        drop(writeln!(std::io::stderr(), "skipped: {name} needs python3"));
    }
    works
}

#[test]
fn an_unmodified_server_serves_on_a_socket_that_we_have_bound() {
    if needs_python("an_unmodified_server_serves_on_a_socket_that_we_have_bound") {
        serve_on_bound_socket();
    }
}

fn serve_on_bound_socket() {
    let (_reserved, port) = reserved_port();
    let server = Filtered::start(SERVER, port);
    assert!(server.bind(&server.next()));
    let listen = server.next();
    assert_ne!(listen.id, 0);
    assert!(server.listen(&listen));
    assert_eq!(ask(port), "reuseport=1");
}

#[test]
fn it_works_without_any_privilege() {
    let name = "it_works_without_any_privilege";
    if std::env::var_os(INNER).is_some() {
        assert_eq!(nix::unistd::getuid().as_raw(), NOBODY);
        return serve_on_bound_socket();
    }
    if !nix::unistd::getuid().is_root() {
        drop(writeln!(
            std::io::stderr(),
            "skipped: {name} needs root, to become another user"
        ));
        return;
    }
    if !needs_python(name) {
        return;
    }
    // The build directory may be closed to others.
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    open_to_all(directory.path());
    let copy = directory.path().join("test");
    std::fs::copy("/proc/self/exe", &copy).unwrap();
    open_to_all(&copy);
    let mut command = Command::new(copy);
    command
        .args(["--exact", name, "--nocapture"])
        .env(INNER, "1")
        .current_dir("/");
    assert!(command.uid(NOBODY).gid(NOBODY).status().unwrap().success());
}

fn open_to_all(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_server_serves_on_a_socket_that_is_put_in_the_place_of_its_own() {
    let name = "a_server_serves_on_a_socket_that_is_put_in_the_place_of_its_own";
    if !needs_python(name) {
        return;
    }
    let (_asked_for, asked_for) = reserved_port();
    let (ours, port) = reserved_port();
    let server = Filtered::start(SERVER, asked_for);
    let bind = server.next();
    let Call::Bind { fd, .. } = bind.call else {
        panic!("{bind:?} is not a bind");
    };
    let pid = procfs::tgid(bind.thread).unwrap();
    let before = procfs::fd_flags(pid, fd).unwrap();
    assert!(before.close_on_exec);
    let listener = server.listener.as_fd();
    assert!(seccomp::add_fd(listener, bind.id, ours.as_fd(), fd, before.close_on_exec).unwrap());
    assert_eq!(procfs::fd_flags(pid, fd).unwrap(), before);
    assert!(server.answer(&bind, Ok(0)));
    // Its listen, too, is then about our socket.
    assert!(server.listen(&server.next()));
    assert_eq!(ask(port), "reuseport=1");
}

#[test]
fn the_program_sees_the_error_that_is_answered() {
    if !needs_python("the_program_sees_the_error_that_is_answered") {
        return;
    }
    let script = "
import socket, sys, errno
try:
    socket.socket().bind(('127.0.0.1', int(sys.argv[1])))
except OSError as error:
    sys.exit(40 if error.errno == errno.EXFULL else 41)
";
    let mut server = Filtered::start(script, 1);
    let bind = server.next();
    assert!(server.answer(&bind, Err(nix::libc::EXFULL)));
    assert_eq!(server.child.wait().unwrap().code(), Some(40));
}

#[test]
fn the_option_for_ipv6_only_is_heard_of_and_no_other() {
    if !needs_python("the_option_for_ipv6_only_is_heard_of_and_no_other") {
        return;
    }
    let script = "
import socket, sys
s = socket.socket(socket.AF_INET6)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
sys.exit(40 + s.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
";
    let mut server = Filtered::start(script, 0);
    let set = server.next();
    let Call::SetV6Only {
        value_address,
        length,
        ..
    } = set.call
    else {
        panic!("{set:?} does not set IPV6_V6ONLY");
    };
    let mut value = [0; 4];
    let pid = procfs::tgid(set.thread).unwrap();
    assert_eq!(
        procfs::read_memory(pid, value_address, &mut value).unwrap(),
        4
    );
    assert_eq!((length, i32::from_ne_bytes(value)), (4, 1));
    assert!(seccomp::pass(server.listener.as_fd(), set.id).unwrap());
    assert_eq!(server.child.wait().unwrap().code(), Some(41));
}

#[test]
fn an_answer_to_a_call_that_is_no_more_is_no_error() {
    if !needs_python("an_answer_to_a_call_that_is_no_more_is_no_error") {
        return;
    }
    let mut server = Filtered::start(SERVER, 1);
    let bind = server.next();
    let listener = server.listener.as_fd();
    assert!(seccomp::still_valid(listener, bind.id));
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert!(!seccomp::still_valid(listener, bind.id));
    assert!(!server.answer(&bind, Ok(0)));
    assert!(!seccomp::pass(listener, bind.id).unwrap());
    let source = io::stdin();
    assert!(!seccomp::add_fd(listener, bind.id, source.as_fd(), 3, true).unwrap());
    // All filtered threads have gone: the listener hangs up, and receiving must not block.
    assert_eq!(seccomp::receive(listener).unwrap(), None);
}

/// Binds again and again while a timer interrupts it a thousand times a second.
const STORM: &str = "
import signal, socket, sys
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
for _ in range(200):
    s = socket.socket()
    s.bind(('127.0.0.1', int(sys.argv[1])))
    s.close()
signal.setitimer(signal.ITIMER_REAL, 0)
";

#[test]
fn a_storm_of_signals_loses_no_call() {
    if !needs_python("a_storm_of_signals_loses_no_call") {
        return;
    }
    let mut server = Filtered::start(STORM, 1);
    let mut answered = 0;
    for attempt in 0.. {
        if answered == 200 {
            break;
        }
        let bind = server.next();
        assert!(matches!(bind.call, Call::Bind { .. }));
        // The first few are left waiting until signals have come, and may be interrupted by them.
        if attempt < 10 {
            nix::poll::poll(&mut [], 5_u8).unwrap();
        }
        answered += u32::from(server.answer(&bind, Ok(0)));
    }
    assert!(server.child.wait().unwrap().success());
}

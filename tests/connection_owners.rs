//! Which worker owns which connection, according to the kernel about a server that is another process.
#![allow(clippy::unwrap_used)]

use reuseport_run::fleet::WorkerId;
use reuseport_run::supervisor::retirement::connection_owners::{
    ConnectionOwners, OpenConnection, Unaccounted, attribute,
};
use reuseport_run::sys::{diag, procfs};
use reuseport_run::wire::diag::States;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const WORKER: WorkerId = WorkerId(1);

/// Has the listener as its standard input, and commands come by its standard output. Its child is what
/// serves: "accept" makes it accept a connection, anything else close its oldest.
const SERVER: &str = "
import os, socket, sys
commands = socket.socket(fileno=os.dup(1))
if os.fork():
    os.wait()
    sys.exit()
listener = socket.socket(fileno=0)
held = []
for line in commands.makefile():
    held.append(listener.accept()[0]) if line == 'accept\\n' else held.pop(0).close()
    commands.sendall(b'done\\n')
";

struct Server {
    child: Child,
    commands: BufReader<std::os::unix::net::UnixStream>,
}

impl Server {
    fn start(listener: TcpListener) -> Self {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut command = Command::new("python3");
        command
            .args(["-c", SERVER])
            .stdin(OwnedFd::from(listener))
            .stdout(OwnedFd::from(far));
        let child = command.spawn().unwrap();
        Self {
            child,
            commands: BufReader::new(near),
        }
    }

    fn perform(&mut self, command: &str) {
        writeln!(self.commands.get_ref(), "{command}").unwrap();
        let mut answer = String::new();
        self.commands.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n");
    }

    fn owners(&self) -> BTreeMap<u64, Vec<WorkerId>> {
        let pids = procfs::descendants(i32::try_from(self.child.id()).unwrap());
        let inodes = pids
            .into_iter()
            .flat_map(|pid| procfs::socket_inodes(pid).unwrap());
        inodes.map(|inode| (inode, vec![WORKER])).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its commands end, and so do both processes.
        self.commands
            .get_ref()
            .shutdown(std::net::Shutdown::Both)
            .ok();
        self.child.wait().ok();
    }
}

fn open(port: u16) -> Vec<OpenConnection> {
    let found = diag::connections(port, States::OPEN).unwrap();
    let open = |c: &reuseport_run::wire::diag::Connection| OpenConnection {
        cookie: c.cookie,
        inode: c.inode,
    };
    found.iter().map(open).collect()
}

/// Who owns each connection, taken again until there are this many open connections.
fn owners(server: &Server, port: u16, count: usize) -> ConnectionOwners {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let open = open(port);
        if open.len() == count {
            return attribute(&open, &server.owners());
        }
        assert!(Instant::now() < deadline, "{open:?} are not {count}");
    }
}

#[test]
fn connections_are_found_with_the_process_that_accepted_them() {
    if Command::new("python3")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        drop(writeln!(
            std::io::stderr(),
            "skipped: connections_are_found_with_the_process_that_accepted_them needs python3"
        ));
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = Server::start(listener);
    let clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());

    let queued = owners(&server, address.port(), clients.len());
    assert_eq!((queued.open_of(WORKER), queued.unattributed.len()), (0, 3));
    let mut unaccounted = Unaccounted::open_at_settling(queued.unattributed.clone());
    unaccounted.observe(&queued);
    assert!(!unaccounted.is_empty());

    server.perform("accept");
    server.perform("accept");
    let two = owners(&server, address.port(), clients.len());
    assert_eq!((two.open_of(WORKER), two.unattributed.len()), (2, 1));
    unaccounted.observe(&two);
    assert!(!unaccounted.is_empty());

    server.perform("accept");
    server.perform("close");
    let last = owners(&server, address.port(), clients.len() - 1);
    assert_eq!((last.open_of(WORKER), last.unattributed.len()), (2, 0));
    unaccounted.observe(&last);
    assert!(unaccounted.is_empty());
}

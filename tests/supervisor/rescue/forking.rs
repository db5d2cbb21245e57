//! Servers that accept in one process and answer in a child of it, one for each connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::*;

const RELOADS: usize = 10;
const CLIENTS: usize = 8;
/// How long a client may take to ask: it is not always there at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Clients that connect, ask a little later, and let go when they have their answer. They speak nothing that
/// anybody else could answer.
struct Clients {
    threads: Vec<thread::JoinHandle<Vec<io::Error>>>,
    is_over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
}

impl Clients {
    fn start(address: SocketAddr) -> Self {
        let (is_over, served) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let client = |_| {
            let (is_over, served) = (Arc::clone(&is_over), Arc::clone(&served));
            thread::spawn(move || {
                let mut lost = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    lost.extend(converse(address).err());
                    served.fetch_add(1, Ordering::Relaxed);
                }
                lost
            })
        };
        let threads = (0..CLIENTS).map(client).collect();
        Self {
            threads,
            is_over,
            served,
        }
    }

    /// What became of those that were not served.
    fn stop(self) -> (usize, Vec<io::Error>) {
        self.is_over.store(true, Ordering::Relaxed);
        let threads = self.threads.into_iter();
        let lost = threads.flat_map(|it| it.join().unwrap()).collect();
        (self.served.load(Ordering::Relaxed), lost)
    }
}

fn converse(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    thread::sleep(PAUSE);
    stream.write_all(b"hello")?;
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes)
}

#[test]
fn what_is_on_its_way_to_a_child_is_not_lost() {
    let supervisor = scripted(&["-n", "2"], &["--fork-each", "--opaque"]).start();
    supervisor.wait_serving(2);
    let clients = Clients::start(supervisor.address());
    for _ in 0..RELOADS {
        supervisor.ctl_ok(["reload"]);
    }
    let (served, lost) = clients.stop();
    assert!(lost.is_empty(), "{} of {served}: {lost:?}", lost.len());
}

/// As vsftpd does: two processes have the connection, and it is not the first one found that reads.
#[test]
fn a_child_that_reads_what_its_parent_has_too_is_not_put_to_sleep() {
    let options = ["-n", "1", "--quiet-timeout", "50s"];
    let behaviour = ["--share-each", "--opaque", "--hold", "{dir}/go"];
    let supervisor = scripted(&options, &behaviour).start();
    supervisor.wait_serving(1);
    let mut client = TcpStream::connect(supervisor.address()).unwrap();
    client.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
    client.write_all(b"hold!").unwrap();
    supervisor.wait_line("holds a message");
    let mut reload = begin(&supervisor, &["reload"]);
    wait_holding(&supervisor, 1);
    // Its next read begins while the connection is frozen.
    touch(supervisor.directory(), "go");
    client.read_exact(&mut [0; 5]).unwrap();
    for _ in 0..5 {
        thread::sleep(PAUSE);
        client.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
    }
    // It would wait for the parent, which never lets go.
    reload.kill().unwrap();
    reload.wait().unwrap();
}

#[test]
fn requests_to_servers_that_fork_are_not_lost() {
    let supervisor = scripted(&["-n", "2"], &["--fork-each"]).start();
    supervisor.wait_serving(2);
    without_loss(light(supervisor.address()), || {
        for _ in 0..RELOADS {
            supervisor.ctl_ok(["reload"]);
        }
    });
}

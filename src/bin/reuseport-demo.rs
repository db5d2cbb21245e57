//! A small HTTP server to try `reuseport-run` with: `reuseport-run -n 4 reuseport-demo`.
//!
//! It is as ordinary as a server can be. It binds its address plainly and knows nothing of
//! `SO_REUSEPORT`; only the text that it answers with tells which copy of it answered. On SIGTERM
//! it stops accepting, finishes the requests that it has begun, and exits with 0. `GET /slow`
//! takes a second, to be such a request.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{env, thread};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::SIGTERM;

/// The longest request head that is read, in bytes.
const MAX_HEAD_LEN: u64 = 8 << 10;

/// So much of a body is passed over, in bytes.
const MAX_BODY_LEN: u64 = 1 << 20;

/// How long a client may be silent.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(75);

const HELP: &str = "\
A small HTTP server to try reuseport-run with

Usage: reuseport-demo [ADDRESS:PORT]

It serves ADDRESS:PORT (127.0.0.1:8080 if that is not given) and answers each
request with a line that says which worker of which generation it is. GET /slow
takes a second. At SIGTERM it finishes the requests that it has, and exits.

Examples:
  reuseport-run -n 4 reuseport-demo   four of them on one port
  curl http://127.0.0.1:8080/         ask one
  reuseport-ctl reload                replace them
";

fn main() -> ExitCode {
    let argument = env::args().nth(1);
    if matches!(argument.as_deref(), Some("-h" | "--help")) {
        // That nobody reads it is no failure.
        let _ = io::stdout().write_all(HELP.as_bytes());
        return ExitCode::SUCCESS;
    }
    let address = argument.unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    match serve(&address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reuseport-demo: cannot serve {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str) -> io::Result<()> {
    let (stop, written_on_signal) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGTERM, written_on_signal)?;
    let listener = TcpListener::bind(address)?;
    // A client may be gone again between poll and accept, which must not block us then.
    listener.set_nonblocking(true)?;
    eprintln!(
        "reuseport-demo: pid {} serves http://{}",
        process::id(),
        listener.local_addr()?
    );

    let work = Arc::new(Work::default());
    while wait(&listener, &stop)? {
        accept(&listener, &work);
    }
    drop(listener);
    work.finish();
    Ok(())
}

/// Waits for a connection (true) or the signal (false).
fn wait(listener: &TcpListener, stop: &UnixStream) -> io::Result<bool> {
    let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds = [readable(listener.as_fd()), readable(stop.as_fd())];
    match poll(&mut fds, PollTimeout::NONE) {
        Err(error) if error != Errno::EINTR => Err(error.into()),
        _ => Ok(fds[1].any() != Some(true)),
    }
}

fn accept(listener: &TcpListener, work: &Arc<Work>) {
    match listener.accept() {
        Ok((stream, _)) => {
            let work = Arc::clone(work);
            // Without a thread the connection is closed, which is all that can be done for it.
            let _ = thread::Builder::new().spawn(move || converse(&stream, &work));
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => {
            eprintln!("reuseport-demo: cannot accept: {error}");
            // Out of descriptors, most likely: accept would fail at once again and again.
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Answers requests until one side has had enough; none says that it was the client.
fn converse(stream: &TcpStream, work: &Work) -> Option<()> {
    stream.set_read_timeout(Some(CLIENT_TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(CLIENT_TIMEOUT)).ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let head = head(&mut reader)?;
        work.begin();
        let (answer, closes) = answer(&head, work);
        let sent = (&*stream).write_all(answer.as_bytes());
        work.end();
        sent.ok()?;
        if closes {
            return linger(stream, reader);
        }
    }
}

/// Closes so that the client gets the answer: a close with unread bytes would reset it.
fn linger(stream: &TcpStream, unread: impl Read) -> Option<()> {
    stream.shutdown(Shutdown::Write).ok()?;
    io::copy(&mut unread.take(MAX_BODY_LEN), &mut io::sink()).ok()?;
    Some(())
}

/// A request's bytes up to the empty line; none if the client closed, fell silent, or sent more
/// than a head may have.
fn head(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut reader = reader.take(MAX_HEAD_LEN);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let length = reader.read_until(b'\n', &mut head).ok()?;
        (length > 0).then_some(())?;
    }
    Some(head)
}

/// The answer, and whether it is the last one on this connection.
fn answer(head: &[u8], work: &Work) -> (String, bool) {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let is_valid = request.parse(head).is_ok_and(|parsed| parsed.is_complete());
    if request.path == Some("/slow") {
        thread::sleep(Duration::from_secs(1));
    }
    let status = if is_valid {
        "200 OK"
    } else {
        "400 Bad Request"
    };
    let closes = !is_valid || is_last(&request) || work.is_stopping();
    let connection = if closes { "close" } else { "keep-alive" };
    let body = format!(
        "worker {}, generation {}, pid {}\n",
        *WORKER,
        *GENERATION,
        process::id()
    );
    let length = body.len();
    let body = if request.method == Some("HEAD") {
        ""
    } else {
        &body
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: {connection}\r\nX-Worker: {}\r\n\r\n{body}",
        process::id()
    );
    (answer, closes)
}

/// Whether the client wants no more, or sends a body: none is read here, and what follows it
/// could not be found.
fn is_last(request: &httparse::Request<'_, '_>) -> bool {
    let ends = |header: &httparse::Header<'_>| {
        let value = header.value.trim_ascii().to_ascii_lowercase();
        match header.name.to_ascii_lowercase().as_str() {
            "connection" => value == b"close",
            "content-length" => value != b"0",
            name => name == "transfer-encoding",
        }
    };
    request.version != Some(1) || request.headers.iter().any(ends)
}

static WORKER: LazyLock<String> = LazyLock::new(|| variable("REUSEPORT_WORKER"));
static GENERATION: LazyLock<String> = LazyLock::new(|| variable("REUSEPORT_GENERATION"));

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| "-".to_owned())
}

/// The requests that were begun and are not yet answered.
#[derive(Default)]
struct Work {
    begun: Mutex<usize>,
    ended: Condvar,
    stopping: AtomicBool,
}

impl Work {
    fn begin(&self) {
        *self.begun() += 1;
    }

    fn end(&self) {
        *self.begun() -= 1;
        self.ended.notify_all();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Waits until no request is left. Idle connections are closed by the exit that follows.
    fn finish(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        drop(self.ended.wait_while(self.begun(), |begun| *begun > 0));
    }

    fn begun(&self) -> MutexGuard<'_, usize> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

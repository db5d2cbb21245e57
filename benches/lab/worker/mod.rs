//! The worker: one server for every way of sharing a port, so that only the way differs.
//!
//! One thread, one epoll instance. Two temperaments: [`event_loop`] serves many connections at once, as
//! event loops do; [`single`] serves one and takes no other meanwhile, as blocking servers do.
//! Both take connections through the same [`connection_source`].
//!
//! SIGTERM drains it: the connection source closes, requests that have arrived are answered with
//! `Connection: close`, and it exits with 0. What waits in the queue of a listener that it alone
//! has is lost then, as with any server: to keep it is the supervisor's part.

mod alarm;
mod answer;
mod connection;
mod connection_source;
mod event_loop;
mod options;
mod request;
mod service;
mod single;

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use mio::{Interest, Poll, Token};
use reuseport_run::sys::process;
use signal_hook::consts::SIGTERM;

pub use connection_source::{READY, listen};
pub use options::{Options, Tell, Work};
pub use service::{Random, Service, compute};

use answer::Answers;
use connection_source::ConnectionSource;

/// What is watched besides connections, whose tokens are lower.
const CONNECTIONS: Token = Token(usize::MAX - 1);
const SIGNAL: Token = Token(usize::MAX - 2);
const ALARM: Token = Token(usize::MAX - 3);

/// A client may be silent for so long when it is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Is a worker until it is told to stop. `arguments` begin with the program's name.
///
/// # Errors
/// A sentence: what it could not listen on, or what it cannot go on without.
pub fn run(arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let options = Options::parse_from(arguments);
    let worker = Worker::new(&options)?;
    if let Some(parent) = options.parent
        && !process::follow_parent(parent, SIGTERM)?
    {
        return Ok(());
    }
    if options.one_at_a_time {
        single::run(worker)
    } else {
        event_loop::EventLoop::new(worker)?.run()
    }
}

/// What both temperaments have.
#[derive(Debug)]
struct Worker {
    poll: Poll,
    /// Closed once it drains.
    source: Option<ConnectionSource>,
    answers: Answers,
    service: Service,
    work: Work,
    random: Random,
    /// Readable from the first SIGTERM on.
    _signal: mio::net::UnixStream,
    /// True from then on. A turn that computes is long, and an answer in its midst must not promise
    /// that the connection stays.
    stopping: Arc<AtomicBool>,
}

impl Worker {
    fn new(options: &Options) -> io::Result<Self> {
        let poll = Poll::new()?;
        let signal = signal(&poll)?;
        let stopping = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGTERM, Arc::clone(&stopping))?;
        Ok(Self {
            source: Some(ConnectionSource::open(options, &poll, CONNECTIONS)?),
            answers: Answers::new(options.size),
            service: options.service,
            work: options.work,
            random: Random::new(options.seed, slot()),
            poll,
            _signal: signal,
            stopping,
        })
    }

    fn is_told_to_stop(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// Waits; an interruption is not the end of waiting.
fn wait(poll: &mut Poll, events: &mut mio::Events) -> io::Result<()> {
    match poll.poll(events, None) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            events.clear();
            Ok(())
        }
        result => result,
    }
}

fn signal(poll: &Poll) -> io::Result<mio::net::UnixStream> {
    let (ours, written_on_signal) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGTERM, written_on_signal)?;
    ours.set_nonblocking(true)?;
    let mut ours = mio::net::UnixStream::from_std(ours);
    poll.registry()
        .register(&mut ours, SIGNAL, Interest::READABLE)?;
    Ok(ours)
}

/// The place among the workers, which whoever starts them puts there.
fn slot() -> u64 {
    let text = std::env::var("REUSEPORT_WORKER").unwrap_or_default();
    text.parse().unwrap_or(0)
}

//! Round robin by a master: the way of Node's cluster module.
//!
//! The master alone accepts. Each connection goes to the next free worker, over a Unix socket
//! (`SCM_RIGHTS`); what finds nobody free waits in the master, first come, first served. Workers
//! are free in the order in which they became so, and each holds at most one connection that it
//! has not spoken for. A turn: hear who is free; accept until the queue is empty; hand over.
//!
//! When a worker is free again is the rule:
//! - `taken`: when it has taken the connection, whatever it still has to do. So it is in Node,
//!   whose primary puts a worker back into its list when the handle is acknowledged, not when a
//!   request is answered. A busy worker is slow to take, which makes it a little better than a
//!   plain rotation.
//! - `free`: when it has less than one open request. A connection counts as a request from being
//!   handed over until its first answer. No connection ever waits behind a request while another
//!   worker is idle, and that costs a message's way back before each next one.
//!   It is for one request a connection. With keep-alive a worker of which every connection has
//!   a request under way at all times is never free, and who has no connection yet has to wait.
//!
//! It is made as fast as it can be: for each connection an accept4, a sendmsg, a read and a close,
//! and less than one epoll_wait under load. And it differs from Node where Node is slower:
//! messages are one byte, not JSON; a connection's descriptor is closed here as soon as it is sent,
//! and not when that is acknowledged, so that the end of a connection is never late. The price is
//! that a worker that dies loses the one connection which it had not taken; it is not replaced
//! either.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use clap::Parser;
use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::errno::Errno;
use reuseport_run::sys::{channel, process};
use signal_hook::consts::SIGTERM;

use super::bench_workers::{BenchWorkers, LaunchOptions};
use super::worker::{self, Tell};

const LISTENER: Token = Token(usize::MAX - 1);
const SIGNAL: Token = Token(usize::MAX - 2);

/// Accepts connections and hands them to workers that it starts, until SIGTERM.
#[derive(Clone, Debug, Parser)]
#[command(name = "master")]
struct Options {
    #[command(flatten)]
    launch: LaunchOptions,
    /// When a worker is free again.
    #[arg(long, value_enum, default_value = "taken")]
    rule: Tell,
}

/// Is the master until SIGTERM. `arguments` begin with the program's name.
///
/// # Errors
/// The port is taken, or workers cannot be started.
pub fn run(arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let options = Options::parse_from(arguments);
    process::raise_file_limit()?;
    let mut workers = BenchWorkers::default();
    let mut master = Master::new(&options, &mut workers)?;
    master.serve()?;
    // The listener and the channels close first: what a worker still finds in its channel is the
    // last that it will get.
    drop(master);
    workers.stop()
}

#[derive(Debug)]
struct Master {
    poll: Poll,
    listener: TcpListener,
    _signal: mio::net::UnixStream,
    /// By worker; none once it has gone.
    channels: Vec<Option<OwnedFd>>,
    free: VecDeque<usize>,
    waiting: VecDeque<TcpStream>,
    /// Edge-triggered: it has reported connections, and not yet that there are no more.
    may_accept: bool,
}

impl Master {
    fn new(options: &Options, workers: &mut BenchWorkers) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        let (signal, written_on_signal) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(SIGTERM, written_on_signal)?;
        signal.set_nonblocking(true)?;
        let mut signal = mio::net::UnixStream::from_std(signal);
        registry.register(&mut signal, SIGNAL, Interest::READABLE)?;
        let mut listener = options.launch.listen()?;
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        let channels = (0..options.launch.workers)
            .map(|index| start_worker(options, workers, &poll, index).map(Some));
        Ok(Self {
            channels: channels.collect::<io::Result<_>>()?,
            poll,
            listener,
            _signal: signal,
            free: VecDeque::new(),
            waiting: VecDeque::new(),
            may_accept: false,
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                match event.token() {
                    SIGNAL => return Ok(()),
                    LISTENER => self.may_accept = true,
                    Token(index) => self.hear(index)?,
                }
            }
            self.hand_over()?;
            self.accept()?;
        }
    }

    /// Accepts until the queue is empty. Each connection goes on at once if somebody is free: to
    /// gather them first would keep idle workers waiting.
    fn accept(&mut self) -> io::Result<()> {
        while self.may_accept {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    self.waiting.push_back(stream);
                    self.hand_over()?;
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => self.may_accept = false,
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }

    fn hand_over(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            let Some(index) = self.free.pop_front() else {
                return Ok(());
            };
            if let (Some(channel), Some(stream)) = (&self.channels[index], self.waiting.front())
                && is_sent(channel, stream)?
            {
                self.waiting.pop_front();
            } else {
                self.miss(index);
            }
        }
        Ok(())
    }

    /// Reads what a worker has said. It says one thing at a time, and nothing more until it is given
    /// a connection, so one read is all, also where an event is reported once only. If it ends right
    /// after that, sending to it will tell.
    fn hear(&mut self, index: usize) -> io::Result<()> {
        let Some(channel) = &self.channels[index] else {
            return Ok(());
        };
        match nix::unistd::read(channel, &mut [0]) {
            Ok(1) => self.free.push_back(index),
            Ok(_) | Err(Errno::ECONNRESET) => self.miss(index),
            Err(Errno::EAGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn miss(&mut self, index: usize) {
        if self.channels[index].take().is_some() {
            eprintln!("master: worker {index} has gone; the others go on");
        }
        self.free.retain(|free| *free != index);
    }
}

/// Starts a worker and watches its channel.
fn start_worker(
    options: &Options,
    workers: &mut BenchWorkers,
    poll: &Poll,
    index: usize,
) -> io::Result<OwnedFd> {
    let (ours, theirs) = channel::pair()?;
    let number = ours.as_fd().as_raw_fd();
    let registry = poll.registry();
    registry.register(&mut SourceFd(&number), Token(index), Interest::READABLE)?;
    let tell = match options.rule {
        Tell::Taken => "taken",
        Tell::Free => "free",
    };
    let mut options = options.launch.options.clone();
    options.extend(["--receive-fd", "0", "--tell", tell].map(OsString::from));
    workers.start(theirs, &options)?;
    Ok(ours)
}

/// Sends a connection; false when the worker has gone.
fn is_sent(channel: &OwnedFd, stream: &TcpStream) -> io::Result<bool> {
    match channel::send(channel, worker::READY, &[stream.as_raw_fd()]) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Ok(false),
            _ => Err(error),
        },
    }
}

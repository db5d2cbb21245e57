//! Where a worker's connections come from: a listener of its own, one that all share, or a master.
//!
//! The connection source is watched level-triggered and gives one connection a turn. Edge-triggered, a worker
//! would have to accept until the queue is empty, and the first to wake would take everything that
//! waits for all: the shared queue, which is an opponent here, would look worse than it is. (nginx
//! does the same: `multi_accept` is off unless asked for.)
//!
//! The hazard: mio watches edge-triggered only and knows no `EPOLLEXCLUSIVE`. So the connection source is put
//! into mio's epoll instance through a duplicate of its descriptor, beside mio and not through it,
//! and has to be taken out in the same way before the listener closes: while other workers share
//! it, a closed listener stays in the instance, and reports for ever (epoll(7), questions, 6).

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use mio::net::{TcpListener, TcpStream};
use mio::{Poll, Token};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use reuseport_run::sys::{channel, descriptor, listener, pidfd};
use socket2::Socket;

use super::options::{Options, Tell};

/// Says that a connection was taken, or that no request is open: what exactly, the master knows,
/// since it told the worker to.
pub const READY: &[u8] = b"r";

/// A source of connections, watched.
#[derive(Debug)]
pub struct ConnectionSource {
    source: Source,
    epoll: Epoll,
}

#[derive(Debug)]
enum Source {
    Listener(TcpListener),
    Master(Master),
}

/// The end of a channel to the master.
#[derive(Debug)]
struct Master {
    channel: OwnedFd,
    tell: Tell,
    /// Whether the master was not yet told of the last connection.
    owes: bool,
}

/// What came through the connection source.
#[derive(Debug)]
pub enum Arrival {
    /// A connection.
    Connection(TcpStream),
    /// Nothing: another worker was faster, or the client has gone.
    Nothing,
    /// Nothing, and never again: the master has gone.
    End,
}

impl ConnectionSource {
    /// Opens the source that the options name and watches it in `poll` as `token`.
    ///
    /// # Errors
    /// A sentence: what could not be opened.
    pub fn open(options: &Options, poll: &Poll, token: Token) -> io::Result<Self> {
        let source = Source::open(options)?;
        let epoll = Epoll(poll.registry().as_fd().try_clone_to_owned()?);
        let mut flags = EpollFlags::EPOLLIN;
        flags.set(EpollFlags::EPOLLEXCLUSIVE, options.exclusive);
        epoll.add(source.as_fd(), EpollEvent::new(flags, token.0 as u64))?;
        let source = Self { source, epoll };
        // A worker is free when it begins, not before: that is how a master knows that it is up.
        if let Source::Master(master) = &source.source {
            master.tell()?;
        }
        Ok(source)
    }

    /// The next connection.
    ///
    /// # Errors
    /// Those of accept4(2) that last, such as `EMFILE`, and of recvmsg(2).
    pub fn take(&mut self) -> io::Result<Arrival> {
        match &mut self.source {
            Source::Listener(listener) => accepted(listener),
            Source::Master(master) => master.receive(),
        }
    }

    /// A connection that a master has handed over and that nobody else can take any more; none from
    /// a listener, whose queue may be other workers' too.
    pub fn last(&mut self) -> Option<TcpStream> {
        match &mut self.source {
            Source::Listener(_) => None,
            Source::Master(master) => match master.receive() {
                Ok(Arrival::Connection(stream)) => Some(stream),
                _ => None,
            },
        }
    }

    /// Tells the master, if there is one, what it waits for: call it at the end of each turn. That it
    /// has gone is no error here: what it has left in the channel comes first, then its end.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn report(&mut self, is_free: bool) -> io::Result<()> {
        match &mut self.source {
            Source::Master(master) if master.owes && (is_free || master.tell == Tell::Taken) => {
                master.owes = false;
                master.tell()
            }
            _ => Ok(()),
        }
    }
}

impl Drop for ConnectionSource {
    fn drop(&mut self) {
        // Not there: nothing to take out.
        let _ = self.epoll.delete(self.source.as_fd());
    }
}

impl Source {
    fn open(options: &Options) -> io::Result<Self> {
        let source = &options.source;
        if let Some(port) = source.port {
            let address = SocketAddr::from((options.bind, port));
            return Ok(Self::Listener(listen(address)?));
        }
        if let Some(number) = source.listen_fd {
            let socket = inherited(number)?;
            descriptor::set_nonblocking(&socket, true)?;
            return Ok(Self::Listener(TcpListener::from_std(socket.into())));
        }
        let channel = inherited(source.receive_fd.unwrap_or(0))?;
        descriptor::set_nonblocking(&channel, true)?;
        Ok(Self::Master(Master {
            channel,
            tell: options.tell,
            owes: false,
        }))
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Listener(listener) => listener.as_fd(),
            Self::Master(master) => master.channel.as_fd(),
        }
    }
}

impl Master {
    fn tell(&self) -> io::Result<()> {
        match channel::send(&self.channel, READY, &[]) {
            Err(error) if is_end(&error) => Ok(()),
            result => result,
        }
    }

    /// A master that goes without having read all that it was told leaves a `ECONNRESET` in the
    /// channel (unix(7)), which is reported once and before what it has sent.
    fn receive(&mut self) -> io::Result<Arrival> {
        let mut byte = [0];
        let received = match channel::receive(&self.channel, &mut byte) {
            Err(error) if is_end(&error) => channel::receive(&self.channel, &mut byte),
            result => result,
        };
        let (length, rights) = match received {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Arrival::Nothing),
            result => result?,
        };
        match rights.into_iter().next() {
            Some(connection) => {
                self.owes = true;
                Ok(Arrival::Connection(connection.into()))
            }
            None if length == 0 => Ok(Arrival::End),
            None => Ok(Arrival::Nothing),
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    )
}

/// A listener as any server makes it, with the longest queue that there is.
///
/// # Errors
/// A sentence that names the address.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = listener::create(&address, true)?;
    let made = Socket::from(socket);
    let bound = made
        .set_reuse_address(true)
        .and_then(|()| made.bind(&address.into()))
        .and_then(|()| made.listen(listener::BACKLOG))
        .and_then(|()| made.set_nonblocking(true));
    bound.map_err(|error| {
        let text = format!("cannot listen on {address}: {error}; give another --port");
        io::Error::new(error.kind(), text)
    })?;
    Ok(TcpListener::from_std(made.into()))
}

fn accepted(listener: &TcpListener) -> io::Result<Arrival> {
    match listener.accept() {
        Ok((stream, _)) => Ok(Arrival::Connection(stream)),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {
                Ok(Arrival::Nothing)
            }
            _ => Err(error),
        },
    }
}

/// A duplicate of a descriptor that the parent left open.
fn inherited(number: i32) -> io::Result<OwnedFd> {
    if number == 0 {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        // Or the socket would stay open for as long as the process lives, whoever closes this one.
        nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
        return Ok(socket);
    }
    // A number is not a descriptor until somebody vouches for it. Here the kernel does, which
    // looks it up in our own table.
    let ourselves = pidfd::pidfd_open(nix::unistd::getpid().as_raw())?;
    pidfd::pidfd_getfd(ourselves, number).map_err(|error| {
        let text = format!("cannot use descriptor {number}: {error}; was it inherited?");
        io::Error::new(error.kind(), text)
    })
}

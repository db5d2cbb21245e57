//! TCP connections that another process has, too: looking at them without reading, and making
//! readers sleep.
//!
//! A duplicate of a descriptor is the same socket. Its options, its buffer and its `O_NONBLOCK`
//! are everybody's; so what is done here never blocks and never asks for nonblocking mode.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags};

/// What the kernel knows of a connection (`TCP_INFO`, tcp(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpCounters {
    /// Bytes that nobody has read yet.
    pub unread: u32,
    /// Bytes that were written and not yet sent.
    pub unsent: u32,
    /// Bytes that have come in all.
    pub received: u64,
    /// Bytes that were written in all.
    pub written: u64,
    /// Milliseconds since data came, in steps of the kernel's clock tick (1 to 10 ms).
    pub received_ago: u32,
    /// Milliseconds since data was sent, likewise.
    pub sent_ago: u32,
    /// Something that was sent has not been acknowledged: so nothing has come since.
    pub is_unacknowledged: bool,
    /// The kernel takes it for an exchange of short messages, as it does after an answer that was
    /// written within [`TcpCounters::ack_delay`] of its request. It does so no more when an
    /// answer is not: it has then acknowledged the request by itself (`tcp_delack_timer_handler`;
    /// `TCP_QUICKACK`, tcp(7), is the opposite of this).
    pub is_interactive: bool,
    /// After so many milliseconds without an answer a request is acknowledged by itself: 40, and
    /// more on a connection with a long way (`tcp_send_delayed_ack`).
    pub ack_delay: u32,
    /// The time to the client and back, in microseconds; 0 before it was measured.
    pub round_trip: u32,
    /// The client has closed its side, or the connection is gone.
    pub is_closed: bool,
}

impl TcpCounters {
    /// Bytes that somebody has read.
    pub fn bytes_read(&self) -> u64 {
        self.received.saturating_sub(self.unread.into())
    }
}

/// As much of `struct tcp_info` as Linux 4.19 has, which brought the last field used here.
const TCP_INFO_LEN: usize = 216;
/// Where the fields are (include/uapi/linux/tcp.h, which only ever grows at the end).
const UNACKNOWLEDGED: usize = 24;
const LAST_DATA_SENT: usize = 44;
const LAST_DATA_RECEIVED: usize = 52;
const ROUND_TRIP: usize = 68;
const BYTES_RECEIVED: usize = 128;
const NOTSENT_BYTES: usize = 144;
const BYTES_SENT: usize = 200;
const BYTES_RETRANSMITTED: usize = 208;
/// The least and the most that an acknowledgement is delayed, in milliseconds (`TCP_DELACK_MIN`,
/// `TCP_DELACK_MAX`, include/net/tcp.h).
const ACK_DELAY: (u32, u32) = (40, 200);
/// `TCP_ESTABLISHED`.
const ESTABLISHED: u8 = 1;
/// The states in which the other side's end has come: `TCP_TIME_WAIT`, `TCP_CLOSE_WAIT`,
/// `TCP_LAST_ACK`, `TCP_CLOSING`.
const PEER_CLOSED: [u8; 4] = [6, 8, 9, 11];

/// Lets nobody wake up for data until [`thaw`]: `SO_RCVLOWAT` at the most that the kernel takes
/// (socket(7); honoured by poll and epoll since Linux 2.6.28 and 4.18). What is already being read
/// goes on, a direct nonblocking read gets data nevertheless, and an end or an error wakes everybody.
///
/// A blocking read that begins after this returns only with as much as was asked for: it takes
/// what is there and sleeps on. Only a signal or an end brings it back, not even [`thaw`].
///
/// # Errors
/// Those of setsockopt(2).
pub fn freeze(socket: &impl AsFd) -> io::Result<()> {
    set_low_water(socket, libc::c_int::MAX)
}

/// Undoes [`freeze`], and wakes whoever waits for what has come.
///
/// # Errors
/// Those of setsockopt(2).
pub fn thaw(socket: &impl AsFd) -> io::Result<()> {
    set_low_water(socket, 1)
}

fn set_low_water(socket: &impl AsFd, bytes: libc::c_int) -> io::Result<()> {
    // The size of an int is small.
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel reads `length` bytes of `bytes`, which is so long and outlives the call.
    let result = unsafe {
        libc::setsockopt(
            number,
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const bytes).cast(),
            length,
        )
    };
    Ok(Errno::result(result).map(drop)?)
}

/// Looks at a connection.
///
/// The kernel tells what came in and what is unread by two calls, and bytes may come in between: then
/// fewer would seem to be taken than are, and the next look would see a request being taken that
/// nobody has touched. So it is asked until nothing came meanwhile. What was written is as of before:
/// seen the other way round, an answer could be counted before its request.
///
/// # Errors
/// Those of getsockopt(2) and ioctl(2); `Unsupported` on a kernel older than 4.19.
pub fn counters(socket: &impl AsFd) -> io::Result<TcpCounters> {
    let mut before = info(socket)?;
    loop {
        let unread = unread(socket)?;
        let after = info(socket)?;
        if received(&before) == received(&after) {
            let is_interactive = !acknowledges_at_once(socket)?;
            return Ok(parse_tcp_info(&before, unread, is_interactive));
        }
        before = after;
    }
}

fn received(info: &[u8; TCP_INFO_LEN]) -> u64 {
    // An end has a sequence number of its own, which the kernel counts as a byte.
    u64_at(info, BYTES_RECEIVED).saturating_sub(PEER_CLOSED.contains(&info[0]).into())
}

fn parse_tcp_info(info: &[u8; TCP_INFO_LEN], unread: u32, is_interactive: bool) -> TcpCounters {
    let unsent = u32_at(info, NOTSENT_BYTES);
    let sent = u64_at(info, BYTES_SENT).saturating_sub(u64_at(info, BYTES_RETRANSMITTED));
    TcpCounters {
        unread,
        unsent,
        received: received(info),
        // What was sent, less what was sent again, and what was not sent yet.
        written: sent + u64::from(unsent),
        received_ago: u32_at(info, LAST_DATA_RECEIVED),
        sent_ago: u32_at(info, LAST_DATA_SENT),
        is_unacknowledged: u32_at(info, UNACKNOWLEDGED) > 0,
        is_interactive,
        round_trip: u32_at(info, ROUND_TRIP),
        ack_delay: (u32_at(info, ROUND_TRIP) / 1000).clamp(ACK_DELAY.0, ACK_DELAY.1),
        is_closed: info[0] != ESTABLISHED,
    }
}

fn u32_at(info: &[u8; TCP_INFO_LEN], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&info[at..at + 4]);
    u32::from_ne_bytes(word)
}

fn u64_at(info: &[u8; TCP_INFO_LEN], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&info[at..at + 8]);
    u64::from_ne_bytes(word)
}

fn info(socket: &impl AsFd) -> io::Result<[u8; TCP_INFO_LEN]> {
    let mut info = [0; TCP_INFO_LEN];
    let mut length = TCP_INFO_LEN as libc::socklen_t; // 216 is small
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `length` bytes to `info`, which is so long.
    let result = unsafe {
        libc::getsockopt(
            number,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    if (length as usize) < TCP_INFO_LEN {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(info)
}

/// `TCP_QUICKACK`, tcp(7).
fn acknowledges_at_once(socket: &impl AsFd) -> io::Result<bool> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t; // 4
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `length` bytes to `value`, which is so long.
    let result = unsafe {
        libc::getsockopt(
            number,
            libc::IPPROTO_TCP,
            libc::TCP_QUICKACK,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    Ok(value != 0)
}

/// Bytes that have come and that nobody has read (`SIOCINQ`, tcp(7)).
fn unread(socket: &impl AsFd) -> io::Result<u32> {
    let mut count: libc::c_int = 0;
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes one int to `count`.
    Errno::result(unsafe { libc::ioctl(number, libc::FIONREAD, &raw mut count) })?;
    Ok(u32::try_from(count).unwrap_or(0))
}

/// Copies the first unread bytes without reading them, and without waiting.
///
/// # Errors
/// Those of recv(2); `WouldBlock`: there are none.
pub fn peek(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    Ok(socket::recv(socket.as_fd().as_raw_fd(), buffer, flags)?)
}

/// Reads what is there, frozen or not, without waiting.
///
/// # Errors
/// Those of recv(2); `WouldBlock`: there is nothing.
pub fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let number = socket.as_fd().as_raw_fd();
    Ok(socket::recv(number, buffer, MsgFlags::MSG_DONTWAIT)?)
}

/// Writes what there is room for, without waiting.
///
/// # Errors
/// Those of send(2); `WouldBlock`: there is no room.
pub fn send(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    Ok(socket::send(socket.as_fd().as_raw_fd(), bytes, flags)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    fn is_readable(socket: &TcpStream, timeout: PollTimeout) -> bool {
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, timeout).unwrap() > 0
    }

    fn unread_comes_to(socket: &TcpStream, count: u32) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while counters(socket).unwrap().unread != count {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }

    #[test]
    fn nobody_wakes_for_a_frozen_connection_until_it_thaws() {
        let (mut client, mut server) = pair();
        freeze(&server).unwrap();
        client.write_all(b"hello").unwrap();
        unread_comes_to(&server, 5);
        assert!(!is_readable(&server, PollTimeout::ZERO));
        let mut seen = [0; 3];
        assert_eq!(peek(&server, &mut seen).unwrap(), 3);
        assert_eq!(&seen, b"hel");
        thaw(&server).unwrap();
        assert!(is_readable(&server, PollTimeout::MAX));
        let mut bytes = [0; 5];
        server.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
    }

    #[test]
    fn an_end_wakes_also_a_reader_of_a_frozen_connection() {
        let (client, server) = pair();
        freeze(&server).unwrap();
        drop(client);
        assert!(is_readable(&server, PollTimeout::MAX));
        let counters = counters(&server).unwrap();
        assert!(counters.is_closed);
        assert_eq!((counters.received, counters.unread), (0, 0));
    }

    #[test]
    fn the_kernel_tells_an_answer_from_a_request() {
        let (mut client, mut server) = pair();
        let mut buffer = [0; 16];
        for _ in 0..5 {
            client.write_all(b"question").unwrap();
            assert_eq!(server.read(&mut buffer).unwrap(), 8);
            server.write_all(b"answer").unwrap();
            assert_eq!(client.read(&mut buffer).unwrap(), 6);
        }
        assert!(counters(&server).unwrap().is_interactive);
        client.write_all(b"question").unwrap();
        assert_eq!(server.read(&mut buffer).unwrap(), 8);
        let deadline = Instant::now() + Duration::from_secs(10);
        while counters(&server).unwrap().is_interactive {
            assert!(
                Instant::now() < deadline,
                "the request is never acknowledged"
            );
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_comes_during_a_look_is_not_taken_for_read() {
        let (mut client, server) = pair();
        let writer = std::thread::spawn(move || {
            for _ in 0..20_000 {
                client.write_all(b"x").unwrap();
            }
        });
        while !writer.is_finished() {
            assert_eq!(counters(&server).unwrap().bytes_read(), 0);
        }
        writer.join().unwrap();
    }

    #[test]
    fn what_passes_is_counted() {
        let (mut client, mut server) = pair();
        assert_eq!(
            peek(&server, &mut [0; 8]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        client.write_all(b"hello").unwrap();
        unread_comes_to(&server, 5);
        server.write_all(b"abc").unwrap();
        let counters = counters(&server).unwrap();
        assert_eq!((counters.received, counters.written), (5, 3));
        assert!(!counters.is_closed);
        client.read_exact(&mut [0; 3]).unwrap();
    }
}

//! What another process waits for with epoll, and waiting for another socket in its place.
//!
//! A server may put its socket into its epoll instance before it binds it. An instance knows a file by the file itself
//! and by the number that it was added under: when another file takes the place of the socket, the instance
//! forgets it, and the server never hears of a connection. So the new file is added again, under the same number, for
//! the same events and with the same data. The number must be the server's, and in this process it may be
//! something else: so a thread does it whose descriptors are its own (`CLONE_FILES`, unshare(2)).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::{descriptor, usage};

/// What an epoll instance of a process waits for on one of the process's descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The instance's descriptor there.
    pub instance: i32,
    /// The events, as epoll_ctl(2) has them.
    pub events: u32,
    /// What comes with them.
    pub data: u64,
}

/// What the epoll instances of process `pid` wait for on its descriptor `number`; nothing too where that cannot be
/// seen.
pub fn registrations(pid: i32, number: i32) -> Vec<Registration> {
    let of = |(instance, text): (i32, String)| {
        let lines = text.lines().filter_map(|line| target(instance, line));
        let here = lines.filter(|(target, _)| *target == number);
        here.map(|(_, registration)| registration)
            .collect::<Vec<_>>()
    };
    usage::instances(pid).into_iter().flat_map(of).collect()
}

/// A line like `tfd:        5 events:       19 data:                5  pos:0 ino:1c2f sdev:8`.
fn target(instance: i32, line: &str) -> Option<(i32, Registration)> {
    let mut words = line.strip_prefix("tfd:")?.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let mut value = |name: &str| {
        let found = words.next()? == name;
        words.next().filter(|_| found)
    };
    let events = u32::from_str_radix(value("events:")?, 16).ok()?;
    let data = u64::from_str_radix(value("data:")?, 16).ok()?;
    let registration = Registration {
        instance,
        events,
        data,
    };
    Some((number, registration))
}

/// Has an epoll instance wait for `socket` as a process does that has it as descriptor `number`.
///
/// # Errors
/// Those of unshare(2), dup3(2) and epoll_ctl(2).
pub fn register(
    instance: OwnedFd,
    socket: BorrowedFd<'_>,
    number: i32,
    wanted: Registration,
) -> io::Result<()> {
    let done = thread::scope(|scope| {
        let add = || {
            unshare(CloneFlags::CLONE_FILES)?;
            // Above the number: what is worked with must not be where the socket goes.
            let instance = Epoll(descriptor::duplicate_above(&instance, number + 1)?);
            let socket = descriptor::duplicate_above(&socket, number + 1)?;
            descriptor::replace(socket, number)?;
            // SAFETY: it has just been made, in a table of descriptors that nobody else has.
            let socket = unsafe { BorrowedFd::borrow_raw(number) };
            let events = EpollFlags::from_bits_retain(wanted.events.cast_signed());
            instance.add(socket, EpollEvent::new(events, wanted.data))?;
            Ok(())
        };
        scope.spawn(add).join()
    });
    done.unwrap_or_else(|_| Err(io::Error::other("the thread that does it has panicked")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use nix::sys::epoll::{EpollCreateFlags, EpollTimeout};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn a_line_is_read_in_hexadecimal() {
        let line = "tfd:        5 events:       1d data:       7f00000005  pos:0 ino:1c30 sdev:8";
        let registration = Registration {
            instance: 3,
            events: 0x1d,
            data: 0x7f_0000_0005,
        };
        assert_eq!(target(3, line), Some((5, registration)));
        assert_eq!(target(3, "pos:\t0"), None);
        assert_eq!(target(3, "tfd: 5 events: x"), None);
    }

    #[test]
    fn another_socket_is_waited_for_in_the_place_of_the_first() {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let (first, second) = (listener(), listener());
        let number = first.as_raw_fd();
        let events = EpollEvent::new(EpollFlags::EPOLLIN, 77);
        epoll.add(&first, events).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let before = registrations(own, number);
        let [registration] = before[..] else {
            panic!("{before:?}");
        };
        let address = second.local_addr().unwrap();
        // The second takes the place of the first, and so the instance forgets it.
        let second = descriptor::duplicate_above(&second, 0).unwrap();
        epoll.delete(&first).unwrap();
        let instance = descriptor::duplicate_above(&epoll.0, 0).unwrap();
        register(instance, second.as_fd(), number, registration).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let mut told = [EpollEvent::empty()];
        epoll.wait(&mut told, EpollTimeout::NONE).unwrap();
        assert_eq!(told[0].data(), 77);
        drop(first);
    }

    fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }
}

//! Sends every packet of a TUN back with its addresses swapped, after a delay.
//!
//! One thread, one queue: all packets are delayed by the same time, so the queue is in order of
//! due time and nothing is reordered. The wait is ppoll(2), which has nanoseconds; poll's
//! milliseconds would round a delay of one to two.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::Missing;
use super::interface::{Interface, MTU, open_tun};

const NAME: &str = "hairpin";

/// This machine's address; the other side, 10.9.0.2, is this machine as well.
const LOCAL_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

/// Where an IPv4 header has source and destination, of 4 bytes each.
const ADDRESSES: std::ops::Range<usize> = 12..20;

/// Makes the interface and starts the thread that serves it until the process ends.
pub fn start(delay: Duration) -> Result<(), Missing> {
    let device = open_tun(NAME)?;
    set_up().map_err(|error| format!("needs to set up a TUN interface: {error}"))?;
    let mut hairpin = Hairpin {
        device,
        delay,
        held: VecDeque::new(),
    };
    let turn = move || {
        let error = hairpin.turn();
        // Without the hairpin every measurement would be false.
        eprintln!("rig: the delayed network has failed: {error}");
        std::process::exit(70);
    };
    let thread = thread::Builder::new().name("hairpin".into()).spawn(turn);
    thread
        .map(drop)
        .map_err(|error| format!("needs a thread: {error}"))
}

fn set_up() -> io::Result<()> {
    let interface = Interface::named(NAME)?;
    interface.set_capacity()?;
    interface.set_address(LOCAL_ADDRESS)?;
    interface.bring_up()
}

struct Hairpin {
    device: File,
    delay: Duration,
    held: VecDeque<(Instant, Vec<u8>)>,
}

impl Hairpin {
    fn turn(&mut self) -> io::Error {
        loop {
            let turned = self
                .wait()
                .and_then(|()| self.take())
                .and_then(|()| self.give_back());
            if let Err(error) = turned {
                return error;
            }
        }
    }

    /// Waits for a packet, or until the first that is held is due.
    fn wait(&self) -> io::Result<()> {
        let due = self
            .held
            .front()
            .map(|(due, _)| due.saturating_duration_since(Instant::now()));
        let mut ready = [PollFd::new(self.device.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut ready, due.map(TimeSpec::from), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn take(&mut self) -> io::Result<()> {
        let mut packet = [0; MTU];
        loop {
            match self.device.read(&mut packet) {
                Ok(length) => self.hold(&packet[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn hold(&mut self, packet: &[u8]) {
        // The kernel announces itself over IPv6 as well; nobody listens.
        let is_ipv4 = packet.first().is_some_and(|byte| byte >> 4 == 4);
        let mut packet = packet.to_vec();
        if let Some(addresses) = packet.get_mut(ADDRESSES).filter(|_| is_ipv4) {
            addresses.rotate_left(4);
            self.held.push_back((Instant::now() + self.delay, packet));
        }
    }

    fn give_back(&mut self) -> io::Result<()> {
        let now = Instant::now();
        while self.held.front().is_some_and(|(due, _)| *due <= now)
            && let Some((_, packet)) = self.held.pop_front()
        {
            self.device.write_all(&packet)?;
        }
        Ok(())
    }
}

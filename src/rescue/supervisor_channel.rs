//! The channel to the supervisor: orders come in, reports go out.
//!
//! A report waits in the outbox while the socket has no room. The rescuer never waits for the
//! supervisor: the clients would wait with it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry};

use super::NAME;
use super::event_source::EventSource;
use crate::sys::{channel, descriptor};
use crate::wire::rescue::{MAX_MESSAGE_LEN, Order, Report, decode, encode};

#[derive(Debug)]
pub(super) struct SupervisorChannel {
    socket: OwnedFd,
    state: State,
    outbox: VecDeque<Vec<u8>>,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closed,
}

#[derive(Debug)]
pub(super) enum Received {
    Order(Order, Vec<OwnedFd>),
    /// The supervisor has gone. Said once.
    Closed,
}

impl SupervisorChannel {
    pub(super) fn open(socket: OwnedFd, registry: &Registry) -> io::Result<Self> {
        descriptor::set_nonblocking(&socket, true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = EventSource::Supervisor.token();
        registry.register(&mut SourceFd(&socket.as_raw_fd()), token, interest)?;
        Ok(Self {
            socket,
            state: State::Open,
            outbox: VecDeque::new(),
            buffer: vec![0; MAX_MESSAGE_LEN],
        })
    }

    /// The next order; none: nothing has come.
    pub(super) fn receive(&mut self) -> Option<Received> {
        while self.state == State::Open {
            match channel::receive(&self.socket, &mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) | Ok((0, _)) => {
                    self.state = State::Closed;
                    return Some(Received::Closed);
                }
                Ok((count, descriptors)) => {
                    match decode(self.buffer.get(..count).unwrap_or_default()) {
                        Some(order) => return Some(Received::Order(order, descriptors)),
                        None => log::warn!("{NAME}: an order is not understood"),
                    }
                }
            }
        }
        None
    }

    /// Puts a report into the outbox, which [`flush`](Self::flush) empties.
    pub(super) fn report(&mut self, report: &Report) {
        self.outbox.push_back(encode(report));
    }

    /// Sends what there is room for. Reports to a supervisor that has gone are dropped.
    pub(super) fn flush(&mut self) {
        while let Some(message) = self.outbox.front() {
            match channel::send(&self.socket, message, &[]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(()) | Err(_) => drop(self.outbox.pop_front()),
            }
        }
    }
}

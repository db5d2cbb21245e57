//! The messages between the supervisor and the rescuer: a JSON object a message, over a Unix
//! `SOCK_SEQPACKET` socket, with descriptors where the message says so.
//!
//! ```text
//!  supervisor                         rescuer
//!   Hold (connections) … AllSent ──►            holds the connections and freezes them
//!                                ◄── Holding
//!                                ◄── BlockedReaders   only if the worker's readers block
//!   ReadersInterrupted ────────────►
//!                                ◄── Idle             no request is in flight
//!   Hold … AllSent ────────────────►            connections that were accepted late
//!   PrepareStop ───────────────────►
//!                                ◄── Readers          what they would take along is copied
//!   ReadersStopped ────────────────►
//!                                ◄── StopChecked      now the stop signal, or PrepareStop once more
//!   WorkerExited ──────────────────►
//!                                ◄── Accounted        what is known by now of what the worker had
//!                                ◄── Progress         sometimes
//!                                ◄── Protocol         when bytes have shown it
//!                                ◄── Finished         all connections of the worker are done
//! ```
//! The stop signal waits for `StopChecked`: what a worker writes after it may be the worker's last
//! answer, and what a reader takes along when it dies must have been copied before.

mod tally;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use tally::{CLIENT_BROKE, TIME_OUT, Tally};

/// The longest message, in bytes.
pub const MAX_MESSAGE_LEN: usize = 32 * 1024;

/// The most threads in one message.
pub const MAX_THREADS: usize = 1000;

/// The most connections in one [`Order::Hold`]: fewer than one message may have descriptors.
pub const MAX_CONNECTIONS: usize = 200;

/// What a rescuer is started with, as its first argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// Where to send requests that came in on an address. For any other, to the address itself:
    /// there the client found the endpoint, too.
    pub endpoints: Vec<Route>,
    /// How long an idle connection is kept, in milliseconds.
    pub rescue_timeout_ms: u64,
    /// How long a client may take for a request's head, in milliseconds.
    pub header_timeout_ms: u64,
    /// How long to go on when the supervisor has gone, in milliseconds.
    pub drain_timeout_ms: u64,
    /// How many connections to hold at most.
    pub max_connections: usize,
    /// Whose requests are passed on.
    pub clients: Clients,
    /// Whose the entries are that name clients.
    pub owner: u32,
    /// Which header line names the client to the server.
    pub forwarded: Forwarded,
    /// What the endpoints speak, as far as is known.
    pub protocols: Vec<EndpointProtocol>,
    /// What all of them speak, whatever is seen of them; none: what is seen counts.
    pub protocol: Option<Protocol>,
}

/// What an endpoint, or one connection of it, speaks, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Nothing has been seen of it.
    #[default]
    Unknown,
    /// HTTP/1 without TLS: a request that comes later can be passed on.
    Http1,
    /// Something else, of which nobody but the worker can make anything.
    Opaque,
}

/// What one endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointProtocol {
    /// The endpoint; an unspecified address is any.
    pub endpoint: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
}

/// Whose requests are passed on. A server judges its clients by their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clients {
    /// Of those that have an address of this host: they keep it.
    Local,
    /// Of others too, who are named to the server by [`peer_names`](super::peer_names). The array comes as the
    /// first message.
    Named,
    /// Of others too, from an address of this host.
    All,
    /// Of nobody: everything ends.
    Nobody {
        /// What tells workers to stop.
        stop_signal: i32,
    },
}

/// Where requests of one endpoint go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The endpoint; an unspecified address is any.
    pub listen: SocketAddr,
    /// Where to connect to.
    pub connect: SocketAddr,
}

/// Which header line tells the server whose request it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forwarded {
    /// None: the request is as the client sent it.
    #[default]
    Nothing,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`.
    XForwardedFor,
}

/// What the supervisor orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// Hold these connections, whose descriptors come along.
    Hold {
        /// The retiring worker.
        worker: u64,
        /// Its first process.
        pid: i32,
        /// Where the connections come from, in the order of their descriptors.
        connections: Vec<Descriptor>,
    },
    /// All connections have come, for now.
    AllSent {
        /// The retiring worker.
        worker: u64,
    },
    /// The answer to [`Report::BlockedReaders`]: the threads have been interrupted, or cannot be.
    ReadersInterrupted {
        /// The retiring worker.
        worker: u64,
    },
    /// The worker gets its stop signal soon.
    PrepareStop {
        /// The retiring worker.
        worker: u64,
    },
    /// The readers that [`Report::Readers`] named stand still.
    ReadersStopped {
        /// The retiring worker.
        worker: u64,
    },
    /// The worker and its whole process group are dead.
    WorkerExited {
        /// The worker.
        worker: u64,
    },
    /// Accept what waits in this listener, whose descriptor comes along.
    DrainBacklog {
        /// The worker that will not accept it.
        worker: u64,
        /// The listener's address.
        address: SocketAddr,
    },
    /// Finish what is under way, and end.
    End {
        /// At the latest in so many milliseconds.
        within_ms: u64,
    },
}

impl Order {
    /// Whether somebody waits for the answer: a worker's stop, or the answer to a client.
    pub fn is_waited_for(&self) -> bool {
        match self {
            Self::PrepareStop { .. } | Self::ReadersStopped { .. } | Self::WorkerExited { .. } => {
                true
            }
            Self::Hold { .. }
            | Self::AllSent { .. }
            | Self::ReadersInterrupted { .. }
            | Self::DrainBacklog { .. }
            | Self::End { .. } => false,
        }
    }
}

/// A descriptor of a worker's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// The process.
    pub pid: i32,
    /// The descriptor's number there.
    pub number: i32,
    /// The socket behind it.
    pub inode: u64,
}

/// What the rescuer reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case")]
pub enum Report {
    /// After [`Order::AllSent`].
    Holding {
        /// The worker.
        worker: u64,
        /// How many of its connections are held now.
        held: usize,
    },
    /// So many connections were given back to the worker, because their requests must not be passed on. After
    /// each [`Order::PrepareStop`], before [`Self::Readers`].
    Left {
        /// The worker.
        worker: u64,
        /// How many.
        count: u64,
    },
    /// Threads of the worker may sleep in a read that has its bytes already: interrupt them
    /// ([`StoppedThreads`](crate::sys::interrupt::StoppedThreads)), and say so.
    BlockedReaders {
        /// The worker.
        worker: u64,
        /// The threads.
        threads: Vec<i32>,
    },
    /// No request of the worker's is in flight any more. Reported once.
    Idle {
        /// The worker.
        worker: u64,
    },
    /// The answer to [`Order::PrepareStop`].
    Readers {
        /// The worker.
        worker: u64,
        /// The threads that sleep in reads, which would take along what comes now
        /// ([`StoppedThreads`](crate::sys::interrupt::StoppedThreads)).
        threads: Vec<i32>,
    },
    /// The answer to [`Order::ReadersStopped`].
    StopChecked {
        /// The worker.
        worker: u64,
        /// Whether nothing was read since [`Report::Readers`] of which there is no copy. Else the request
        /// must be answered first.
        may_stop: bool,
    },
    /// It has had nothing for a while: it ends when its channel is closed. Reported again and again.
    Empty,
    /// What an endpoint has been seen to speak.
    Protocol(EndpointProtocol),
    /// What has become of the connections of a worker that has exited, as far as is known. After
    /// [`Order::WorkerExited`].
    Accounted {
        /// The worker.
        worker: u64,
        /// What became of its connections.
        tally: Tally,
    },
    /// What has become of the worker's connections so far. Reported when it has changed, but not often.
    Progress {
        /// The worker.
        worker: u64,
        /// What became of its connections.
        tally: Tally,
    },
    /// All connections of the worker are done, or the rescuer ends.
    Finished {
        /// The worker.
        worker: u64,
        /// What became of its connections.
        tally: Tally,
    },
}

/// A message, or none if it is not understood.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

/// A message's bytes.
pub fn encode(message: &impl Serialize) -> Vec<u8> {
    // Numbers, names and lists, which JSON never refuses.
    serde_json::to_vec(message).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_fullest_message_fits() {
        let widest = Descriptor {
            pid: i32::MIN,
            number: i32::MIN,
            inode: u64::MAX,
        };
        let order = Order::Hold {
            worker: u64::MAX,
            pid: i32::MIN,
            connections: vec![widest; MAX_CONNECTIONS],
        };
        let bytes = encode(&order);
        assert!(bytes.len() <= MAX_MESSAGE_LEN, "{}", bytes.len());
        assert_eq!(decode::<Order>(&bytes).unwrap(), order);
    }

    #[test]
    fn reports_are_readable() {
        let bytes = encode(&Report::Idle { worker: 7 });
        assert_eq!(bytes, br#"{"report":"idle","worker":7}"#);
        assert_eq!(decode::<Report>(&bytes), Some(Report::Idle { worker: 7 }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = decode::<Order>(&bytes);
        }
    }
}

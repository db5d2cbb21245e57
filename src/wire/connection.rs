//! A TCP socket, as the kernel tells of it: by sock_diag(7), or in /proc/net/tcp.

use core::net::SocketAddr;
use core::ops::BitOr;
use core::time::Duration;

/// The state of a TCP socket, by the kernel's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TcpState(pub u8);

impl TcpState {
    /// Both sides may send.
    pub const ESTABLISHED: Self = Self(1);
    /// This side has ended its sending, and the other has not confirmed that.
    pub const FIN_WAIT1: Self = Self(4);
    /// This side has ended its sending, and the other has confirmed it and may still send.
    pub const FIN_WAIT2: Self = Self(5);
    /// Closed by this side, and remembered for a minute.
    pub const TIME_WAIT: Self = Self(6);
    /// Nothing is left of it: it was refused, reset or never begun.
    pub const CLOSED: Self = Self(7);
    /// The other side has ended its sending.
    pub const CLOSE_WAIT: Self = Self(8);
    /// Both sides have ended, the other first; it has not confirmed that.
    pub const LAST_ACK: Self = Self(9);
    /// A listener.
    pub const LISTEN: Self = Self(10);
    /// Both sides have ended at the same time.
    pub const CLOSING: Self = Self(11);
}

/// A set of states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// Connections on which something can still be lost, accepted or waiting to be accepted.
    ///
    /// In CLOSE_WAIT the client has sent all that it will, and waits for the answer. In FIN_WAIT1 and 2
    /// the server has sent its answer, but may still be reading, to let the client take the answer in
    /// peace: if its process ends, what the client goes on sending is answered with a reset, and the
    /// answer may be lost with it. (Without a process these two are [orphans](Connection::is_orphan),
    /// and nothing can be lost any more that its end would save.)
    ///
    /// LAST_ACK and CLOSING are out: both sides have ended, and the kernel delivers the rest alone. So
    /// is SYN_RECV: a handshake is its listener's, and has no owner yet.
    pub const OPEN: Self = Self::of(TcpState::ESTABLISHED)
        .and(TcpState::FIN_WAIT1)
        .and(TcpState::FIN_WAIT2)
        .and(TcpState::CLOSE_WAIT);
    /// Connections that this side closed within the last minute.
    pub const CLOSED_RECENTLY: Self = Self::of(TcpState::TIME_WAIT);
    /// Connections that this side closed first within the last minute: known to both sides, to this one only, or
    /// on the way to the other.
    pub const CLOSED_FIRST: Self = Self::of(TcpState::TIME_WAIT)
        .and(TcpState::FIN_WAIT2)
        .and(TcpState::FIN_WAIT1);
    /// Listeners.
    pub const LISTENING: Self = Self::of(TcpState::LISTEN);

    /// One bit a state, as the kernel is asked for them.
    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    /// The set of one state.
    pub const fn of(state: TcpState) -> Self {
        Self(1_u32.wrapping_shl(state.0 as u32))
    }

    /// Whether a state is in the set.
    pub const fn has(self, state: TcpState) -> bool {
        self.0 & Self::of(state).0 != 0
    }

    const fn and(self, state: TcpState) -> Self {
        Self(self.0 | Self::of(state).0)
    }
}

impl BitOr for States {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A TCP socket, of a connection or of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// This side. An IPv4 address that an IPv6 socket has is given in IPv4.
    pub local: SocketAddr,
    /// The other side; unspecified for a listener.
    pub remote: SocketAddr,
    /// Its state.
    pub state: TcpState,
    /// Names the socket among descriptors, as in /proc/PID/fd. 0 for one that nobody has a descriptor
    /// of: not yet accepted, or an orphan.
    pub inode: u64,
    /// Names the socket, and no other, as long as the machine runs (`SO_COOKIE`).
    pub cookie: u64,
    /// The user whose socket it is; 0 without a descriptor.
    pub uid: u32,
    /// Bytes that were received and not read. For a listener: connections that wait to be accepted.
    pub receive_queue: u32,
    /// Bytes that were written and not confirmed. For a listener: how many connections may wait.
    pub send_queue: u32,
    /// How long the kernel still remembers it; none while it has more of it than that: until both sides have ended, or
    /// this one has and belongs to no process.
    pub remembered_for: Option<Duration>,
}

/// How long the kernel remembers a connection in TIME_WAIT: `TCP_TIMEWAIT_LEN`, which is no setting
/// (include/net/tcp.h).
const TIME_WAIT_TIME: Duration = Duration::from_secs(60);

impl Connection {
    /// How long ago it ended, where this side closed it first: at the other's end, or at this side's where the other
    /// has not ended yet; none where that is not so or cannot be known. `fin_timeout` is `net.ipv4.tcp_fin_timeout`.
    ///
    /// A close that the other side has not confirmed is of this very moment: on one host that takes as long as a delayed
    /// acknowledgement, 40 ms.
    pub fn closed_first_before(&self, fin_timeout: Duration) -> Option<Duration> {
        let whole = match self.state {
            TcpState::FIN_WAIT1 if self.is_orphan() => return Some(Duration::ZERO),
            TcpState::FIN_WAIT2 => fin_timeout,
            TcpState::TIME_WAIT => TIME_WAIT_TIME,
            _ => return None,
        };
        Some(whole.saturating_sub(self.remembered_for?))
    }

    /// Whether its process has closed it or ended, and the kernel alone sees to the rest. A connection
    /// that waits to be accepted has no inode either; it is in a state that no closed one is in.
    pub fn is_orphan(&self) -> bool {
        let ended = [
            TcpState::FIN_WAIT1,
            TcpState::FIN_WAIT2,
            TcpState::LAST_ACK,
            TcpState::CLOSING,
        ];
        self.inode == 0 && ended.contains(&self.state)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn connection(state: TcpState, inode: u64, remembered_for: Option<u64>) -> Connection {
        Connection {
            local: "127.0.0.1:50000".parse().unwrap(),
            remote: "127.0.0.1:8080".parse().unwrap(),
            state,
            inode,
            cookie: 1,
            uid: 0,
            receive_queue: 0,
            send_queue: 0,
            remembered_for: remembered_for.map(Duration::from_secs),
        }
    }

    #[test]
    fn what_is_left_of_the_memory_tells_when_it_ended() {
        let fin_timeout = Duration::from_secs(30);
        for (state, inode, left, ago) in [
            (TcpState::TIME_WAIT, 0, Some(57), Some(3)),
            (TcpState::FIN_WAIT2, 0, Some(28), Some(2)),
            (TcpState::FIN_WAIT1, 0, None, Some(0)),
            // More is left than there can be: the setting was changed meanwhile.
            (TcpState::FIN_WAIT2, 0, Some(40), Some(0)),
            // A process has it still, and has only ended its sending.
            (TcpState::FIN_WAIT1, 7, None, None),
            (TcpState::FIN_WAIT2, 7, None, None),
            (TcpState::ESTABLISHED, 7, None, None),
            // The other side was first.
            (TcpState::LAST_ACK, 0, None, None),
            (TcpState::CLOSE_WAIT, 7, None, None),
        ] {
            let found = connection(state, inode, left).closed_first_before(fin_timeout);
            assert_eq!(
                found,
                ago.map(Duration::from_secs),
                "{state:?} {inode} {left:?}"
            );
        }
    }
}
